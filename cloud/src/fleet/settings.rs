//! What an operator can set about vehicles' certificates: the `[fleet]` section of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetSettings {
    /// Life of a vehicle's certificate. It is renewed after two thirds of it. Short enough that a stolen key ages out,
    /// long enough for a vehicle laid up over a winter.
    #[serde(with = "humantime_serde")]
    pub certificate_lifetime: Duration,
    /// How long after its end a certificate may still be exchanged for a new one: a vehicle that was away for a year
    /// comes back by itself.
    #[serde(with = "humantime_serde")]
    pub renewal_grace: Duration,
}

impl Default for FleetSettings {
    fn default() -> Self {
        Self { certificate_lifetime: 90 * DAY, renewal_grace: 400 * DAY }
    }
}
