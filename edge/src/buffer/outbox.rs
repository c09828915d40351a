//! The buffer's logic, over any [`Table`]: which numbers are held, lost or forgotten, and which blocks that leaves.

use avl_shared::batch::{self, Batch};
use avl_shared::fix::Fix;
use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};

use super::state::{Losses, State};
use super::table::{Change, Durability, Entry, Table, TableError};

/// A forgotten range is worked off in pieces of so many numbers, so that an acknowledgement of a month needs no
/// more memory than one of a day.
const FORGET_PIECE: u64 = 1 << 15;

#[derive(Debug, thiserror::Error)]
pub enum BufferError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("fixes cannot be encoded: {0}")]
    Encode(#[from] batch::EncodeError),
    #[error("the buffer's state record cannot be read: it is damaged, or a newer avl-edge wrote it")]
    State,
    #[error("the buffer's thread has ended: the reason was logged before")]
    Stopped,
}

/// What the rest of the agent needs to know about the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub epoch: Epoch,
    /// Every number below it was given to a fix.
    pub next_sequence: u64,
    pub held: RangeSet,
    pub lost: Losses,
    /// Bytes of the blocks on flash.
    pub bytes: u64,
}

/// One batch as it goes on the wire: whole blocks, in order, with nothing between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub range: SequenceRange,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub struct UploadLimits {
    pub max_fixes: usize,
    pub max_bytes: usize,
}

/// Called with a block that leaves the buffer undelivered, before it does: (its first number, why, its bytes).
pub type SetAside<'a> = &'a mut dyn FnMut(u64, LossReason, &[u8]);

pub struct Outbox {
    table: Box<dyn Table>,
    state: State,
    /// Key of the newest block.
    newest: Option<u64>,
    max_bytes: u64,
}

impl Outbox {
    /// Takes up what the table holds, or starts under `fresh_epoch` when it holds nothing.
    ///
    /// # Errors
    /// [`BufferError::State`] when the table's record is not one of ours.
    pub fn open(mut table: Box<dyn Table>, max_bytes: u64, fresh_epoch: Epoch) -> Result<Self, BufferError> {
        let newest = table.at_or_before(u64::MAX)?.map(|(first, _)| first);
        let state = match table.state()? {
            Some(record) => State::decode(&record).ok_or(BufferError::State)?,
            // Blocks without a record: numbers may have been used that we cannot know.
            None if newest.is_some() => return Err(BufferError::State),
            None => {
                let state = State::new(fresh_epoch);
                table.commit(Change { state: state.encode(), ..Change::default() }, Durability::Now)?;
                state
            }
        };
        if newest.is_some_and(|first| first >= state.next) {
            return Err(BufferError::State);
        }
        Ok(Self { table, state, newest, max_bytes })
    }

    #[must_use]
    pub fn status(&self) -> Status {
        let State { epoch, next, held, bytes, lost, .. } = self.state.clone();
        Status { epoch, next_sequence: next, held, lost, bytes }
    }

    /// Where the source continues, as given with the newest append.
    #[must_use]
    pub fn cursor(&self) -> &[u8] {
        &self.state.cursor
    }

    /// The newest fix on flash, whether acknowledged or not, and its number.
    ///
    /// # Errors
    /// When the store cannot be read. A damaged block is no error: then there is no newest fix to show.
    pub fn newest_fix(&self) -> Result<Option<(u64, Fix)>, BufferError> {
        let Some((first, bytes)) = self.table.at_or_before(u64::MAX)? else { return Ok(None) };
        let Some(mut batch) = self.readable(first, &bytes) else { return Ok(None) };
        Ok(batch.fixes.pop().map(|fix| (first + batch.fixes.len() as u64, fix)))
    }

