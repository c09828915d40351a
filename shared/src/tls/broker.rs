//! TLS to an MQTT broker: mutual, like the link over QUIC. Brokers are other people's programs, so TLS 1.2 is spoken too.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerified;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, Error};

use super::judge::{Judge, Shown, Verifier};
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
        .with_custom_certificate_verifier(Verifier::new(Named { name, usual }))
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

impl Judge for Named {
    fn judge(&self, shown: Shown<'_>) -> Result<ServerCertVerified, Error> {
        Shown { server_name: &self.name, ..shown }.judged_by(&*self.usual)
    }
}
