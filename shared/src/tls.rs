//! The one place where a rustls configuration is made.
//!
//! TLS 1.3 only (but to MQTT brokers and databases), the ring provider named explicitly (another provider in the same build must never be picked
//! up by accident), client certificates required on the link, no early data, no session tickets: a resumed
//! session would skip the check whether the certificate has been revoked. A vehicle judges certificates by the time
//! that it trusts ([`TrustedTime`]), which need not be the system clock's.

mod dated;
mod judge;

pub use dated::{Objection, SystemTime, Time, TrustedTime};

mod broker;

pub use broker::broker_client;

mod database;

pub use database::database_client;

use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, ServerConfig};

use crate::enrolment::Fingerprint;
use crate::link::ALPN;

use judge::{Judge, Shown, Verifier};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("TLS configuration refused: {0}")]
    Config(#[from] Error),
    #[error("client certificate verifier refused: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A certificate chain (leaf first) and the key of its leaf, wherever that is: in memory ([`signing_key`]) or in a
/// security module.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<dyn SigningKey>,
}

impl Credentials {
    fn resolver(self) -> Result<Arc<SingleCertAndKey>, TlsError> {
        let certified = CertifiedKey::new(self.chain, self.key);
        certified.keys_match()?;
        Ok(Arc::new(certified.into()))
    }
}

/// A key that is in memory.
///
/// # Errors
/// When it is of a kind that TLS does not know.
pub fn signing_key(key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
    provider().key_provider.load_private_key(key)
}

#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Flights that settle a TLS 1.3 handshake, with one to spare.
#[cfg(test)]
pub(crate) const ROUND_TRIP: usize = 3;

fn roots(authorities: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for authority in authorities {
        store.add(authority.clone())?;
    }
    Ok(Arc::new(store))
}

/// The cloud's side of the link: it asks for a certificate and takes only those that `authorities` signed.
///
/// # Errors
/// When a certificate or key is unusable.
pub fn link_server(
    credentials: Credentials,
    authorities: &[CertificateDer<'static>],
) -> Result<ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authorities)?, provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(credentials.resolver()?);
    config.alpn_protocols = vec![ALPN.to_vec()];
    forbid_resumption(&mut config);
    Ok(config)
}

/// The vehicle's side of the link, on a machine whose clock is right.
///
/// # Errors
/// When a certificate or key is unusable.
pub fn link_client(
    credentials: Credentials,
    authorities: &[CertificateDer<'static>],
) -> Result<ClientConfig, TlsError> {
    Ok(vehicle_client(credentials, authorities, Arc::new(SystemTime), &[ALPN])?.0)
}

/// A vehicle that shows its certificate, over whatever speaks these protocols, and judges the server's by `time`. What
/// it finds wrong with that is in the [`Objection`].
///
/// # Errors
/// When a certificate or key is unusable.
pub fn vehicle_client(
    credentials: Credentials,
    authorities: &[CertificateDer<'static>],
    time: Arc<dyn TrustedTime>,
    protocols: &[&[u8]],
) -> Result<(ClientConfig, Objection), TlsError> {
    let (builder, objection) = dated_client(webpki(authorities)?, time)?;
    let mut config = builder.with_client_cert_resolver(credentials.resolver()?);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Ok((config, objection))
}

/// HTTPS to a server of the fleet, by a vehicle that shows no certificate because its own may have expired.
///
/// # Errors
/// When a certificate is unusable.
pub fn https_client(
    authorities: &[CertificateDer<'static>],
    time: Arc<dyn TrustedTime>,
) -> Result<(ClientConfig, Objection), TlsError> {
    let (builder, objection) = dated_client(webpki(authorities)?, time)?;
    Ok((without_certificate(builder), objection))
}

type WantsCertificate = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn dated_client(
    inner: Arc<dyn ServerCertVerifier>,
    time: Arc<dyn TrustedTime>,
) -> Result<(WantsCertificate, Objection), TlsError> {
    let objection = Objection::default();
    let verifier = dated::Dated { inner, time: Arc::clone(&time), objection: objection.clone() };
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(dated::Provider(time)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Verifier::new(verifier));
    Ok((builder, objection))
}

fn webpki(authorities: &[CertificateDer<'static>]) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    Ok(WebPkiServerVerifier::builder_with_provider(roots(authorities)?, provider()).build()?)
}

fn without_certificate(builder: WantsCertificate) -> ClientConfig {
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// HTTPS for enrolment: nobody has a client certificate yet.
///
/// # Errors
/// When a certificate or key is unusable.
pub fn enrolment_server(credentials: Credentials) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(credentials.resolver()?);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    forbid_resumption(&mut config);
    Ok(config)
}

/// HTTPS for enrolment, seen from a gateway that trusts nobody but the CA whose fingerprint its token carries.
///
/// # Errors
/// When the configuration is refused.
pub fn enrolment_client(ca: Fingerprint) -> Result<ClientConfig, TlsError> {
    enrolment_client_at(ca, Arc::new(SystemTime))
}

/// As [`enrolment_client`], with certificates judged by `time`.
///
/// # Errors
/// When the configuration is refused.
pub fn enrolment_client_at(ca: Fingerprint, time: Arc<dyn TrustedTime>) -> Result<ClientConfig, TlsError> {
    let pinned = Verifier::new(PinnedAuthority { ca });
    Ok(without_certificate(dated_client(pinned, time)?.0))
}

fn forbid_resumption(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

/// Judges a server as usual, with a single root: the certificate in the presented chain whose fingerprint is pinned.
#[derive(Debug)]
struct PinnedAuthority {
    ca: Fingerprint,
}

impl Judge for PinnedAuthority {
    fn judge(&self, shown: Shown<'_>) -> Result<ServerCertVerified, Error> {
        let pinned = shown
            .intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.ca)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut store = RootCertStore::empty();
        store.add(pinned.clone().into_owned())?;
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        shown.judged_by(&*usual)
    }
}
