//! Certificates judged by a time that the caller vouches for, not by whatever the system clock says.
//!
//! A gateway without a clock of its own starts in 1970, so its agent says what it knows: the time, or only that it is not
//! earlier than some instant. Against the latter a certificate is refused when it has certainly expired; that it may
//! not have begun yet cannot be told and is not held against it. Chain, names and signatures are always checked.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, Error};

use super::judge::{Judge, Shown};

use crate::fix::UtcMillis;
use crate::identity::Validity;

/// What is known of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    At(UtcMillis),
    /// It is this or later.
    NotBefore(UtcMillis),
}

/// Who says what time it is; `None` while nobody knows.
pub trait TrustedTime: std::fmt::Debug + Send + Sync {
    fn time(&self) -> Option<Time>;
}

/// The system clock, believed.
#[derive(Clone, Copy, Debug)]
pub struct SystemTime;

impl TrustedTime for SystemTime {
    fn time(&self) -> Option<Time> {
        i64::try_from(UnixTime::now().as_secs()).ok().map(|seconds| Time::At(seconds * 1000))
    }
}

/// For rustls, which asks for seconds and knows no doubt.
#[derive(Debug)]
pub(super) struct Provider(pub(super) Arc<dyn TrustedTime>);

impl TimeProvider for Provider {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.time().map(|time| match time {
            Time::At(at) | Time::NotBefore(at) => unix_time(at),
        })
    }
}

/// What was wrong with the server's certificate in the handshakes of one configuration: transports pass on a text only.
#[derive(Clone, Debug, Default)]
pub struct Objection(Arc<Mutex<Option<CertificateError>>>);

impl Objection {
    /// The last objection, once.
    #[must_use]
    pub fn take(&self) -> Option<CertificateError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Another verifier, with the time from a [`TrustedTime`].
#[derive(Debug)]
pub(super) struct Dated {
    pub(super) inner: Arc<dyn ServerCertVerifier>,
    pub(super) time: Arc<dyn TrustedTime>,
    pub(super) objection: Objection,
}

impl Judge for Dated {
    fn judge(&self, shown: Shown<'_>) -> Result<ServerCertVerified, Error> {
        let now = match self.time.time() {
            None => return Err(Error::FailedToGetCurrentTime),
            Some(Time::At(now)) => now,
            Some(Time::NotBefore(earliest)) => {
                Validity::of(shown.end_entity).map_or(earliest, |validity| earliest.max(validity.not_before))
            }
        };
        let verified = Shown { now: unix_time(now), ..shown }.judged_by(&*self.inner);
        if let Err(Error::InvalidCertificate(error)) = &verified {
            *self.objection.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
        verified
    }
}

fn unix_time(at: UtcMillis) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(u64::try_from(at).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Credentials, ROUND_TRIP, enrolment_server, https_client, signing_key};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    use std::io::ErrorKind;

    const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;

    #[derive(Debug)]
    struct Says(Option<Time>);

    impl TrustedTime for Says {
        fn time(&self) -> Option<Time> {
            self.0
        }
    }

    /// One handshake with a server whose certificate is valid from 2030 to 2031, by a client that knows this time.
    fn handshake(time: Option<Time>) -> Result<(), Option<CertificateError>> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::from_ca_cert_der(&ca, key).unwrap();
        let server_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let leaf = params.signed_by(&server_key, &issuer).unwrap().der().clone();
        let credentials = Credentials {
            chain: vec![leaf, ca.clone()],
            key: signing_key(PrivateKeyDer::try_from(server_key.serialize_der()).unwrap()).unwrap(),
        };
        let (config, objection) = https_client(&[ca], Arc::new(Says(time))).unwrap();
        let mut client =
            rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut server =
            rustls::ServerConnection::new(Arc::new(enrolment_server(credentials).unwrap())).unwrap();
        for _ in 0..ROUND_TRIP {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            let _ = server.process_new_packets();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            match client.read_tls(&mut wire.as_slice()) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
            }
            if client.process_new_packets().is_err() {
                return Err(objection.take());
            }
        }
        assert!(!client.is_handshaking());
        Ok(())
    }

    fn year(year: i64) -> i64 {
        (year - 1970) * YEAR_MS + (year - 1969) / 4 * 24 * 3600 * 1000
    }

    #[test]
    fn a_known_time_is_held_against_both_ends_of_a_certificate() {
        assert_eq!(handshake(Some(Time::At(year(2030) + YEAR_MS / 2))), Ok(()));
        let early = handshake(Some(Time::At(year(2029)))).unwrap_err();
        assert!(matches!(early, Some(CertificateError::NotValidYetContext { .. })), "{early:?}");
        let late = handshake(Some(Time::At(year(2032)))).unwrap_err();
        assert!(matches!(late, Some(CertificateError::ExpiredContext { .. })), "{late:?}");
    }

    #[test]
    fn a_lower_bound_refuses_only_what_has_certainly_expired() {
        assert_eq!(handshake(Some(Time::NotBefore(year(2026)))), Ok(()));
        let late = handshake(Some(Time::NotBefore(year(2032)))).unwrap_err();
        assert!(matches!(late, Some(CertificateError::ExpiredContext { .. })), "{late:?}");
    }

    #[test]
    fn without_any_time_there_is_no_handshake() {
        assert_eq!(handshake(None), Err(None));
    }
}
