//! The rate that worked last time, so that a restart need not look for it.
//!
//! A file of a few dozen bytes, written only when the rate changes. Losing it costs some seconds at a start.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE: &str = "receiver.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    device: PathBuf,
    baud: u32,
}

/// The rate at which `device` was heard last.
pub(super) fn recall(state_dir: &Path, device: &Path) -> Option<u32> {
    let bytes = std::fs::read(state_dir.join(FILE)).ok()?;
    let remembered: Remembered = serde_json::from_slice(&bytes).ok()?;
    (remembered.device == device && remembered.baud > 0).then_some(remembered.baud)
}

/// # Errors
/// When the file cannot be written.
pub(super) fn remember(state_dir: &Path, device: &Path, baud: u32) -> io::Result<()> {
    if recall(state_dir, device) == Some(baud) {
        return Ok(());
    }
    let bytes = serde_json::to_vec(&Remembered { device: device.to_owned(), baud })?;
    let (file, draft) = (state_dir.join(FILE), state_dir.join("receiver.json.new"));
    std::fs::write(&draft, bytes)?;
    std::fs::rename(draft, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_remembered_for_its_device_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (device, other) = (Path::new("/dev/a"), Path::new("/dev/b"));
        assert_eq!(recall(folder.path(), device), None);
        remember(folder.path(), device, 38_400).unwrap();
        assert_eq!(recall(folder.path(), device), Some(38_400));
        assert_eq!(recall(folder.path(), other), None);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(recall(folder.path(), device), None);
    }
}
