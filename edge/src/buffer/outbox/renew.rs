//! A new epoch for a buffer whose numbers somebody else has used: an image of the disk was put back.
//!
//! What was on flash when this process opened it was numbered before the image was made, so its names are true; it
//! goes to a store of its own, to be delivered under the old epoch. What this process has recorded since got numbers
//! that mean other fixes in the cloud; it is numbered anew.

use avl_shared::batch::{self, Batch};
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};

use super::super::block::{self, Kind};
use super::super::state::State;
use super::super::table::{Change, Durability, Entry, Table};
use super::{BufferError, Outbox};

/// Blocks written at once to the store of the old epoch.
const PUT_AT_ONCE: usize = 64;

impl Outbox {
    /// Starts `fresh`. `old` is an empty table for what belongs to the epoch so far; the caller keeps it. Returns whether
    /// there is anything in it to deliver.
    ///
    /// # Errors
    /// When one of the stores fails. What is in `old` then must not be delivered.
    pub fn renew(&mut self, fresh: Epoch, old: &mut dyn Table) -> Result<bool, BufferError> {
        let true_names = self.opened_next.checked_sub(1).and_then(|last| SequenceRange::new(0, last));
        let worth_keeping = self.keep_old(true_names, old)?;

        let mut state = State::new(fresh);
        state.cursor.clone_from(&self.state.cursor);
        let mut change = Change::default();
        let mut at = self.table.at_or_after(0)?;
        while let Some((key, bytes)) = at {
            change.remove.push(key);
            if key >= self.opened_next {
                change.put.extend(self.renumbered(&mut state, key, &bytes)?);
            }
            at = self.table.at_or_after(key + 1)?;
        }
        let newest = change.put.last().map(|(key, _)| *key);
        // The same key may go and come: only what goes for good is named.
        change.remove.retain(|key| change.put.iter().all(|(put, _)| put != key));
        self.commit(state, change, Durability::Now)?;
        (self.newest, self.thin_from, self.opened_next) = (newest, 0, 0);
        Ok(worth_keeping)
    }

    fn keep_old(&self, names: Option<SequenceRange>, old: &mut dyn Table) -> Result<bool, BufferError> {
        let mut kept = State::new(self.state.epoch);
        kept.next = self.opened_next;
        kept.sent = names.into_iter().collect();
        let within = |set: &RangeSet| names.map(|names| set.within(names)).unwrap_or_default();
        kept.held = within(&self.state.held);
        for (reason, set) in self.state.lost.sets() {
            kept.lost.insert(*reason, &within(set));
        }
        let mut put: Vec<Entry> = Vec::new();
        let mut at = self.table.at_or_after(0)?;
        while let Some((key, bytes)) = at.filter(|(key, _)| *key < self.opened_next) {
            if !kept.held.within(self.extent(key, &bytes)?).is_empty() {
                kept.bytes += bytes.len() as u64;
                put.push((key, bytes));
            }
            if put.len() >= PUT_AT_ONCE {
                let change =
                    Change { state: Some(kept.encode()), put: std::mem::take(&mut put), remove: Vec::new() };
                old.commit(change, Durability::Later)?;
            }
            at = self.table.at_or_after(key + 1)?;
        }
        old.commit(Change { state: Some(kept.encode()), put, remove: Vec::new() }, Durability::Now)?;
        Ok(!kept.held.is_empty() || !kept.lost.is_empty())
    }

    /// The held fixes of a block, behind what `state` has.
    fn renumbered(&self, state: &mut State, key: u64, bytes: &[u8]) -> Result<Option<Entry>, BufferError> {
        let Some((_, batch)) = self.readable(key, bytes) else { return Ok(None) };
        let boot_id = batch.boot_id;
        let fixes: Vec<_> = (key..)
            .zip(batch.fixes)
            .filter(|(number, _)| self.state.held.contains(*number))
            .map(|(_, fix)| fix)
            .collect();
        let Some(range) = SequenceRange::starting_at(state.next, fixes.len() as u64) else { return Ok(None) };
        let batch = Batch { epoch: state.epoch, first: range.first(), boot_id, fixes };
        let block = block::wrap(Kind::Plain, &batch::encode(&batch)?);
        state.next += range.count();
        state.held.insert(range);
        state.bytes += block.len() as u64;
        Ok(Some((range.first(), block)))
    }
}
