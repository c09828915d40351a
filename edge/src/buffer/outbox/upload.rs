//! The next batch for the wire, and what is found to be damaged on the way to it.

use avl_shared::batch::{self, Batch};
use avl_shared::link::LossReason;
use avl_shared::sequence::SequenceRange;

use super::super::table::{Change, Durability};
use super::{BufferError, Outbox, SetAside, Upload, UploadLimits};

impl Outbox {
    /// The batch that starts at the first held number not below `from`: as many whole blocks as the limits allow.
    /// The same blocks always make the same batch. Damaged blocks on the way are declared lost. That its numbers may
    /// have been sent is on flash before it is returned.
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
            let Some((_, batch)) = self.readable(first, &bytes) else {
                self.quarantine(first, &bytes, aside)?;
                continue;
            };
            let end = first + batch.fixes.len() as u64;
            if end <= wanted {
                self.declare_unreadable(wanted, wanted)?;
                continue;
            }
            let upload = self.compose(first, &bytes, batch, limits)?;
            self.mark_sent(upload.range)?;
            return Ok(Some(upload));
        }
    }

    /// Adds the blocks behind `batch` to it while they follow without a gap and the limits allow.
    fn compose(
        &self,
        first: u64,
        single: &[u8],
        mut batch: Batch,
        limits: UploadLimits,
    ) -> Result<Upload, BufferError> {
        let (mut end, mut bytes) = (first + batch.fixes.len() as u64, single.len());
        let mut boot_id = batch.boot_id;
        while let Some((key, block)) = self.table.at_or_after(end)? {
            let Some((_, next)) = self.readable(key, &block).filter(|_| key == end) else { break };
            let same_boot = boot_id.is_none() || next.boot_id.is_none() || boot_id == next.boot_id;
            let fits = batch.fixes.len() + next.fixes.len() <= limits.max_fixes
                // Together they are smaller than apart, but how much is only known once they are encoded.
                && bytes + block.len() <= limits.max_bytes;
            if !same_boot || !fits {
                break;
            }
            boot_id = boot_id.or(next.boot_id);
            end += next.fixes.len() as u64;
            bytes += block.len();
            batch.fixes.extend(next.fixes);
        }
        batch.boot_id = boot_id;
        let range = SequenceRange::starting_at(first, end - first).ok_or(BufferError::State)?;
        Ok(Upload { range, bytes: batch::encode(&batch)? })
    }

    /// Once sent, a number means that fix for ever: thinning must leave it alone, after a restart as well.
    fn mark_sent(&mut self, range: SequenceRange) -> Result<(), BufferError> {
        let mut state = self.state.clone();
        if !state.mark_sent(range) {
            return Ok(());
        }
        self.commit(state, Change::default(), Durability::Now)
    }

    fn first_held_from(&self, from: u64) -> Option<u64> {
        SequenceRange::new(from, u64::MAX).and_then(|rest| self.state.held.within(rest).first())
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
}
