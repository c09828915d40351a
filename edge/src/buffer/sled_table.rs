//! The table on sled 0.34.
//!
//! sled's `flush()` ends in `sync_file_range`, which never tells the disk to empty its cache: in simulated power
//! cuts it lost flushed records in 29 of 30 runs. So a durable commit also calls `fdatasync` on sled's file,
//! through a handle of its own; that lost none in 215 cuts.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::table::{Change, Durability, Entry, Table, TableError};

/// A gateway reads each block about once, so a cache would only cost memory.
const CACHE_BYTES: u64 = 512 * 1024;
/// The log is reused in segments of this size; it is also the least that the file takes on flash.
const SEGMENT_BYTES: usize = 512 * 1024;
/// Only sled's flusher thread collects garbage, so it must run even though every append flushes. Each time it makes the
/// flash empty its cache, written or not, and wakes the processor; so not more often than a block comes.
const FLUSH_EVERY_MS: u64 = 5000;

/// Blocks and state share one tree, because only a batch on one tree is atomic. The state record sorts behind
/// the blocks, beside the newest of them, so that one page takes both writes of an append.
const BLOCK: u8 = b'b';
const STATE: &[u8] = b"state";

pub struct SledTable {
    db: sled::Db,
    file: File,
}

impl SledTable {
    /// Opens the store in `directory`, or makes one.
    ///
    /// # Errors
    /// [`TableError::Locked`] when another process has it, [`TableError::Corrupt`] when it cannot be understood.
    pub fn open(directory: &Path) -> Result<Self, TableError> {
        remove_unfinished_snapshots(directory).map_err(TableError::Io)?;
        let db = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .open()
            .map_err(|error| match error {
                sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => {
                    TableError::Locked { path: directory.display().to_string() }
                }
                other => table_error(other),
            })?;
        let file = File::open(directory.join("db")).map_err(TableError::Io)?;
        // sled never syncs its configuration, and opens nothing without it. Files' names must be as durable as what
        // they hold.
        File::open(directory.join("conf")).and_then(|conf| conf.sync_all()).map_err(TableError::Io)?;
        for ancestor in [Some(directory), directory.parent()].into_iter().flatten() {
            File::open(ancestor).and_then(|handle| handle.sync_all()).map_err(TableError::Io)?;
        }
        Ok(Self { db, file })
    }
}

impl Table for SledTable {
    fn state(&self) -> Result<Option<Vec<u8>>, TableError> {
        Ok(self.db.get(STATE).map_err(table_error)?.map(|value| value.to_vec()))
    }

    fn commit(&mut self, change: Change, durability: Durability) -> Result<(), TableError> {
        match (change.state, change.put.as_slice(), change.remove.as_slice()) {
            (None, [(first, block)], []) => {
                self.db.insert(key(*first), block.as_slice()).map_err(table_error)?;
            }
            (state, put, remove) => self.db.apply_batch(batch(state, put, remove)).map_err(table_error)?,
        }
        if durability == Durability::Now {
            self.db.flush().map_err(table_error)?;
            self.file.sync_data().map_err(TableError::Io)?;
        }
        Ok(())
    }

    fn at_or_before(&self, first: u64) -> Result<Option<Entry>, TableError> {
        // Not `next_back`: it brings a megabyte of 0xFF into the program, sled's greatest key.
        let found_from = |from: u64| entry(self.db.range(key(from)..=key(first)).next());
        let mut reach = 0;
        let mut found = loop {
            let from = first.saturating_sub(reach);
            match found_from(from)? {
                Some(found) => break found,
                None if from == 0 => return Ok(None),
                None => reach = reach.saturating_mul(2).max(1),
            }
        };
        // The greatest is among `found` and what lies up to `end`.
        let mut end = first;
        while found.0 < end {
            let middle = found.0 + (end - found.0).div_ceil(2);
            match found_from(middle)? {
                Some(higher) => found = higher,
                None => end = middle - 1,
            }
        }
        Ok(Some(found))
    }

