//! Key, certificate and authorities on flash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use avl_shared::enrolment::Fingerprint;
use avl_shared::identity::{IdentityError, VehicleKey};
use avl_shared::tls::Credentials;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::config::IdentityConfig;
use super::keys::{KeyError, Keys};

const KEY: &str = "key.pem";
/// Beside the identity while it is replaced.
const FRESH: &str = "identity.new";
const OLD: &str = "identity.old";
pub(super) const CERTIFICATE: &str = "certificate.pem";
const AUTHORITIES: &str = "ca.pem";
/// Where the gateway was enrolled, one line.
const URL: &str = "url";

#[derive(Clone, Debug)]
pub struct Identity {
    pub vehicle: VehicleKey,
    pub credentials: Credentials,
    pub authorities: Vec<CertificateDer<'static>>,
}

/// The files, before they are written.
pub struct IdentityFiles<'a> {
    pub key: &'a str,
    pub certificate: &'a str,
    pub authorities: &'a str,
    pub url: Option<&'a str>,
}

#[derive(Debug, thiserror::Error)]
pub enum StoredIdentityError {
    #[error("this gateway is not enrolled (no {path}): run 'avl-edge enrol --url URL --token TOKEN --config FILE'", path = path.display())]
    NotEnrolled { path: PathBuf },
    #[error("cannot {action} {path}: {cause}: run avl-edge as the user that enrolled it, or enrol again with --force", path = path.display())]
    File { action: &'static str, path: PathBuf, cause: io::Error },
    #[error("{path} holds no usable PEM ({cause}): enrol again with --force", path = path.display())]
    Pem { path: PathBuf, cause: String },
    #[error(
        "the key {path} can be read by other users (mode {mode:o}): run 'chmod 600 {path}', and enrol again with --force if somebody may have copied it", path = path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{path}: {cause}", path = path.display())]
    Key { path: PathBuf, cause: KeyError },
    #[error(transparent)]
    Name(#[from] IdentityError),
}

#[must_use]
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("identity")
}

#[must_use]
pub fn is_enrolled(state_dir: &Path) -> bool {
    directory(state_dir).join(KEY).exists()
}

impl Identity {
    /// # Errors
    /// When the gateway is not enrolled, or the files are unreadable or damaged.
    pub fn load(state_dir: &Path, config: &IdentityConfig) -> Result<Self, StoredIdentityError> {
        let directory = directory(state_dir);
        if !is_enrolled(state_dir) {
            return Err(StoredIdentityError::NotEnrolled { path: directory });
        }
        let chain = certificates(&directory.join(CERTIFICATE))?;
        let authorities = certificates(&directory.join(AUTHORITIES))?;
        let key_path = directory.join(KEY);
        let mode = attempt("read", &key_path, fs::metadata(&key_path))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(StoredIdentityError::Exposed { path: key_path, mode });
        }
        let stored = read(&key_path)?;
        let key = Keys::of(config)
            .and_then(|keys| keys.load(&stored))
            .map_err(|cause| StoredIdentityError::Key { path: key_path, cause })?;
        let leaf = chain.first().ok_or_else(|| StoredIdentityError::Pem {
            path: directory.join(CERTIFICATE),
            cause: "no certificate in it".to_owned(),
        })?;
        let vehicle = VehicleKey::from_certificate(leaf)?;
        Ok(Self { vehicle, credentials: Credentials { chain, key }, authorities })
    }

    /// Of the vehicle's own certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.credentials.chain.first().map(|leaf| Fingerprint::of(leaf))
    }
}

/// Writes an identity so that a power cut leaves the old one or the new one, never half of it: all files go into a new
/// folder, which then changes places with the old one.
///
/// # Errors
/// When the disk refuses.
pub fn store(state_dir: &Path, files: &IdentityFiles<'_>) -> Result<(), StoredIdentityError> {
    let (target, fresh, old) = (directory(state_dir), state_dir.join(FRESH), state_dir.join(OLD));
    create_private(state_dir)?;
    recover(state_dir)?;
    for leftover in [&fresh, &old] {
        remove(leftover)?;
    }
    create_private(&fresh)?;
    let files = [
        (KEY, Some(files.key)),
        (CERTIFICATE, Some(files.certificate)),
        (AUTHORITIES, Some(files.authorities)),
        (URL, files.url),
    ];
    for (name, text) in files {
        let path = fresh.join(name);
        attempt("write", &path, text.map_or(Ok(()), |text| write_private(&path, text)))?;
    }
    attempt("sync", &fresh, sync(&fresh))?;
    // Some file systems cannot exchange; `recover` then bridges the moment between the two steps.
    if !target.exists() || renameat_with(CWD, &fresh, CWD, &target, RenameFlags::EXCHANGE).is_err() {
        if target.exists() {
            attempt("move away", &target, fs::rename(&target, &old))?;
        }
        attempt("rename", &fresh, fs::rename(&fresh, &target))?;
    }
    attempt("sync", state_dir, sync(state_dir))?;
    remove(&fresh)?;
    remove(&old)
}

