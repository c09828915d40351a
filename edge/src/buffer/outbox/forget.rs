//! What leaves the buffer, and the blocks that go with it.

use avl_shared::link::LossReason;
use avl_shared::sequence::{RangeSet, SequenceRange};

use super::super::block;
use super::super::state::State;
use super::super::table::{Change, Durability, Entry};
use super::{BufferError, Outbox, SetAside};

/// A forgotten range is worked off in pieces of so many numbers, so that an acknowledgement of a month needs no
/// more memory than one of a day.
const FORGET_PIECE: u64 = 1 << 15;

impl Outbox {
    /// The cloud has these numbers: they are neither held nor lost any more.
    ///
    /// Not synced: when a power cut undoes it, they are sent once more and dropped by the cloud.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn forget(&mut self, durable: &RangeSet) -> Result<(), BufferError> {
        for range in durable.ranges() {
            let mut known = self.state.held.within(*range);
            known.extend_from(&self.state.lost.all().within(*range));
            for known in known.ranges() {
                let mut next = Some(known.first());
                while let Some(first) = next.filter(|first| *first <= known.last()) {
                    let last = known.last().min(first.saturating_add(FORGET_PIECE - 1));
                    if let Some(piece) = SequenceRange::new(first, last) {
                        self.forget_piece(piece)?;
                    }
                    next = last.checked_add(1);
                }
            }
        }
        Ok(())
    }

    fn forget_piece(&mut self, piece: SequenceRange) -> Result<(), BufferError> {
        let mut state = self.state.clone();
        state.held.remove(piece);
        state.lost.remove(piece);
        state.prune_sent();
        let remove = self.drop_emptied(&mut state, piece, &mut |_, _| {})?;
        self.commit(state, Change { remove, ..Change::default() }, Durability::Later)
    }

    /// The cloud will never take these numbers, or they cannot be sent: they are lost, and said to be.
    /// Blocks that nothing else is held of go to `aside` first.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn give_up(
        &mut self,
        range: SequenceRange,
        reason: LossReason,
        aside: SetAside<'_>,
    ) -> Result<(), BufferError> {
        let given_up = self.state.held.within(range);
        if given_up.is_empty() {
            return Ok(());
        }
        let mut state = self.state.clone();
        state.held.remove(range);
        state.lost.insert(reason, &given_up);
        let remove = self.drop_emptied(&mut state, range, &mut |first, bytes| {
            aside(first, reason, block::unwrap(bytes).map_or(bytes, |block| block.batch));
        })?;
        self.commit(state, Change { remove, ..Change::default() }, Durability::Now)
    }

    /// Keys of the blocks that touch `range` and have nothing held any more; the newest block always stays.
    fn drop_emptied(
        &self,
        state: &mut State,
        range: SequenceRange,
        leaving: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<Vec<u64>, BufferError> {
        let mut remove = Vec::new();
        let mut at: Option<Entry> = match self.table.at_or_before(range.first())? {
            Some(block) => Some(block),
            None => self.table.at_or_after(range.first())?,
        };
        while let Some((key, bytes)) = at.filter(|(key, _)| *key <= range.last()) {
            let extent = self.extent(key, &bytes)?;
            if state.held.within(extent).is_empty() && extent.last() >= range.first() {
                leaving(key, &bytes);
                if Some(key) != self.newest {
                    state.bytes = state.bytes.saturating_sub(bytes.len() as u64);
                    remove.push(key);
                }
            }
            at = self.table.at_or_after(key + 1)?;
        }
        Ok(remove)
    }
}
