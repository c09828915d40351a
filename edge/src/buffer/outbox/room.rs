//! What a full buffer gives up: first what the shape of old tracks does not need, then the oldest.
//!
//! Thinning takes a run of old blocks and leaves the fixes that [`crate::thinning`] needs, under **new** numbers in front of
//! the append that wanted the room. The old numbers, all of them, are lost with the reason `THINNED`. One change on
//! flash holds it all: the kept fixes, the losses, the removals and the append.
//!
//! A fix must not reach the cloud under two numbers. So only numbers are thinned that were never handed out for
//! sending: [`super::Outbox::next_upload`] makes durable what it hands out before it returns, because an acknowledgement
//! may be lost, and what the cloud's journal has need not be in its ledger yet. What was thinned is marked on flash
//! and never thinned again, because the errors would add up.

use avl_shared::batch::{self, Batch};
use avl_shared::fix::Fix;
use avl_shared::link::LossReason;
use avl_shared::sequence::SequenceRange;

use super::super::block::{self, Kind};
use super::super::state::State;
use super::super::table::Change;
use super::{BufferError, Outbox};
use crate::thinning::{ThinLimits, needed};

/// Fixes that are thinned at once: twenty minutes at one a second. Long enough that the ends, which are always kept,
/// cost nothing; short enough to be decoded in a millisecond.
const GROUP_FIXES: usize = 1_200;
/// A shorter run waits for more, or is left alone.
const LEAST_FIXES: usize = 300;
/// Fixes in a block of what was kept; more make it hardly smaller.
const KEPT_FIXES: usize = 300;

/// A run of blocks that thinning may take.
#[derive(Default)]
struct Run {
    blocks: Vec<(u64, usize)>,
    fixes: Vec<Fix>,
    boot_id: Option<u32>,
    /// Fixes in the last block.
    last_count: u64,
}

enum Thinned {
    /// Room was made, or this run gains too little; there may be more.
    Again,
    Nothing,
}

impl Outbox {
    /// Until `needed_bytes` more fit, or nothing is left to give.
    pub(super) fn make_room(
        &mut self,
        state: &mut State,
        change: &mut Change,
        needed_bytes: u64,
    ) -> Result<(), BufferError> {
        while state.bytes + needed_bytes > self.bounds.max_bytes {
            if let Some(limits) = self.bounds.thin
                && matches!(self.thin(limits, state, change)?, Thinned::Again)
            {
                continue;
            }
            let mut oldest = self.table.at_or_after(0)?;
            while let Some((key, _)) = oldest.as_ref().filter(|(key, _)| change.remove.contains(key)) {
                oldest = self.table.at_or_after(key + 1)?;
            }
            let Some((key, bytes)) = oldest else { break };
            self.give_up_block(state, key, &bytes, LossReason::BufferFull)?;
            change.remove.push(key);
        }
        Ok(())
    }

    fn thin(
        &mut self,
        limits: ThinLimits,
        state: &mut State,
        change: &mut Change,
    ) -> Result<Thinned, BufferError> {
        let Some(run) = self.next_run(state, change)? else { return Ok(Thinned::Nothing) };
        let kept: Vec<Fix> = {
            let mut kept = needed(&run.fixes, limits).into_iter().peekable();
            let fixes = run.fixes.into_iter().enumerate();
            fixes.filter(|(index, _)| kept.next_if_eq(index).is_some()).map(|(_, fix)| fix).collect()
        };
        let ends = run.blocks.first().zip(run.blocks.last());
        let Some(replaced) = ends.and_then(|((first, _), (last, _))| {
            SequenceRange::new(*first, last.saturating_add(run.last_count - 1))
        }) else {
            return Ok(Thinned::Nothing);
        };
        let mut blocks = Vec::new();
        let mut next = state.next;
        for part in kept.chunks(KEPT_FIXES) {
            let boot_id = run.boot_id.filter(|_| part.iter().any(|fix| fix.uptime.is_some()));
            let batch = Batch { epoch: state.epoch, first: next, boot_id, fixes: part.to_vec() };
            blocks.push((next, block::wrap(Kind::Thinned(replaced), &batch::encode(&batch)?)));
            next += part.len() as u64;
        }
        let before: u64 = run.blocks.iter().map(|(_, bytes)| *bytes as u64).sum();
        let after: u64 = blocks.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        // New numbers for a tenth of the room are not worth it.
        if after * 10 > before * 9 {
            return Ok(Thinned::Again);
        }
        for (key, _) in &run.blocks {
            let Some((key, bytes)) = self.table.at_or_after(*key)? else { return Err(BufferError::State) };
            self.give_up_block(state, key, &bytes, LossReason::Thinned)?;
            change.remove.push(key);
        }
        if let Some(range) = SequenceRange::starting_at(state.next, next - state.next) {
            state.held.insert(range);
        }
        state.next = next;
        state.bytes += after;
        change.put.extend(blocks);
        Ok(Thinned::Again)
    }

    /// The oldest blocks that may be thinned and were not tried yet.
    fn next_run(&mut self, state: &State, change: &Change) -> Result<Option<Run>, BufferError> {
        let mut run = Run::default();
        let mut at = self.table.at_or_after(self.thin_from)?;
        while let Some((key, bytes)) = at {
            if Some(key) == self.newest || run.fixes.len() >= GROUP_FIXES {
                break;
            }
            let joins = !change.remove.contains(&key) && self.join(&mut run, state, key, &bytes);
            if !joins {
                if run.fixes.len() >= LEAST_FIXES {
                    break;
                }
                // Too short a run before it, or none: neither can be thinned, today or later.
                run = Run::default();
                if !self.join(&mut run, state, key, &bytes) {
                    self.thin_from = key + 1;
                } else {
                    self.thin_from = key;
                }
            }
            at = self.table.at_or_after(key + 1)?;
        }
        if run.fixes.len() < LEAST_FIXES {
            return Ok(None);
        }
        self.thin_from = run.blocks.last().map_or(self.thin_from, |(key, _)| key + 1);
        Ok(Some(run))
    }

    /// Adds a block to the run when it may be thinned, and together with the ones before.
    fn join(&self, run: &mut Run, state: &State, key: u64, bytes: &[u8]) -> bool {
        let Some((Kind::Plain, batch)) = self.readable(key, bytes) else { return false };
        let Some(range) = SequenceRange::starting_at(key, batch.fixes.len() as u64) else { return false };
        let free = state.held.covers(range) && state.sent.within(range).is_empty();
        let same_boot = run.boot_id.is_none() || batch.boot_id.is_none() || run.boot_id == batch.boot_id;
        if !free || !same_boot {
            return false;
        }
        run.boot_id = run.boot_id.or(batch.boot_id);
        run.blocks.push((key, bytes.len()));
        run.last_count = range.count();
        run.fixes.extend(batch.fixes);
        true
    }
}
