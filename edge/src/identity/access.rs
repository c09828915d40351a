//! What a transport needs for a connection, and what its failures mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avl_shared::enrolment::Fingerprint;
use avl_shared::identity::Validity;
use avl_shared::link::Welcome;
use avl_shared::tls::{self, Objection, TrustedTime};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::Identity;
use crate::clock::{Clock, Reading, Source, show};
use crate::uplink::ConnectError;

/// How long one attempt to connect waits for an identity and for the time. Then it fails, so that the reason is seen.
const PATIENCE: Duration = Duration::from_secs(15);

/// A cloud that revoked a certificate is asked again after so long: the operator may undo it. Each attempt costs
/// 4 KB, and only a person changes the answer.
const AFTER_REVOCATION: Duration = Duration::from_secs(60 * 60);

/// Clones share the same state.
#[derive(Clone, Debug)]
pub struct Access {
    clock: Clock,
    identity: watch::Receiver<Option<Arc<Identity>>>,
    revoked: Arc<Mutex<Option<Revoked>>>,
    /// Wakes whoever renews.
    expired: Arc<Notify>,
}

#[derive(Clone, Debug)]
struct Revoked {
    certificate: Fingerprint,
    since: Instant,
    cause: String,
}

/// For one connection.
#[derive(Debug)]
pub struct Pass {
    pub identity: Arc<Identity>,
    pub tls: ClientConfig,
    /// What is found wrong with the cloud's certificate.
    pub objection: Objection,
}

impl Access {
    pub(super) fn new(
        clock: Clock,
        identity: watch::Receiver<Option<Arc<Identity>>>,
        expired: Arc<Notify>,
    ) -> Self {
        Self { clock, identity, revoked: Arc::default(), expired }
    }

    /// One identity for good, and the system clock: for tests and tools.
    #[must_use]
    pub fn fixed(identity: Identity) -> Self {
        Self::new(Clock::at_once(), watch::Sender::new(Some(Arc::new(identity))).subscribe(), Arc::default())
    }

    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The identity and a TLS configuration for a connection that speaks one of `protocols` (ALPN names). Made anew for
    /// each connection, so that a renewed certificate serves from the next one on.
    ///
    /// # Errors
    /// When there can be no connection now: not enrolled, the time is not known, the certificate has expired or is
    /// revoked.
    pub async fn pass(&self, protocols: &[&[u8]]) -> Result<Pass, ConnectError> {
        let identity = self.enrolled().await?;
        if timeout(PATIENCE, self.clock.known()).await.is_err() {
            return Err(ConnectError::NoTime { system: show(self.clock.system()) });
        }
        self.check_validity(&identity)?;
        self.check_revocation(&identity)?;
        let time: Arc<dyn TrustedTime> = Arc::new(self.clock.clone());
        let (tls, objection) =
            tls::vehicle_client(identity.credentials.clone(), &identity.authorities, time, protocols)
                .map_err(|error| ConnectError::BadIdentity { cause: error.to_string() })?;
        Ok(Pass { identity, tls, objection })
    }

