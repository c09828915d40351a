//! A table in memory, for the tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::block;
use super::table::{Change, Durability, Entry, Table, TableError};

/// A table in memory that outlives the outbox on it, as flash does.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Content>>);

#[derive(Default)]
pub(super) struct Content {
    pub(super) state: Option<Vec<u8>>,
    pub(super) blocks: BTreeMap<u64, Vec<u8>>,
    /// Commits that still succeed; afterwards the disk is full.
    pub(super) remaining: Option<u32>,
    /// Changes arrive, and then an error is reported.
    pub(super) fails_behind: bool,
}

impl Memory {
    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    pub(super) fn blocks(&self) -> BTreeMap<u64, Vec<u8>> {
        self.0.lock().unwrap().blocks.clone()
    }

    /// The wire batches in the blocks.
    pub(super) fn batches(&self) -> BTreeMap<u64, Vec<u8>> {
        self.blocks()
            .iter()
            .map(|(key, bytes)| (*key, block::unwrap(bytes).unwrap().batch.to_vec()))
            .collect()
    }

    pub(super) fn damage(&self, key: u64) {
        let mut content = self.0.lock().unwrap();
        let block = content.blocks.get_mut(&key).unwrap();
        let middle = block.len() / 2;
        block[middle] ^= 0x55;
        block.truncate(middle + 1);
    }
}

impl Table for Memory {
    fn state(&self) -> Result<Option<Vec<u8>>, TableError> {
        Ok(self.0.lock().unwrap().state.clone())
    }

    fn commit(&mut self, change: Change, _: Durability) -> Result<(), TableError> {
        let mut content = self.0.lock().unwrap();
        if let Some(remaining) = &mut content.remaining {
            *remaining = remaining
                .checked_sub(1)
                .ok_or_else(|| TableError::Io(std::io::ErrorKind::StorageFull.into()))?;
        }
        if change.state.is_some() {
            content.state = change.state;
        }
        for key in change.remove {
            assert!(content.blocks.remove(&key).is_some(), "block {key} was removed twice");
        }
        content.blocks.extend(change.put);
        if content.fails_behind {
            return Err(TableError::Io(std::io::ErrorKind::Other.into()));
        }
        Ok(())
    }

    fn at_or_before(&self, first: u64) -> Result<Option<Entry>, TableError> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .blocks
            .range(..=first)
            .next_back()
            .map(|(key, block)| (*key, block.clone())))
    }

    fn at_or_after(&self, first: u64) -> Result<Option<Entry>, TableError> {
        Ok(self.0.lock().unwrap().blocks.range(first..).next().map(|(key, block)| (*key, block.clone())))
    }
}
