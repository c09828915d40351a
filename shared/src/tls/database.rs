//! TLS to a database server: its certificate is verified, name included. Servers are other people's programs, so TLS 1.2 is
//! spoken too.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::{TlsError, provider};

/// A client that believes servers whose certificate one of `authorities` signed. Some of a machine's own authorities are
/// of kinds that nothing here understands; they are passed over.
///
/// # Errors
/// When none of the authorities is usable.
pub fn database_client(authorities: Vec<CertificateDer<'static>>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}