/// Puts back an identity that a power cut found between two names.
///
/// # Errors
/// When the disk refuses.
pub fn recover(state_dir: &Path) -> Result<(), StoredIdentityError> {
    let (target, old) = (directory(state_dir), state_dir.join(OLD));
    if !target.exists() && old.exists() {
        attempt("rename", &old, fs::rename(&old, &target))?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), StoredIdentityError> {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    attempt("remove", folder, removed)
}

/// The key as it is stored, or the reference to it; `None` for a gateway that is not enrolled.
#[cfg(feature = "pkcs11")]
pub(super) fn stored_key(state_dir: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(directory(state_dir).join(KEY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Where this gateway was enrolled, if that is known.
pub(super) fn read_url(state_dir: &Path) -> Option<String> {
    let text = fs::read_to_string(directory(state_dir).join(URL)).ok()?;
    Some(text.trim().to_owned()).filter(|url| !url.is_empty())
}

/// PEM of certificates, one after the other.
pub(super) fn certificates_text(certificates: &[CertificateDer<'_>]) -> String {
    certificates.iter().map(|der| pem_text("CERTIFICATE", der)).collect()
}

/// One PEM section.
pub(super) fn pem_text(kind: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {kind}-----\n");
    let encoded = STANDARD.encode(der);
    for line in encoded.as_bytes().chunks(64) {
        // Base64 is ASCII.
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(kind);
    text.push_str("-----\n");
    text
}

/// Makes a folder that only its owner may enter; one that exists is left as it is.
///
/// # Errors
/// When the disk refuses.
pub fn create_private(directory: &Path) -> Result<(), StoredIdentityError> {
    attempt("create", directory, fs::DirBuilder::new().recursive(true).mode(0o700).create(directory))
}

/// PEM certificates, one after the other.
///
/// # Errors
/// When the text holds none, or one that is damaged.
pub fn parse_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if parsed.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(parsed) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoredIdentityError> {
    parse_certificates(&read(path)?)
        .map_err(|cause| StoredIdentityError::Pem { path: path.to_owned(), cause })
}

fn read(path: &Path) -> Result<Vec<u8>, StoredIdentityError> {
    attempt("read", path, fs::read(path))
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn attempt<T>(action: &'static str, path: &Path, outcome: io::Result<T>) -> Result<T, StoredIdentityError> {
    outcome.map_err(|cause| StoredIdentityError::File { action, path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn files(key: &str) -> IdentityFiles<'_> {
        IdentityFiles {
            key,
            certificate: "certificate",
            authorities: "authorities",
            url: Some("https://a.example"),
        }
    }

    #[test]
    fn the_key_is_private_and_a_new_identity_takes_the_place_of_the_old_one() {
        let state = tempfile::tempdir().unwrap();
        store(state.path(), &files("first")).unwrap();
        store(state.path(), &files("second")).unwrap();
        let key = directory(state.path()).join(KEY);
        assert_eq!(fs::read_to_string(&key).unwrap(), "second");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(directory(state.path())).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_power_cut_between_two_names_loses_no_identity() {
        let state = tempfile::tempdir().unwrap();
        store(state.path(), &files("first")).unwrap();
        fs::rename(directory(state.path()), state.path().join(OLD)).unwrap();
        recover(state.path()).unwrap();
        assert_eq!(fs::read_to_string(directory(state.path()).join(KEY)).unwrap(), "first");
        assert_eq!(read_url(state.path()).as_deref(), Some("https://a.example"));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_its_cure() {
        let state = tempfile::tempdir().unwrap();
        let authority = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&authority).unwrap();
        let pem = certificates_text(std::slice::from_ref(certificate.der()));
        assert_eq!(parse_certificates(pem.as_bytes()).unwrap(), [certificate.der().clone()]);
        let files = IdentityFiles { certificate: &pem, authorities: &pem, ..files("key") };
        store(state.path(), &files).unwrap();
        let key = directory(state.path()).join(KEY);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Identity::load(state.path(), &IdentityConfig::default()).unwrap_err().to_string();
        assert!(error.contains("640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_gateway_that_is_not_enrolled_is_told_how() {
        let state = tempfile::tempdir().unwrap();
        let error = Identity::load(state.path(), &IdentityConfig::default()).unwrap_err().to_string();
        assert!(error.contains("avl-edge enrol --url"), "{error}");
    }

    #[test]
    fn a_damaged_identity_names_the_file() {
        let state = tempfile::tempdir().unwrap();
        store(state.path(), &files("no key")).unwrap();
        let error = Identity::load(state.path(), &IdentityConfig::default()).unwrap_err().to_string();
        assert!(error.contains("certificate.pem") && error.contains("--force"), "{error}");
    }
}
