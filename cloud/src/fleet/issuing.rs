//! A certificate for a vehicle: signed, and on the list before anybody has it.

use std::sync::Arc;
use std::time::SystemTime;

use avl_shared::identity::VehicleKey;
use rcgen::CertificateSigningRequestParams;

use super::authority::{Authority, AuthorityError};
use super::certificates::{Certificates, CertificatesError, Issued};
use super::settings::FleetSettings;
use crate::time::now_utc;

#[derive(Debug, thiserror::Error)]
pub(super) enum IssuingError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    List(#[from] CertificatesError),
}

/// The authority with its list.
#[derive(Debug)]
pub struct Issuing {
    pub(super) authority: Arc<Authority>,
    pub(super) settings: FleetSettings,
    pub(super) certificates: Certificates,
}

impl Issuing {
    #[must_use]
    pub fn new(authority: Arc<Authority>, certificates: Certificates, settings: FleetSettings) -> Self {
        Self { authority, settings, certificates }
    }

    #[must_use]
    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority)
    }

    /// PEM. When this returns, it is on the list.
    pub(super) async fn issue(
        &self,
        vehicle: &VehicleKey,
        request: &CertificateSigningRequestParams,
    ) -> Result<String, IssuingError> {
        let now = now_utc();
        let lifetime = self.settings.certificate_lifetime;
        let made = self.authority.issue_vehicle(vehicle, request, SystemTime::now(), lifetime)?;
        let millis = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let issued = Issued {
            serial: made.serial,
            vehicle: vehicle.clone(),
            not_after: now.saturating_add(millis(lifetime)),
        };
        // What can no longer be renewed need not be remembered.
        let forget_before = now.saturating_sub(millis(self.settings.renewal_grace));
        self.certificates.record(&issued, now, forget_before).await?;
        Ok(made.pem)
    }
}

/// Whoever asks holds the private key: a request is signed with it.
pub(super) fn verified_request(pem: &str) -> Result<CertificateSigningRequestParams, String> {
    let csr = CertificateSigningRequestParams::from_pem(pem).map_err(|error| error.to_string())?;
    let accepted = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    if accepted.iter().any(|algorithm| *algorithm == csr.public_key.algorithm()) {
        Ok(csr)
    } else {
        Err("its key is of a kind that is not accepted".to_owned())
    }
}
