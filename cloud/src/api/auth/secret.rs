//! Secrets in the data directory: 32 random bytes, as base64url on one line, mode 0600.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use crate::data_dir::write_private;

pub(crate) const TOKEN_FILE: &str = "api-token";
pub(crate) const SESSION_KEY_FILE: &str = "session-key";

const SECRET_BYTES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read {path} ({cause}): it belongs to the user that runs avl-cloud")]
    Read { path: PathBuf, cause: io::Error },
    #[error(
        "cannot write {path} ({cause}): the data directory must exist and belong to the user that runs avl-cloud"
    )]
    Write { path: PathBuf, cause: io::Error },
    #[error(
        "{0} does not hold a secret: delete it and start the server, which makes a new one (the old one is then void)"
    )]
    Damaged(PathBuf),
    #[error("the system gave no random numbers: without them no secret can be made")]
    NoRandomness,
}

/// A secret's text. It is not `Debug` and not `Display`, so that no log can hold it.
pub(crate) struct Secret(String);

impl Secret {
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub(crate) fn generate() -> Result<Self, SecretError> {
        let mut bytes = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SecretError::NoRandomness)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The API token of the server that runs on this data directory.
///
/// # Errors
/// [`SecretError`]; `Read` with `NotFound` when no server has run there yet.
pub(crate) fn read_token(data_dir: &Path) -> Result<Secret, SecretError> {
    load(&data_dir.join(TOKEN_FILE))
}

pub(crate) fn load_or_create(path: &Path) -> Result<Secret, SecretError> {
    match load(path) {
        Err(SecretError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => create(path),
        other => other,
    }
}

fn load(path: &Path) -> Result<Secret, SecretError> {
    let read = |cause| SecretError::Read { path: path.to_owned(), cause };
    let text = fs::read_to_string(path).map_err(read)?;
    let mode = fs::metadata(path).map_err(read)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "other users of this machine can read this secret: chmod 600 it");
    }
    let text = text.trim_end();
    let length = URL_SAFE_NO_PAD.decode(text).map_or(0, |bytes| bytes.len());
    if length < SECRET_BYTES {
        return Err(SecretError::Damaged(path.to_owned()));
    }
    Ok(Secret(text.to_owned()))
}

fn create(path: &Path) -> Result<Secret, SecretError> {
    let secret = Secret::generate()?;
    write_private(path, format!("{}\n", secret.0).as_bytes())
        .map_err(|cause| SecretError::Write { path: path.to_owned(), cause })?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKEN_FILE);
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().as_str(), made.as_str());
        assert_eq!(read_token(dir.path()).unwrap().as_str(), made.as_str());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn a_damaged_secret_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKEN_FILE);
        for damaged in ["", "short\n", "not base64 at all, but long enough to be a secret\n"] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(load_or_create(&path), Err(SecretError::Damaged(_))), "{damaged:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_missing_data_directory_is_named() {
        let error = load_or_create(Path::new("/nonexistent/avl/api-token")).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/avl/api-token"), "{error}");
    }
}
