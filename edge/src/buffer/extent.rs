//! A small file beside the store that says how far its numbers went, should the store itself not say any more, and
//! on which file the store was, should somebody put an old copy in its place.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use avl_shared::sequence::Epoch;

/// `vfat` and `exfat` make inode numbers up at each mount (linux/magic.h, `MSDOS_SUPER_MAGIC`, `EXFAT_SUPER_MAGIC`).
const WITHOUT_INODES: [u64; 2] = [0x4d44, 0x2011_BAB0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub epoch: Epoch,
    /// At least every number below it was given to a fix.
    pub next: u64,
    /// Of the store's file; 0 where the file system has no lasting ones.
    pub inode: u64,
}

impl Extent {
    /// `None` when there is none, or it cannot be read.
    #[must_use]
    pub(super) fn read(state_dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(path(state_dir)).ok()?;
        let mut words = text.split_whitespace();
        let epoch = Epoch(u32::from_str_radix(words.next()?, 16).ok()?);
        let (next, inode) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (words.next() == Some("end")).then_some(Self { epoch, next, inode })
    }

    /// Replaces the file in one step.
    ///
    /// # Errors
    /// When the disk refuses. The old file is there still.
    pub(super) fn write(&self, state_dir: &Path) -> io::Result<()> {
        let (target, fresh) = (path(state_dir), state_dir.join("buffer.extent.new"));
        let mut file = File::create(&fresh)?;
        writeln!(file, "{} {} {} end", self.epoch, self.next, self.inode)?;
        file.sync_data()?;
        fs::rename(&fresh, &target)?;
        File::open(state_dir)?.sync_all()
    }
}

/// # Errors
/// When the store has no file.
pub(super) fn inode(directory: &Path) -> io::Result<u64> {
    let file = directory.join("db");
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
    // the kernel's type differs from target to target
    let kind = rustix::fs::statfs(&file)?.f_type as u64;
    if WITHOUT_INODES.contains(&kind) {
        return Ok(0);
    }
    Ok(fs::metadata(file)?.ino())
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("buffer.extent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_and_half_of_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Extent::read(folder.path()), None);
        let extent = Extent { epoch: Epoch(0xbeef), next: 86_400, inode: 42 };
        extent.write(folder.path()).unwrap();
        assert_eq!(Extent::read(folder.path()), Some(extent));
        let text = fs::read_to_string(path(folder.path())).unwrap();
        for length in 0..text.len() - 1 {
            fs::write(path(folder.path()), &text[..length]).unwrap();
            assert_eq!(Extent::read(folder.path()), None, "{length}");
        }
    }
}
