//! The data directory: where everything that `avl-cloud` keeps lies, and who may use it.
//!
//! The directory is 0700 and every secret in it 0600. A file appears whole or not at all: it is written beside
//! its place, synced, and renamed. One `avl-cloud all` at a time holds the lock; `token` and `audit` do not need it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("data directory {path}: {error}; choose one that this user may write with --data-dir")]
    Unusable { path: PathBuf, error: io::Error },
    #[error(
        "data directory {path} is missing: 'avl-cloud all' makes it at its first start; check --data-dir"
    )]
    Missing { path: PathBuf },
    #[error(
        "data directory {path} is used by a running avl-cloud (process {owner}): stop it, or choose another --data-dir"
    )]
    Locked { path: PathBuf, owner: String },
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
}

#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// Held as long as the directory is in use; the kernel frees it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl DataDir {
    /// Opens the directory and makes it, with its parents, when it is missing.
    ///
    /// # Errors
    /// When it cannot be made or is not a directory.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let root = root.into();
        make_private_dir(&root).map_err(|error| DataDirError::Unusable { path: root.clone(), error })?;
        Ok(Self { root })
    }

    /// Opens a directory that must be there: a reader never makes one because of a typing mistake.
    ///
    /// # Errors
    /// [`DataDirError::Missing`].
    pub fn existing(root: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let root = root.into();
        if root.is_dir() { Ok(Self { root }) } else { Err(DataDirError::Missing { path: root }) }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.sqlite")
    }

    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store.sqlite")
    }

    /// Files of the gateways' releases.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    /// The certificate authority: key and certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// The server's own key, certificate and QUIC reset key.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.root.join("server")
    }

    /// Claims the directory for this process.
    ///
    /// # Errors
    /// [`DataDirError::Locked`] while another process holds it.
    pub fn lock(&self) -> Result<Lock, DataDirError> {
        let path = self.root.join("lock");
        let failed = |error: io::Error| DataDirError::File { path: path.clone(), error };
        let mut file = open_lock_file(&path).map_err(failed)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let owner = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            let owner = if owner.is_empty() { "unknown".to_owned() } else { owner };
            return Err(DataDirError::Locked { path: self.root.clone(), owner });
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Lock { _file: file })
    }
}

/// Makes a directory that only its owner can enter; one that is there already keeps its mode.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes an empty file that only its owner can read, unless one is there: SQLite gives its side files the same mode.
pub(crate) fn make_private_file(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// Runs `work` while no other process that uses the same lock file does.
pub(crate) fn exclusively<T, E: From<io::Error>>(
    lock_file: &Path,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let file = open_lock_file(lock_file)?;
    flock(&file, FlockOperation::LockExclusive).map_err(io::Error::from)?;
    work()
}

/// Writes a file that only its owner can read; after a power cut it is there whole, or as it was before.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_one_holder_at_a_time_and_the_other_learns_who() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temp.path().join("data")).unwrap();
        let lock = dir.lock().unwrap();
        let refused = dir.lock().unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(lock);
        dir.lock().unwrap();
    }

    #[test]
    fn the_directory_and_its_secrets_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temp.path().join("a/b")).unwrap();
        assert_eq!(mode(dir.path()), 0o700);
        let secret = dir.path().join("secret");
        write_private(&secret, b"one").unwrap();
        write_private(&secret, b"two").unwrap();
        assert_eq!((fs::read(&secret).unwrap().as_slice(), mode(&secret)), (&b"two"[..], 0o600));
    }

    #[test]
    fn a_reader_makes_no_directory() {
        let temp = tempfile::tempdir().unwrap();
        assert!(matches!(DataDir::existing(temp.path().join("typo")), Err(DataDirError::Missing { .. })));
        assert!(!temp.path().join("typo").exists());
    }
}