    /// The identity, as soon as there is one.
    pub async fn identity(&self) -> Arc<Identity> {
        let mut identity = self.identity.clone();
        loop {
            if let Some(identity) = identity.borrow_and_update().clone() {
                return identity;
            }
            if identity.changed().await.is_err() {
                // The agent is ending.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn enrolled(&self) -> Result<Arc<Identity>, ConnectError> {
        let mut identity = self.identity.clone();
        let found = timeout(PATIENCE, identity.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(identity)) => identity.clone().ok_or(ConnectError::NotEnrolled),
            Ok(Err(_)) | Err(_) => Err(ConnectError::NotEnrolled),
        }
    }

    fn check_validity(&self, identity: &Identity) -> Result<(), ConnectError> {
        let (Some(now), Some(leaf)) = (self.clock.now(), identity.credentials.chain.first()) else {
            return Ok(());
        };
        match Validity::of(leaf) {
            Ok(validity) if validity.not_after < now => Err(ConnectError::CertificateExpired {
                not_after: show(validity.not_after),
                clock: self.describe_clock(),
            }),
            _ => Ok(()),
        }
    }

    fn check_revocation(&self, identity: &Identity) -> Result<(), ConnectError> {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = revoked.as_ref() else { return Ok(()) };
        if Some(known.certificate) == identity.fingerprint() && known.since.elapsed() < AFTER_REVOCATION {
            return Err(ConnectError::Revoked { cause: known.cause.clone() });
        }
        *revoked = None;
        Ok(())
    }

    /// The cloud says that this certificate is revoked: no more attempts with it for a while.
    #[must_use]
    pub fn revoked(&self, identity: &Identity, cause: String) -> ConnectError {
        if let Some(certificate) = identity.fingerprint() {
            let known = Revoked { certificate, since: Instant::now(), cause: cause.clone() };
            *self.revoked.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        }
        ConnectError::Revoked { cause }
    }

    /// Every transport tells when the cloud has welcomed the vehicle.
    pub fn welcomed(&self, welcome: &Welcome) {
        self.clock.hear_cloud(welcome.server_time_ms);
    }

    /// We did not accept the server's certificate: what that means.
    #[must_use]
    pub fn wrong_server(&self, address: String, objection: &Objection, cause: String) -> ConnectError {
        match objection.take() {
            Some(CertificateError::ExpiredContext { not_after, .. }) => ConnectError::ServerExpired {
                address,
                not_after: show_seconds(not_after.as_secs()),
                clock: self.describe_clock(),
            },
            Some(CertificateError::NotValidYetContext { not_before, .. }) => ConnectError::ClockBehind {
                address,
                not_before: show_seconds(not_before.as_secs()),
                clock: self.describe_clock(),
            },
            Some(other) => ConnectError::WrongServer { address, cause: other.to_string() },
            None => ConnectError::WrongServer { address, cause },
        }
    }

    /// The server did not accept our certificate: what its alert means.
    #[must_use]
    pub fn refused(&self, identity: &Identity, alert: AlertDescription, cause: String) -> ConnectError {
        match alert {
            AlertDescription::CertificateExpired => {
                self.expired.notify_one();
                let not_after = identity.credentials.chain.first().and_then(|leaf| Validity::of(leaf).ok());
                ConnectError::CertificateExpired {
                    not_after: not_after
                        .map_or_else(|| "a date unknown".to_owned(), |validity| show(validity.not_after)),
                    clock: self.describe_clock(),
                }
            }
            AlertDescription::CertificateRevoked => self.revoked(identity, cause),
            _ => ConnectError::CertificateRefused { cause },
        }
    }

    fn describe_clock(&self) -> String {
        match self.clock.reading() {
            Some(Reading { utc_ms, source }) => format!("{} according to {}", show(utc_ms), source.name()),
            None => format!("not known, {} says", Source::Unknown.name()),
        }
    }
}

fn show_seconds(seconds: u64) -> String {
    show(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::identity::VehicleKey;
    use avl_shared::tls::Credentials;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivateKeyDer;

    fn identity(until: i32) -> Arc<Identity> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Arc::new(Identity {
            vehicle: "demo/van-1".parse::<VehicleKey>().unwrap(),
            credentials: Credentials {
                chain: vec![certificate.clone()],
                key: tls::signing_key(PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap(),
            },
            authorities: vec![certificate],
        })
    }

    fn access(identity: Option<Arc<Identity>>) -> (watch::Sender<Option<Arc<Identity>>>, Access) {
        let current = watch::Sender::new(identity);
        let access = Access::new(Clock::at_once(), current.subscribe(), Arc::default());
        (current, access)
    }

    #[tokio::test]
    async fn an_expired_certificate_is_not_even_shown() {
        let (current, access) = access(Some(identity(2000)));
        let error = access.pass(&[b"x"]).await.unwrap_err().to_string();
        assert!(error.contains("2000-01-01") && error.contains("the system clock"), "{error}");
        current.send_replace(Some(identity(2100)));
        access.pass(&[b"x"]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_vehicle_stays_away_until_it_has_another_certificate_or_an_hour_has_passed() {
        let revoked = identity(2100);
        let (current, access) = access(Some(Arc::clone(&revoked)));
        let told = access.refused(&revoked, AlertDescription::CertificateRevoked, "stolen".to_owned());
        assert_eq!(told, ConnectError::Revoked { cause: "stolen".to_owned() });
        assert_eq!(access.pass(&[b"x"]).await.unwrap_err(), told);
        current.send_replace(Some(identity(2100)));
        access.pass(&[b"x"]).await.unwrap();
        let _ = access.revoked(&revoked, "stolen".to_owned());
        current.send_replace(Some(revoked));
        assert_eq!(access.pass(&[b"x"]).await.unwrap_err(), told);
        tokio::time::advance(AFTER_REVOCATION).await;
        access.pass(&[b"x"]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_identity_the_reason_is_said_and_one_that_comes_is_used() {
        let (current, access) = access(None);
        assert_eq!(access.pass(&[b"x"]).await.unwrap_err(), ConnectError::NotEnrolled);
        let (passed, ()) = tokio::join!(access.pass(&[b"x"]), async {
            current.send_replace(Some(identity(2100)));
        });
        passed.unwrap();
    }

    #[test]
    fn a_cloud_that_calls_the_certificate_expired_wakes_whoever_renews() {
        let expired = Arc::new(Notify::new());
        let current = watch::Sender::new(Some(identity(2100)));
        let access = Access::new(Clock::at_once(), current.subscribe(), Arc::clone(&expired));
        let error = access.refused(&identity(2100), AlertDescription::CertificateExpired, String::new());
        assert!(matches!(error, ConnectError::CertificateExpired { .. }), "{error}");
        let mut woken = std::pin::pin!(expired.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::future::Future::poll(woken.as_mut(), &mut context).is_ready());
    }
}
