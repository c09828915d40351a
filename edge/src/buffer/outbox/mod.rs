//! The buffer's logic, over any [`Table`]: which numbers are held, lost or forgotten, and which blocks that leaves.
//!
//! `forget` lets go of what the cloud has, `upload` composes what it has not, `room` decides what a full buffer gives up,
//! `catch_up` reads what was appended since the state record was written.

mod catch_up;
mod forget;
mod renew;
mod room;
mod upload;

use avl_shared::batch::{self, Batch};
use avl_shared::fix::Fix;
use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};

use super::block::{self, Kind};
use super::state::{Losses, State};
use super::table::{Change, Durability, Entry, Table, TableError};
use super::view::FlashView;
use crate::thinning::ThinLimits;

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
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub epoch: Epoch,
    /// Every number below it was given to a fix.
    pub next_sequence: u64,
    pub held: RangeSet,
    pub lost: Losses,
    /// Bytes of the blocks on flash.
    pub bytes: u64,
    /// The store itself, and the flash under it.
    pub flash: FlashView,
}

impl Status {
    /// Nothing is held, nothing is to be declared, and nothing waits in memory for the flash.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.held.is_empty() && self.lost.is_empty() && self.flash.waiting_fixes == 0
    }
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

/// What a buffer may hold, and what it does before it drops anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Bytes of blocks on flash.
    pub max_bytes: u64,
    /// `None`: never thin.
    pub thin: Option<ThinLimits>,
}

impl Bounds {
    /// Only a size: when it is reached, the oldest go.
    #[must_use]
    pub const fn bytes(max_bytes: u64) -> Self {
        Self { max_bytes, thin: None }
    }
}

/// Called with a batch that leaves the buffer undelivered, before it does: (its first number, why, its bytes).
pub type SetAside<'a> = &'a mut dyn FnMut(u64, LossReason, &[u8]);

pub struct Outbox {
    table: Box<dyn Table>,
    state: State,
    /// Key of the newest block.
    newest: Option<u64>,
    bounds: Bounds,
    /// Blocks below this key were thinned, or cannot be.
    thin_from: u64,
    /// Numbers from here on were given by this process.
    opened_next: u64,
    /// Blocks on flash that the state record there does not know of.
    unrecorded: u32,
}

impl Outbox {
    /// Takes up what the table holds, or starts under `fresh_epoch` when it holds nothing.
    ///
    /// # Errors
    /// [`BufferError::State`] when the table's record is not one of ours.
    pub fn open(mut table: Box<dyn Table>, bounds: Bounds, fresh_epoch: Epoch) -> Result<Self, BufferError> {
        let newest = table.at_or_before(u64::MAX)?.map(|(first, _)| first);
        let mut unrecorded = 0;
        let state = match table.state()? {
            Some(record) => {
                let mut state = State::decode(&record).ok_or(BufferError::State)?;
                unrecorded = catch_up::catch_up(table.as_ref(), &mut state)?;
                state
            }
            // Blocks without a record: numbers may have been used that we cannot know.
            None if newest.is_some() => return Err(BufferError::State),
            None => {
                let state = State::new(fresh_epoch);
                table.commit(Change { state: Some(state.encode()), ..Change::default() }, Durability::Now)?;
                state
            }
        };
        let opened_next = state.next;
        Ok(Self { table, state, newest, bounds, thin_from: 0, opened_next, unrecorded })
    }

    #[must_use]
    pub fn status(&self) -> Status {
        let State { epoch, next, held, bytes, lost, .. } = self.state.clone();
        Status { epoch, next_sequence: next, held, lost, bytes, flash: FlashView::default() }
    }

    /// Where the source continues, as given with the newest append.
    #[must_use]
    pub fn cursor(&self) -> &[u8] {
        &self.state.cursor
    }

    /// Takes over where the source continues from the store before this one. Durable on return.
    ///
    /// # Errors
    /// When it is not.
    pub fn adopt_cursor(&mut self, cursor: Vec<u8>) -> Result<(), BufferError> {
        if cursor.is_empty() {
            return Ok(());
        }
        self.commit(State { cursor, ..self.state.clone() }, Change::default(), Durability::Now)
    }

    /// From the next append on.
    pub fn set_max_bytes(&mut self, max_bytes: u64) {
        self.bounds.max_bytes = max_bytes;
    }

    /// What the history remembers of its recalls, as given with [`Outbox::append_recalled`].
    #[must_use]
    pub fn recalls(&self) -> &[u8] {
        &self.state.recalls
    }

    /// The largest odometer total of any fix recorded here, in metres.
    #[must_use]
    pub fn odometer_m(&self) -> Option<u64> {
        self.state.odometer_m
    }

    /// The newest fix on flash, whether acknowledged or not, and its number.
    ///
    /// # Errors
    /// When the store cannot be read. A damaged block is no error: then there is no newest fix to show.
    pub fn newest_fix(&self) -> Result<Option<(u64, Fix)>, BufferError> {
        let Some((first, bytes)) = self.newest_block()? else { return Ok(None) };
        let Some((_, mut batch)) = self.readable(first, &bytes) else { return Ok(None) };
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
        self.append_with(fixes, boot_id, cursor, None)
    }

