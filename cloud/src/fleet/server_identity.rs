//! The server's own certificate: which names it must have, and when it is made anew.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use avl_shared::tls::{Credentials, signing_key};
use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;

use super::authority::{Authority, AuthorityError};
use crate::data_dir::{make_private_dir, write_private};

/// A third of a certificate's life, as is the custom: there is time to notice that renewal fails.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[derive(Debug, thiserror::Error)]
pub enum ServerIdentityError {
    #[error("server certificate in {path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("server name {0:?} is neither a DNS name nor an IP address: correct --name")]
    BadName(String),
    #[error("server key cannot be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error(
        "server key in {path} cannot be used ({error}): delete it, and a new one is made at the next start"
    )]
    BadKey { path: PathBuf, error: String },
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The names of a server: those asked for, the loopback ones, and the machine's own.
#[must_use]
pub fn server_names(asked: &[String]) -> Vec<String> {
    let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend(asked.iter().cloned());
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    // A machine may bear a name that no certificate can carry.
    if rustls::pki_types::DnsName::try_from(host.as_str()).is_ok() {
        names.insert(host);
    }
    names.into_iter().collect()
}

/// Loads the server's key and certificate; makes a certificate when there is none for these names, or the one there
/// is about to expire or was signed by another authority. The chain ends in the authority's certificate, because
/// a gateway at enrolment knows only that certificate's fingerprint.
///
/// # Errors
/// When a file cannot be read or written, or a name cannot stand in a certificate.
pub fn load_or_issue(
    directory: &Path,
    authority: &Authority,
    names: &[String],
    now: SystemTime,
) -> Result<Credentials, ServerIdentityError> {
    let at = |error: io::Error| ServerIdentityError::File { path: directory.to_owned(), error };
    for name in names {
        let valid =
            name.parse::<IpAddr>().is_ok() || rustls::pki_types::DnsName::try_from(name.as_str()).is_ok();
        if !valid {
            return Err(ServerIdentityError::BadName(name.clone()));
        }
    }
    make_private_dir(directory).map_err(at)?;
    let key_path = directory.join("key.pem");
    let certificate_path = directory.join("certificate.pem");
    if !key_path.exists() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        write_private(&key_path, key.serialize_pem().as_bytes()).map_err(at)?;
    }
    let key_pem = std::fs::read_to_string(&key_path).map_err(at)?;
    let bad_key = |error: String| ServerIdentityError::BadKey { path: directory.to_owned(), error };
    let key = KeyPair::from_pem(&key_pem).map_err(|error| bad_key(error.to_string()))?;

    let kept =
        std::fs::read(&certificate_path).ok().and_then(|pem| CertificateDer::from_pem_slice(&pem).ok());
    let leaf = match kept.filter(|certificate| is_current(certificate, authority, &key, names, now)) {
        Some(certificate) => certificate,
        None => {
            let pem = authority.issue_server(names, &key, now)?;
            write_private(&certificate_path, pem.as_bytes()).map_err(at)?;
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| bad_key(error.to_string()))?
        }
    };
    let key =
        PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| bad_key(error.to_string()))?;
    let key = signing_key(key).map_err(|error| bad_key(error.to_string()))?;
    Ok(Credentials { chain: vec![leaf, authority.certificate().clone()], key })
}

fn is_current(
    certificate: &CertificateDer<'_>,
    authority: &Authority,
    key: &KeyPair,
    names: &[String],
    now: SystemTime,
) -> bool {
    let Ok((_, leaf)) = x509_parser::parse_x509_certificate(certificate) else {
        return false;
    };
    let Ok((_, issuer)) = x509_parser::parse_x509_certificate(authority.certificate()) else {
        return false;
    };
    let expires: SystemTime = leaf.validity().not_after.to_datetime().into();
    let held: BTreeSet<String> = leaf
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| names.value.general_names.iter().filter_map(printed_name).collect())
        .unwrap_or_default();
    leaf.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
        && leaf.verify_signature(Some(issuer.public_key())).is_ok()
        && expires > now + RENEW_BEFORE
        && held == names.iter().cloned().collect()
}

fn printed_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .ok()
            .map(|address| address.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(extra: &[&str]) -> Vec<String> {
        server_names(&extra.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_certificate_is_kept_until_names_change_or_it_nears_its_end() {
        let temp = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(&temp.path().join("ca")).unwrap();
        let issue = |names: &[String], now| {
            load_or_issue(temp.path(), &authority, names, now).unwrap().chain[0].clone()
        };
        let now = SystemTime::now();
        let first = issue(&names(&[]), now);
        assert_eq!(issue(&names(&[]), now), first, "nothing changed");
        let renamed = issue(&names(&["fleet.example.com", "192.0.2.7"]), now);
        assert_ne!(renamed, first, "names changed");
        let later = now + Duration::from_secs(61 * 24 * 60 * 60);
        assert_ne!(issue(&names(&["fleet.example.com", "192.0.2.7"]), later), renamed, "near its end");
    }

    #[test]
    fn another_authority_means_another_certificate() {
        let temp = tempfile::tempdir().unwrap();
        let one = Authority::load_or_create(&temp.path().join("one")).unwrap();
        let two = Authority::load_or_create(&temp.path().join("two")).unwrap();
        let now = SystemTime::now();
        let first = load_or_issue(temp.path(), &one, &names(&[]), now).unwrap();
        let second = load_or_issue(temp.path(), &two, &names(&[]), now).unwrap();
        assert_ne!(first.chain[0], second.chain[0]);
        assert_eq!(second.chain[1], *two.certificate());
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(&temp.path().join("ca")).unwrap();
        let refused = load_or_issue(temp.path(), &authority, &["a b".to_owned()], SystemTime::now());
        assert!(matches!(refused, Err(ServerIdentityError::BadName(_))));
    }
}