    /// Numbers the fixes and puts them on flash as one block, with the source's cursor behind them. Durable on return.
    ///
    /// # Errors
    /// When it is not. It may still turn out to be there after a restart, whole, under the same numbers.
    pub fn append(
        &mut self,
        fixes: Vec<Fix>,
        boot_id: u32,
        cursor: Option<Vec<u8>>,
    ) -> Result<(), BufferError> {
        let first = self.state.next;
        let count = fixes.len() as u64;
        let boot_id = fixes.iter().any(|fix| fix.uptime.is_some()).then_some(boot_id);
        let block = batch::encode(&Batch { epoch: self.state.epoch, first, boot_id, fixes })?;
        let Some(range) = SequenceRange::starting_at(first, count) else { return Ok(()) };

        let (mut state, mut remove) = (self.state.clone(), Vec::new());
        state.next = first + count;
        state.held.insert(range);
        state.bytes += block.len() as u64;
        if let Some(cursor) = cursor {
            state.cursor = cursor;
        }
        // The newest block of before was kept only until there is a newer one.
        if let Some((key, bytes)) = self.table.at_or_before(u64::MAX)?
            && state.held.within(self.extent(key, &bytes)?).is_empty()
        {
            state.bytes = state.bytes.saturating_sub(bytes.len() as u64);
            remove.push(key);
        }
        let mut oldest = self.table.at_or_after(0)?;
        while let Some((key, bytes)) =
            oldest.filter(|(key, _)| state.bytes > self.max_bytes && !remove.contains(key))
        {
            self.give_up_block(&mut state, key, &bytes, LossReason::BufferFull)?;
            remove.push(key);
            oldest = self.table.at_or_after(key + 1)?;
        }
        self.commit(
            state,
            Change { put: Some((first, block)), remove, ..Change::default() },
            Durability::Now,
        )?;
        self.newest = Some(first);
        Ok(())
    }

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
        let remove = self.drop_emptied(&mut state, range, &mut |first, bytes| aside(first, reason, bytes))?;
        self.commit(state, Change { remove, ..Change::default() }, Durability::Now)
    }

    /// The batch that starts at the first held number not below `from`: as many whole blocks as the limits allow.
    /// The same blocks always make the same batch. Damaged blocks on the way are declared lost.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn next_upload(
        &mut self,
        from: u64,
        limits: UploadLimits,
        aside: SetAside<'_>,
    ) -> Result<Option<Upload>, BufferError> {
        loop {
            let Some(wanted) = self.first_held_from(from) else { return Ok(None) };
            let Some((first, bytes)) = self.table.at_or_before(wanted)? else {
                self.declare_unreadable(wanted, wanted)?;
                continue;
            };
            let Some(batch) = self.readable(first, &bytes) else {
                self.quarantine(first, &bytes, aside)?;
                continue;
            };
            let end = first + batch.fixes.len() as u64;
            if end <= wanted {
                self.declare_unreadable(wanted, wanted)?;
                continue;
            }
            return self.compose(first, bytes, batch, limits).map(Some);
        }
    }

    /// Adds the blocks behind `batch` to it while they follow without a gap and the limits allow.
    fn compose(
        &self,
        first: u64,
        single: Vec<u8>,
        mut batch: Batch,
        limits: UploadLimits,
    ) -> Result<Upload, BufferError> {
        let (mut end, mut encoded) = (first + batch.fixes.len() as u64, single);
        let mut boot_id = batch.boot_id;
        let mut grown = batch.fixes.len();
        while let Some((key, bytes)) = self.table.at_or_after(end)? {
            let Some(next) = self.readable(key, &bytes).filter(|_| key == end) else { break };
            let same_boot = boot_id.is_none() || next.boot_id.is_none() || boot_id == next.boot_id;
            let fits = batch.fixes.len() + next.fixes.len() <= limits.max_fixes
                // Together they are smaller than apart, but how much is only known once they are encoded.
                && encoded.len() + bytes.len() <= limits.max_bytes;
            if !same_boot || !fits {
                break;
            }
            boot_id = boot_id.or(next.boot_id);
            end += next.fixes.len() as u64;
            batch.fixes.extend(next.fixes);
            encoded.extend(bytes);
        }
        if batch.fixes.len() > grown {
            grown = batch.fixes.len();
            batch.boot_id = boot_id;
            encoded = batch::encode(&batch)?;
        }
        debug_assert_eq!(first + grown as u64, end);
        let range = SequenceRange::starting_at(first, grown as u64).ok_or(BufferError::State)?;
        Ok(Upload { range, bytes: encoded })
    }

    fn first_held_from(&self, from: u64) -> Option<u64> {
        SequenceRange::new(from, u64::MAX).and_then(|rest| self.state.held.within(rest).first())
    }

    /// The block, decoded and checked to be what its key says; `None` when it is damaged.
    fn readable(&self, first: u64, bytes: &[u8]) -> Option<Batch> {
        let batch = batch::decode(bytes).ok()?;
        (batch.epoch == self.state.epoch && batch.first == first).then_some(batch)
    }

    /// The numbers that a block stands for, even when it cannot be read: then it reaches to the next one.
    fn extent(&self, first: u64, bytes: &[u8]) -> Result<SequenceRange, BufferError> {
        let header = batch::peek(bytes).ok().filter(|header| header.epoch == self.state.epoch);
        if let Some(range) = header.map(|header| header.range).filter(|range| range.first() == first) {
            return Ok(range);
        }
        let next_block = self.table.at_or_after(first + 1)?.map_or(self.state.next, |(key, _)| key);
        SequenceRange::new(first, next_block.saturating_sub(1)).ok_or(BufferError::State)
    }

    fn give_up_block(
        &self,
        state: &mut State,
        key: u64,
        bytes: &[u8],
        reason: LossReason,
    ) -> Result<(), BufferError> {
        let extent = self.extent(key, bytes)?;
        state.lost.insert(reason, &state.held.within(extent));
        state.held.remove(extent);
        state.bytes = state.bytes.saturating_sub(bytes.len() as u64);
        Ok(())
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

    fn quarantine(&mut self, key: u64, bytes: &[u8], aside: SetAside<'_>) -> Result<(), BufferError> {
        aside(key, LossReason::Corruption, bytes);
        let mut state = self.state.clone();
        self.give_up_block(&mut state, key, bytes, LossReason::Corruption)?;
        self.commit(state, Change { remove: vec![key], ..Change::default() }, Durability::Now)?;
        self.newest = self.table.at_or_before(u64::MAX)?.map(|(first, _)| first);
        Ok(())
    }

    /// Held by the record, but in no block: the store lost a block behind our back.
    fn declare_unreadable(&mut self, first: u64, last: u64) -> Result<(), BufferError> {
        let next_block =
            self.table.at_or_after(last.saturating_add(1))?.map_or(self.state.next, |(key, _)| key);
        let Some(gap) = SequenceRange::new(first, last.max(next_block.saturating_sub(1))) else {
            return Ok(());
        };
        self.give_up(gap, LossReason::Corruption, &mut |_, _, _| {})
    }

    fn commit(&mut self, state: State, change: Change, durability: Durability) -> Result<(), BufferError> {
        self.table.commit(Change { state: state.encode(), ..change }, durability)?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