    /// Like [`Outbox::append`], for fixes that were held back before, with what the history remembers from now on.
    ///
    /// # Errors
    /// See [`Outbox::append`].
    pub fn append_recalled(&mut self, fixes: Vec<Fix>, recalls: Vec<u8>) -> Result<(), BufferError> {
        // They have a time, so no boot to count from.
        self.append_with(fixes, 0, None, Some(recalls))
    }

    fn append_with(
        &mut self,
        fixes: Vec<Fix>,
        boot_id: u32,
        cursor: Option<Vec<u8>>,
        recalls: Option<Vec<u8>>,
    ) -> Result<(), BufferError> {
        if fixes.is_empty() {
            return Ok(());
        }
        let boot_id = fixes.iter().any(|fix| fix.uptime.is_some()).then_some(boot_id);
        let mut batch = Batch { epoch: self.state.epoch, first: self.state.next, boot_id, fixes };
        let cursor_in_block = cursor.as_deref().filter(|cursor| cursor.len() <= block::MAX_CURSOR_BYTES);
        let wrap = |batch: &Batch| -> Result<Vec<u8>, BufferError> {
            let encoded = batch::encode(batch)?;
            Ok(cursor_in_block.map_or_else(
                || block::wrap(Kind::Plain, &encoded),
                |cursor| block::wrap_with_cursor(cursor, &encoded),
            ))
        };
        let mut encoded = wrap(&batch)?;

        let (mut state, mut change) = (self.state.clone(), Change::default());
        // The newest block of before was kept only until there is a newer one.
        if let Some((key, bytes)) = self.newest_block()?
            && state.held.within(self.extent(key, &bytes)?).is_empty()
        {
            state.bytes = state.bytes.saturating_sub(bytes.len() as u64);
            change.remove.push(key);
        }
        self.make_room(&mut state, &mut change, encoded.len() as u64)?;
        if state.next != batch.first {
            // What thinning kept stands before it: the newest fix has the highest number.
            batch.first = state.next;
            encoded = wrap(&batch)?;
        }
        catch_up::add(&mut state, &batch, cursor_in_block, encoded.len())?;
        let first = batch.first;
        change.put.push((first, encoded));
        let block_says_all =
            change.remove.is_empty() && recalls.is_none() && cursor_in_block == cursor.as_deref();
        if block_says_all && self.unrecorded < catch_up::RECORD_EVERY {
            self.table.commit(change, Durability::Now)?;
            self.state = state;
            self.unrecorded += 1;
        } else {
            state.cursor = cursor.unwrap_or(state.cursor);
            state.recalls = recalls.unwrap_or(state.recalls);
            self.commit(state, change, Durability::Now)?;
        }
        self.newest = Some(first);
        Ok(())
    }

    /// Brings the state record up to what the blocks say. For an orderly end: the next opening, also that of an older agent,
    /// has nothing to catch up on.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn record(&mut self) -> Result<(), BufferError> {
        if self.unrecorded == 0 {
            return Ok(());
        }
        self.commit(self.state.clone(), Change::default(), Durability::Now)
    }

    /// Gives numbers to fixes that could not be kept, and declares them lost. Durable on return.
    ///
    /// # Errors
    /// When it is not.
    pub fn append_gap(&mut self, count: u64, reason: LossReason) -> Result<(), BufferError> {
        let Some(range) = SequenceRange::starting_at(self.state.next, count) else { return Ok(()) };
        let mut state = self.state.clone();
        state.next += count;
        state.lost.insert(reason, &[range].into_iter().collect());
        self.commit(state, Change::default(), Durability::Now)
    }

    fn newest_block(&self) -> Result<Option<Entry>, BufferError> {
        let Some(newest) = self.newest else { return Ok(None) };
        Ok(self.table.at_or_after(newest)?)
    }

    /// The block, decoded and checked to be what its key says; `None` when it is damaged.
    fn readable(&self, first: u64, bytes: &[u8]) -> Option<(Kind, Batch)> {
        let block = block::unwrap(bytes)?;
        let batch = batch::decode(block.batch).ok()?;
        (batch.epoch == self.state.epoch && batch.first == first).then_some((block.kind, batch))
    }

    /// The numbers that a block stands for, even when it cannot be read: then it reaches to the next one.
    fn extent(&self, first: u64, bytes: &[u8]) -> Result<SequenceRange, BufferError> {
        let header = block::unwrap(bytes).and_then(|block| batch::peek(block.batch).ok());
        let header = header.filter(|header| header.epoch == self.state.epoch);
        if let Some(range) = header.map(|header| header.range).filter(|range| range.first() == first) {
            return Ok(range);
        }
        let next_block = self.table.at_or_after(first + 1)?.map_or(self.state.next, |(key, _)| key);
        SequenceRange::new(first, next_block.saturating_sub(1)).ok_or(BufferError::State)
    }

    /// A block goes, and what is held of it is lost.
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

    fn commit(&mut self, state: State, change: Change, durability: Durability) -> Result<(), BufferError> {
        self.table.commit(Change { state: Some(state.encode()), ..change }, durability)?;
        self.state = state;
        self.unrecorded = 0;
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
