//! Signed updates with two slots: a new version is installed beside the one in use, tried, and taken back unless it
//! proves itself.
//!
//! What always holds: nothing is written into a slot before its manifest's signature is verified, and nothing is started
//! from it before its SHA-256 is; the slot in use is never written; the file `slots.json` alone says which version runs,
//! so a power cut leaves the old state or the new one. The launcher ([`launch`]) comes from the package and is never
//! updated from afar: whatever a new version does, the launcher is there to take it back.

mod download;
mod gate;
pub mod launch;
mod order;
mod slots;

pub use download::{DownloadError, Source, download};
pub use gate::{Evidence, Expectation};
pub use order::{Order, Refusal, Situation, TARGET, judge};
pub use slots::{Finished, Installed, MAX_STARTS, Slot, Slots, Start, Trial};

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::durable::{self, StateError};

/// The agent asks its launcher to start it again (`EX_TEMPFAIL`: systemd treats it as a failure and does the same).
pub const RESTART_STATUS: u8 = 75;
/// Set for the agent by its launcher.
pub const LAUNCHED: &str = "AVL_EDGE_LAUNCHED";

/// Where the slots are.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    #[must_use]
    pub fn read(&self) -> Slots {
        durable::read_json(&self.path.join("slots.json"))
    }

    /// Durable when it returns; the link `current` follows, for people.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, slots: &Slots) -> Result<(), StateError> {
        durable::write_json(&self.path.join("slots.json"), slots)?;
        self.point_at(slots.running().slot)
    }

    /// The program in a slot; `None` for the package's own.
    #[must_use]
    pub fn program(&self, slot: Slot) -> Option<PathBuf> {
        slot.folder().map(|folder| self.path.join(folder).join("avl-edge"))
    }

    /// Where a download grows.
    #[must_use]
    pub fn download(&self) -> PathBuf {
        self.path.join("download")
    }

    /// Moves a verified download into a slot that is not in use.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn install(&self, slot: Slot) -> Result<(), StateError> {
        let Some(program) = self.program(slot) else { return Ok(()) };
        let download = self.download();
        let failed = |cause| StateError::new("install", &program, cause);
        let folder = program.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(failed)?;
        fs::set_permissions(&download, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        fs::rename(&download, &program).map_err(failed)?;
        durable::sync(folder)?;
        durable::sync(&self.path)
    }

    fn point_at(&self, slot: Slot) -> Result<(), StateError> {
        let link = self.path.join("current");
        let failed = |cause| StateError::new("link", &link, cause);
        let Some(folder) = slot.folder() else { return durable::remove(&link) };
        if fs::read_link(&link).is_ok_and(|target| target == Path::new(folder)) {
            return Ok(());
        }
        let beside = self.path.join("current.new");
        durable::remove(&beside)?;
        std::os::unix::fs::symlink(folder, &beside).map_err(failed)?;
        fs::rename(&beside, &link).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::release::Version;

    #[test]
    fn a_download_becomes_a_program_and_current_points_at_it() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Directory::new(temp.path());
        assert_eq!(directory.read(), Slots::default());
        fs::write(directory.download(), "#!/bin/sh\n").unwrap();
        let slot = directory.read().spare();
        directory.install(slot).unwrap();
        let mut slots = directory.read();
        slots.try_out(Trial::new(
            slot,
            Version { major: 1, minor: 0, patch: 0 },
            "id",
            Expectation::default(),
        ));
        directory.write(&slots).unwrap();
        assert_eq!(directory.read(), slots);
        let program = temp.path().join("current/avl-edge");
        assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
        slots.roll_back("test");
        directory.write(&slots).unwrap();
        assert!(!program.exists(), "the package's own program is in use again");
    }
}
