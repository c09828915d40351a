//! Small files that are there whole or not at all: written beside their place, synced, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {cause}: check that the disk is not full and that avl-edge may write there", path = path.display())]
pub struct StateError {
    action: &'static str,
    path: PathBuf,
    cause: io::Error,
}

impl StateError {
    pub(super) fn new(action: &'static str, path: &Path, cause: io::Error) -> Self {
        Self { action, path: path.to_owned(), cause }
    }
}

/// After a power cut the file holds what it held before, or `bytes`.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let beside = path.with_extension("new");
    let failed = |cause| StateError::new("write", path, cause);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)?;
    sync(folder)
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StateError> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| StateError::new("write", path, io::Error::other(error)))?;
    write(path, &bytes)
}

/// What was written last; the default when nothing was, or when it cannot be read any more: a gateway that would not
/// start because of a damaged note could not be helped from afar.
pub(super) fn read_json<T: DeserializeOwned + Default>(path: &Path) -> T {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return T::default(),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "cannot be read: going on as if it were not there");
            return T::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::error!(path = %path.display(), %error, "damaged: going on as if it were not there");
        let _ = fs::rename(path, path.with_extension("damaged"));
        T::default()
    })
}

pub(super) fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StateError::new("remove", path, error)),
        _ => Ok(()),
    }
}

/// Makes durable which names a folder holds.
pub(super) fn sync(folder: &Path) -> Result<(), StateError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|cause| StateError::new("sync", folder, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_note_is_set_aside_and_never_stops_the_agent() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("sub/note.json");
        assert_eq!(read_json::<Vec<u32>>(&path), Vec::<u32>::new());
        write_json(&path, &vec![1, 2]).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path), [1, 2]);
        fs::write(&path, "[1, 2").unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path), Vec::<u32>::new());
        assert!(path.with_extension("damaged").exists());
    }

    #[test]
    fn what_a_power_cut_left_half_written_beside_it_is_overwritten() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("note.json");
        fs::write(path.with_extension("new"), "half").unwrap();
        assert_eq!(read_json::<u32>(&path), 0);
        write_json(&path, &7).unwrap();
        assert_eq!(read_json::<u32>(&path), 7);
    }
}
