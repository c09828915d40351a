//! Certificates for servers beside this one: an MQTT broker's own, the one that the cloud shows to it, and those of
//! processes that do not hold the authority's key.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use avl_shared::tls::{Credentials, broker_client, signing_key};
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::authority::Authority;
use super::server_identity::{ServerIdentityError, load_or_issue};
use crate::data_dir::write_private;

/// What the broker's access rules call the cloud.
pub const CLOUD_USER: &str = "avl-cloud";

/// Writes `key.pem`, `certificate.pem` and `ca.pem` for a server that is reached by `names`. Existing ones are kept until names
/// change or they near their end, so it may run daily.
///
/// # Errors
/// When a file cannot be written, or a name cannot stand in a certificate.
pub fn write_server_files(
    directory: &Path,
    authority: &Authority,
    names: &[String],
    now: SystemTime,
) -> Result<(), ServerIdentityError> {
    load_or_issue(directory, authority, names, now)?;
    let at = |error: io::Error| ServerIdentityError::File { path: directory.to_owned(), error };
    write_private(&directory.join("ca.pem"), authority.certificate_pem().as_bytes()).map_err(at)
}

/// Writes `client.pem` beside them: a certificate of the same key, by which a broker knows a part of the cloud.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write_part_files(directory: &Path, authority: &Authority, now: SystemTime) -> anyhow::Result<()> {
    let key = KeyPair::from_pem(&std::fs::read_to_string(directory.join("key.pem"))?)?;
    let pem = authority.issue_part(CLOUD_USER, &key, now)?.pem();
    Ok(write_private(&directory.join("client.pem"), pem.as_bytes())?)
}

/// TLS towards the broker, with a key and a certificate made for this connection: nothing to keep, nothing to renew.
///
/// # Errors
/// When the certificate cannot be made, or the file with `further` authorities cannot be read.
pub fn cloud_client(
    authority: &Authority,
    broker_name: &str,
    further: Option<&Path>,
    now: SystemTime,
) -> anyhow::Result<ClientConfig> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let leaf = authority.issue_part(CLOUD_USER, &key, now)?.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| anyhow::anyhow!(error))?;
    let credentials =
        Credentials { chain: vec![leaf, authority.certificate().clone()], key: signing_key(key)? };
    let authorities = broker_authorities(authority.certificate().clone(), further)?;
    Ok(broker_client(credentials, &authorities, broker_name)?)
}

/// Who may have signed the broker's certificate.
///
/// # Errors
/// When the file with `further` ones cannot be read.
pub fn broker_authorities(
    ours: CertificateDer<'static>,
    further: Option<&Path>,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let mut authorities = vec![ours];
    if let Some(path) = further {
        authorities.extend(read_authorities(path)?);
    }
    Ok(authorities)
}

fn read_authorities(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unusable = || format!("mqtt.authorities: {} holds no usable PEM certificates", path.display());
    let pem = std::fs::read(path)
        .with_context(|| format!("mqtt.authorities: {} cannot be read", path.display()))?;
    let certificates =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().with_context(unusable)?;
    anyhow::ensure!(!certificates.is_empty(), unusable());
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_gets_its_files_and_the_cloud_a_name_that_no_vehicle_can_have() {
        let temp = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(&temp.path().join("ca")).unwrap();
        let broker = temp.path().join("broker");
        let names = ["mqtt.example.com".to_owned()];
        write_server_files(&broker, &authority, &names, SystemTime::now()).unwrap();
        let first = std::fs::read(broker.join("certificate.pem")).unwrap();
        write_server_files(&broker, &authority, &names, SystemTime::now()).unwrap();
        assert_eq!(std::fs::read(broker.join("certificate.pem")).unwrap(), first, "nothing changed");
        assert_eq!(std::fs::read_to_string(broker.join("ca.pem")).unwrap(), authority.certificate_pem());

        let key = KeyPair::generate().unwrap();
        let leaf = authority.issue_part(CLOUD_USER, &key, SystemTime::now()).unwrap().der().clone();
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        assert_eq!(parsed.subject().to_string(), "CN=avl-cloud");
        assert!(CLOUD_USER.parse::<avl_shared::identity::VehicleKey>().is_err());
        assert!(
            avl_shared::identity::VehicleKey::from_certificate(&leaf).is_err(),
            "it is no vehicle on QUIC either"
        );
    }

    #[test]
    fn authorities_that_cannot_be_read_are_named() {
        let temp = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(&temp.path().join("ca")).unwrap();
        let empty = temp.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        for path in [empty, temp.path().join("missing.pem")] {
            let error = cloud_client(&authority, "localhost", Some(&path), SystemTime::now()).unwrap_err();
            assert!(format!("{error:#}").contains(path.to_str().unwrap()), "{error:#}");
        }
    }
}
