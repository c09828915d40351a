//! Is a certificate that the cloud has just issued what we asked for? Used at enrolment and at each renewal.

use std::sync::Arc;
use std::time::Duration;

use avl_shared::enrolment::EnrolResponse;
use avl_shared::identity::{Validity, VehicleKey};
use avl_shared::tls::{self, Time, TrustedTime};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SigningKey};

use crate::clock::Clock;
use crate::identity::parse_certificates;

/// It must be for our key, signed by one of `roots` for client authentication, valid now, and name the vehicle that
/// the answer names.
pub(crate) fn check(
    answer: &EnrolResponse,
    key: &Arc<dyn SigningKey>,
    roots: &[CertificateDer<'static>],
    clock: &Clock,
) -> Result<VehicleKey, String> {
    let chain = parse_certificates(answer.certificate.as_bytes())?;
    CertifiedKey::new(chain.clone(), Arc::clone(key))
        .keys_match()
        .map_err(|error| format!("it does not belong to the key made here ({error})"))?;
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|error| error.to_string())?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(store.into(), tls::provider())
        .build()
        .map_err(|error| error.to_string())?;
    let (leaf, intermediates) = chain.split_first().ok_or("no certificate in it")?;
    let validity = Validity::of(leaf).map_err(|error| error.to_string())?;
    let at = match clock.time() {
        Some(Time::At(now)) => now,
        Some(Time::NotBefore(earliest)) => earliest.max(validity.not_before),
        None => validity.not_before,
    };
    let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at).unwrap_or(0)));
    verifier.verify_client_cert(leaf, intermediates, at).map_err(|error| error.to_string())?;
    let vehicle = VehicleKey::from_certificate(leaf).map_err(|error| error.to_string())?;
    let said = format!("{}/{}", answer.fleet, answer.vehicle);
    if vehicle.to_string() == said {
        Ok(vehicle)
    } else {
        Err(format!("it names {vehicle}, the answer names {said}"))
    }
}
