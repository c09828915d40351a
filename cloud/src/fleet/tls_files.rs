//! A server's certificate from files, for processes that do not hold the authority's key: the `[tls]` section.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use avl_shared::tls::{Credentials, signing_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

/// All of the first three, or none: then the certificate is the built-in authority's, in the data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM: the server's certificate, and what leads from it to the authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM: its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// PEM: the certificate of the authority that signs vehicles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
    /// PEM: a certificate of the same key, for an MQTT broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<PathBuf>,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
    client_certificate: Option<PathBuf>,
}

impl TlsSettings {
    /// `None` when no files are named.
    ///
    /// # Errors
    /// When some are named and others not.
    pub fn files(&self) -> anyhow::Result<Option<TlsFiles>> {
        match (&self.certificate, &self.key, &self.authority) {
            (None, None, None) => {
                ensure!(self.client_certificate.is_none(), "tls.client_certificate needs tls.key beside it");
                Ok(None)
            }
            (Some(certificate), Some(key), Some(authority)) => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                authority: authority.clone(),
                client_certificate: self.client_certificate.clone(),
            })),
            _ => bail!(
                "[tls] needs certificate, key and authority together: 'avl-cloud certificate' writes all of them"
            ),
        }
    }
}

impl TlsFiles {
    /// What the server shows, with the authority at its end: a gateway that enrols knows only that one's fingerprint.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn server(&self) -> anyhow::Result<(Credentials, CertificateDer<'static>)> {
        let authority = self.authority()?;
        let mut chain = certificates("tls.certificate", &self.certificate)?;
        if !chain.contains(&authority) {
            chain.push(authority.clone());
        }
        Ok((self.credentials(chain)?, authority))
    }

    /// What is shown to an MQTT broker.
    ///
    /// # Errors
    /// Names the file that is missing or cannot be used.
    pub fn client(&self) -> anyhow::Result<Credentials> {
        let path = self
            .client_certificate
            .as_deref()
            .context("mqtt.url needs tls.client_certificate where [tls] names files")?;
        let mut chain = certificates("tls.client_certificate", path)?;
        chain.push(self.authority()?);
        self.credentials(chain)
    }

    fn authority(&self) -> anyhow::Result<CertificateDer<'static>> {
        certificates("tls.authority", &self.authority).map(|mut found| found.swap_remove(0))
    }

    fn credentials(&self, chain: Vec<CertificateDer<'static>>) -> anyhow::Result<Credentials> {
        let unusable = || format!("tls.key: {} holds no usable private key in PEM", self.key.display());
        let key = PrivateKeyDer::from_pem_file(&self.key).with_context(unusable)?;
        Ok(Credentials { chain, key: signing_key(key).with_context(unusable)? })
    }
}

fn certificates(setting: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unusable = || format!("{setting}: {} holds no usable certificates in PEM", path.display());
    let found = CertificateDer::pem_file_iter(path)
        .with_context(unusable)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(unusable)?;
    ensure!(!found.is_empty(), unusable());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    use crate::fleet::authority::Authority;
    use crate::fleet::broker::{write_part_files, write_server_files};

    #[test]
    fn what_the_authority_writes_can_be_used_and_what_is_missing_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(&temp.path().join("ca")).unwrap();
        let out = temp.path().join("out");
        write_server_files(&out, &authority, &["fleet.example.com".to_owned()], SystemTime::now()).unwrap();
        write_part_files(&out, &authority, SystemTime::now()).unwrap();
        let mut settings = TlsSettings {
            certificate: Some(out.join("certificate.pem")),
            key: Some(out.join("key.pem")),
            authority: Some(out.join("ca.pem")),
            client_certificate: Some(out.join("client.pem")),
        };
        let files = settings.files().unwrap().unwrap();
        let (credentials, found) = files.server().unwrap();
        assert_eq!((credentials.chain.len(), &found), (2, authority.certificate()));
        assert_ne!(files.client().unwrap().chain[0], credentials.chain[0]);
        settings.key = Some(out.join("ca.pem"));
        let error = settings.files().unwrap().unwrap().server().err().unwrap();
        assert!(format!("{error:#}").contains("tls.key"), "{error:#}");
        settings.key = None;
        assert!(settings.files().unwrap_err().to_string().contains("together"));
    }
}