    fn at_or_after(&self, first: u64) -> Result<Option<Entry>, TableError> {
        entry(self.db.range(key(first)..=key(u64::MAX)).next())
    }
}

/// sled writes a summary of its log when it opens, as `snap.….generating`, and renames it when it is whole. A kill in
/// between leaves that file; the next opening takes it for the newest summary, finds it torn, and calls a healthy store
/// corrupt (`Config::get_snapshot_files` passes over another ending than the one that is written). The log has all
/// that the summary would say.
fn remove_unfinished_snapshots(directory: &Path) -> io::Result<()> {
    // Who holds the store may be writing one just now, and sled will say that it is held.
    let Some(_lock) = lock(directory)? else { return Ok(()) };
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// sled's own lock, until it is dropped. `None` when there is no store, or somebody has it open.
///
/// # Errors
/// When the store's file cannot be opened.
pub(super) fn lock(directory: &Path) -> io::Result<Option<File>> {
    match File::open(directory.join("db")) {
        Ok(file) => Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// sled writes a batch in two pieces, each a page of flash at least: only for what must change together.
fn batch(state: Option<Vec<u8>>, put: &[Entry], remove: &[u64]) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for first in remove {
        batch.remove(&key(*first)[..]);
    }
    for (first, block) in put {
        batch.insert(&key(*first)[..], block.as_slice());
    }
    if let Some(state) = state {
        batch.insert(STATE, state);
    }
    batch
}

fn key(first: u64) -> [u8; 9] {
    let mut key = [BLOCK; 9];
    key[1..].copy_from_slice(&first.to_be_bytes());
    key
}

fn entry(found: Option<sled::Result<(sled::IVec, sled::IVec)>>) -> Result<Option<Entry>, TableError> {
    let Some((key, block)) = found.transpose().map_err(table_error)? else { return Ok(None) };
    let first = key
        .get(1..)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or_else(|| TableError::Corrupt(format!("a key of {} bytes", key.len())))?;
    Ok(Some((first, block.to_vec())))
}

fn table_error(error: sled::Error) -> TableError {
    match error {
        sled::Error::Io(io) => TableError::Io(io),
        sled::Error::Corruption { at, .. } => TableError::Corrupt(match at {
            Some(at) => format!("a record at {at:?} fails its checksum"),
            None => "a record fails its checksum".to_owned(),
        }),
        other => TableError::Corrupt(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_before_a_number_is_found_however_far_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = SledTable::open(folder.path()).unwrap();
        assert_eq!(table.at_or_before(u64::MAX).unwrap(), None);
        let keys = [3, 4, 60, 1_000_000, u64::MAX - 1];
        let put = keys.iter().map(|key| (*key, vec![7])).collect();
        let change = Change { state: Some(b"state".to_vec()), put, remove: Vec::new() };
        table.commit(change, Durability::Later).unwrap();
        for asked in [0, 2, 3, 4, 5, 59, 60, 61, 999_999, 1_000_000, 1 << 40, u64::MAX - 2, u64::MAX] {
            let found = table.at_or_before(asked).unwrap().map(|(key, _)| key);
            assert_eq!(found, keys.iter().copied().filter(|key| *key <= asked).max(), "{asked}");
        }
    }

    #[test]
    fn a_summary_that_a_kill_left_unfinished_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let change = Change {
            state: Some(b"as it was".to_vec()),
            put: vec![(7, b"block".to_vec())],
            remove: Vec::new(),
        };
        SledTable::open(folder.path()).unwrap().commit(change, Durability::Now).unwrap();
        let torn = folder.path().join("snap.7FFFFFFFFFFFFFFF.generating");
        fs::write(&torn, [0x55; 40]).unwrap();
        let table = SledTable::open(folder.path()).unwrap();
        assert_eq!(table.state().unwrap().unwrap(), b"as it was");
        assert_eq!(table.at_or_after(0).unwrap().unwrap().0, 7);
        assert!(!torn.exists());
    }
}
