//! How far the numbers in a store's file go, read before sled opens it.
//!
//! sled cuts a damaged end off without a word: opening fills the segment that its log ends in with 0xFF from there on.
//! Numbers that were on flash, and may have been sent, would be given out again. So the ends of all appends in the file are
//! read first. Each append is synced before the next one begins; so of the ends that are found all but the highest are
//! proven to have been on flash, and the highest may be a write that a power cut interrupted.
//!
//! Appends that are not whole in the file any more are not seen; of them only [`Extent`] tells.

use std::io;
use std::path::Path;

use avl_shared::sequence::Epoch;

use super::block::Kind;
use super::extent::{self, Extent};
use super::salvage::{Found, Looking, SalvageError, read_all};
use super::sled_table;

/// A store has one epoch, and one more for each time that it was renumbered.
const MAX_EPOCHS: usize = 64;

/// How far the appends of an epoch reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Every number below it was on flash.
    pub proven: u64,
    /// Where the farthest append ends that is whole in the file.
    pub last: u64,
}

impl Reach {
    fn see(&mut self, end: u64) {
        self.proven = self.proven.max(end.min(self.last));
        self.last = self.last.max(end);
    }
}

/// What a store that was opened shows of what was in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    /// The last write was cut short: so many numbers were in it.
    Without(u64),
    /// Something is gone that was on flash.
    Damaged,
}

#[derive(Debug, Default)]
pub(super) struct Ends {
    epochs: Vec<(Epoch, Reach)>,
}

impl Ends {
    /// Reads them from the store in `directory`; none when somebody has it open. Reads the file once, and decodes only
    /// what `known` does not vouch for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(directory: &Path, known: Option<Extent>) -> io::Result<Self> {
        let mut ends = Self::default();
        let Some(_lock) = sled_table::lock(directory)? else { return Ok(ends) };
        // Where the store is a copy, the extent tells of another one.
        let inode = extent::inode(directory)?;
        let known = known.filter(|extent| extent.inode == inode || extent.inode == 0 || inode == 0);
        if let Some(Extent { epoch, next, .. }) = known {
            ends.epochs.push((epoch, Reach { proven: next, last: next }));
        }
        let looking = known.map_or(Looking::ForAll, Looking::Beyond);
        let looked = read_all(directory, looking, &mut |found| {
            match found {
                Found::State(state) => ends.see(state.epoch, state.next),
                // What thinning kept is part of an append and not one of its own.
                Found::Block { kind: Kind::Plain, epoch, range, .. } => {
                    ends.see(epoch, range.last().saturating_add(1));
                }
                Found::Block { .. } => {}
            }
            Ok(())
        });
        match looked {
            Err(SalvageError::Read(error)) => Err(error),
            _ => Ok(ends),
        }
    }

    fn see(&mut self, epoch: Epoch, end: u64) {
        if let Some((_, reach)) = self.epochs.iter_mut().find(|(known, _)| *known == epoch) {
            reach.see(end);
        } else if self.epochs.len() < MAX_EPOCHS {
            self.epochs.push((epoch, Reach { proven: 0, last: end }));
        }
    }

    #[must_use]
    pub(super) fn of(&self, epoch: Epoch) -> Reach {
        self.epochs.iter().find(|(known, _)| *known == epoch).map(|(_, reach)| *reach).unwrap_or_default()
    }

    /// `next`: the number that the opened store would give next.
    #[must_use]
    pub(super) fn judge(&self, epoch: Epoch, next: u64) -> Shown {
        let Reach { proven, last } = self.of(epoch);
        match last.checked_sub(next) {
            _ if proven > next => Shown::Damaged,
            None | Some(0) => Shown::All,
            Some(missing) => Shown::Without(missing),
        }
    }
}

#[cfg(test)]
#[path = "ends_tests.rs"]
mod tests;
