//! TLS to an MQTT broker: mutual, like the link over QUIC. Brokers are other people's programs, so TLS 1.2 is spoken too.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::{Credentials, TlsError, provider, roots};

/// A client of the broker whose certificate carries `name`, which need not be the name that it is reached by.
///
/// # Errors
/// When a certificate, key or name is unusable.
pub fn broker_client(
    credentials: Credentials,
    authorities: &[CertificateDer<'static>],
    name: &str,
) -> Result<ClientConfig, TlsError> {
    let name = ServerName::try_from(name.to_owned()).map_err(|error| Error::General(error.to_string()))?;
    let usual = WebPkiServerVerifier::builder_with_provider(roots(authorities)?, provider()).build()?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Named { name, usual }))
        .with_client_cert_resolver(credentials.resolver()?);
    // A broker that resumes a session does not look at the certificate again, nor whether it was revoked meanwhile.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Verifies a server as usual, but for a name of its own: the MQTT client knows only the one that it connects to.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    usual: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _connected_to: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.usual.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
