//! What the identity shows of itself.

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IdentityView {
    /// `fleet/vehicle`; `None` while this gateway is not enrolled.
    pub vehicle: Option<String>,
    /// UTC milliseconds between which the certificate holds.
    pub not_before: Option<i64>,
    pub not_after: Option<i64>,
    /// UTC milliseconds of the next attempt to renew it, when one is planned.
    pub renew_at: Option<i64>,
    /// What went wrong last, with its cure: reading, enrolling, renewing.
    pub last_error: Option<String>,
}
