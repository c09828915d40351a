//! Identities by the thousand: signed by a cloud's own authority, without its enrolment.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avl_cloud::fleet::authority::Authority;
use avl_shared::identity::VehicleKey;
use avl_shared::tls::{self, Credentials};
use hil_tests::fleet::Identity;
use rcgen::{CertificateParams, CertificateSigningRequestParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;

const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Signs certificates that differ in everything but their key: what a server keeps and checks is the same, and a key for each
/// would only take time.
#[derive(Debug)]
pub(crate) struct Issuer {
    authority: Authority,
    request: CertificateSigningRequestParams,
    key: Arc<dyn SigningKey>,
}

impl Issuer {
    /// With the authority in a cloud's data folder.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) fn of(data: &Path) -> anyhow::Result<Self> {
        let authority = Authority::load_or_create(&data.join("ca"))?;
        let key = KeyPair::generate()?;
        let request = CertificateParams::default().serialize_request(&key)?;
        let request = CertificateSigningRequestParams::from_der(request.der())?;
        let key = tls::signing_key(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))?;
        Ok(Self { authority, request, key })
    }

    /// # Errors
    /// When the certificate cannot be made.
    pub(crate) fn identity(&self, vehicle: &VehicleKey) -> anyhow::Result<Identity> {
        let signed = self.authority.issue_vehicle(vehicle, &self.request, SystemTime::now(), LIFETIME)?;
        let leaf = CertificateDer::from_pem_slice(signed.pem.as_bytes())?;
        Ok(Identity {
            credentials: Credentials { chain: vec![leaf], key: Arc::clone(&self.key) },
            authorities: vec![self.authority.certificate().clone()],
        })
    }
}
