//! A bounded folder for batches that left the buffer undelivered: refused by the cloud, or damaged on flash.
//! They are there for a person to look at; nothing reads them back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use avl_shared::link::LossReason;
use avl_shared::sequence::Epoch;

/// Enough to study a fault; a cloud that refuses everything must not fill the flash.
const MAX_FILES: usize = 64;

#[derive(Debug)]
pub struct Attic {
    directory: PathBuf,
}

impl Attic {
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { directory: state_dir.join("rejected") }
    }

    /// Writes one block, and deletes the oldest ones over the bound.
    ///
    /// # Errors
    /// When the file cannot be written. The caller goes on: its loss is declared either way.
    pub fn keep(&self, epoch: Epoch, first: u64, reason: LossReason, block: &[u8]) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.directory)?;
        let reason = reason.as_str_name().trim_start_matches("LOSS_REASON_").to_lowercase();
        let path = self.directory.join(format!("{epoch}-{first:020}.{reason}"));
        fs::write(&path, block)?;
        self.prune()?;
        Ok(path)
    }

    fn prune(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.directory)?
            .map(|entry| entry.and_then(|entry| Ok((entry.metadata()?.modified()?, entry.path()))))
            .collect::<io::Result<_>>()?;
        files.sort();
        let excess = files.len().saturating_sub(MAX_FILES);
        files.iter().take(excess).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_never_more_than_the_bound() {
        let directory = tempfile::tempdir().unwrap();
        let attic = Attic::new(directory.path());
        for first in 0..MAX_FILES as u64 + 10 {
            attic.keep(Epoch(1), first, LossReason::Rejected, b"block").unwrap();
        }
        let last = attic.keep(Epoch(1), 999, LossReason::Corruption, b"bad").unwrap();
        assert!(last.ends_with("rejected/00000001-00000000000000000999.corruption"));
        assert_eq!(fs::read(last).unwrap(), b"bad");
        assert_eq!(fs::read_dir(directory.path().join("rejected")).unwrap().count(), MAX_FILES);
    }
}
