//! What was appended since the state record was written.
//!
//! An append that only adds a block does not write the record: everything that it changes stands in the block. So one
//! append is one write of one key, which takes one page of flash; the record with it, as an atomic batch, takes two. Any other
//! change writes the record, so the blocks that it does not know of are exactly those from its `next` on.

use avl_shared::batch::{self, Batch};
use avl_shared::sequence::SequenceRange;

use super::super::block;
use super::super::state::State;
use super::super::table::{Table, TableError};
use super::BufferError;

/// Blocks behind the record, at most: five minutes at 5 s each. Opening has to decode them.
pub(super) const RECORD_EVERY: u32 = 60;

/// Adds to the record what the blocks behind it say. Returns how many there are.
///
/// # Errors
/// When the store cannot be read, or the last block cannot: then nobody knows how far the numbers went.
pub(super) fn catch_up(table: &dyn Table, state: &mut State) -> Result<u32, BufferError> {
    let (mut count, mut unread) = (0, None);
    let mut at = table.at_or_after(state.next)?;
    while let Some((key, bytes)) = at {
        // A block that is not there or cannot be read had the numbers up to the next one: held, until it is missed.
        if let Some(gap) = key.checked_sub(1).and_then(|last| SequenceRange::new(state.next, last)) {
            state.held.insert(gap);
            state.next = key;
        }
        unread = add_block(state, key, &bytes)?.is_none().then_some(key);
        if unread.is_some() {
            state.bytes += bytes.len() as u64;
        }
        count += 1;
        at = match key.checked_add(1) {
            Some(behind) => table.at_or_after(behind)?,
            None => None,
        };
    }
    match unread {
        None => Ok(count),
        Some(key) => {
            Err(TableError::Corrupt(format!("its newest block, number {key}, cannot be read")).into())
        }
    }
}

/// `None`, and nothing done, when it is not whole or not of this epoch.
fn add_block(state: &mut State, key: u64, bytes: &[u8]) -> Result<Option<()>, BufferError> {
    let Some(block) = block::unwrap(bytes) else { return Ok(None) };
    let batch = batch::decode(block.batch).ok();
    let Some(batch) = batch.filter(|batch| batch.epoch == state.epoch && batch.first == key) else {
        return Ok(None);
    };
    add(state, &batch, block.cursor, bytes.len()).map(Some)
}

/// What an append changes in the state.
///
/// # Errors
/// When no numbers are left, or the batch has none.
pub(super) fn add(
    state: &mut State,
    batch: &Batch,
    cursor: Option<&[u8]>,
    block_bytes: usize,
) -> Result<(), BufferError> {
    let range =
        SequenceRange::starting_at(batch.first, batch.fixes.len() as u64).ok_or(BufferError::State)?;
    state.next = range.last() + 1;
    state.held.insert(range);
    state.bytes += block_bytes as u64;
    state.odometer_m = state.odometer_m.max(batch.fixes.iter().filter_map(|fix| fix.odometer).max());
    if let Some(cursor) = cursor {
        state.cursor = cursor.to_vec();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use avl_shared::fix::Fix;
    use avl_shared::sequence::Epoch;

    use super::super::super::testing::Memory;
    use super::super::{Bounds, Outbox};
    use super::*;

    fn open(memory: &Memory) -> Result<Outbox, BufferError> {
        Outbox::open(Box::new(memory.clone()), Bounds::bytes(u64::MAX), Epoch(7))
    }

    /// Five fixes with an odometer, and a cursor that names the next number.
    fn append(outbox: &mut Outbox) {
        let first = outbox.status().next_sequence;
        let fix = |n: u64| Fix { odometer: Some(1_000 + n), ..Fix::default() };
        let cursor = (first + 5).to_be_bytes().to_vec();
        outbox.append((first..first + 5).map(fix).collect(), 1, Some(cursor)).unwrap();
    }

    fn record(memory: &Memory) -> State {
        State::decode(memory.content().state.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn an_append_writes_its_block_alone_and_says_all_by_it() {
        let memory = Memory::default();
        let mut outbox = open(&memory).unwrap();
        for blocks in 1..=u64::from(RECORD_EVERY) {
            append(&mut outbox);
            assert_eq!((record(&memory).next, memory.blocks().len() as u64), (0, blocks));
            let again = open(&memory).unwrap();
            assert_eq!(again.state, outbox.state);
            assert_eq!((again.newest, again.unrecorded), (outbox.newest, outbox.unrecorded));
            assert_eq!(again.state.cursor, (blocks * 5).to_be_bytes());
            assert_eq!(again.state.odometer_m, Some(1_000 + blocks * 5 - 1));
        }
        append(&mut outbox);
        assert_eq!(record(&memory), outbox.state, "there is an end to what has to be caught up on");
        append(&mut outbox);
        outbox.record().unwrap();
        assert_eq!(record(&memory), outbox.state, "nothing is left after an orderly end");
    }

    #[test]
    fn what_is_no_append_of_a_block_writes_the_record() {
        let memory = Memory::default();
        let mut outbox = open(&memory).unwrap();
        append(&mut outbox);
        outbox.append_recalled(vec![Fix::default()], b"recalled".to_vec()).unwrap();
        assert_eq!(record(&memory), outbox.state);
        append(&mut outbox);
        outbox.forget(&SequenceRange::new(0, 10).into_iter().collect()).unwrap();
        assert_eq!(record(&memory), outbox.state);
        append(&mut outbox);
        assert_eq!(record(&memory), outbox.state, "the acknowledged newest block left with it");
        outbox.append(vec![Fix::default()], 1, Some(vec![7; block::MAX_CURSOR_BYTES + 1])).unwrap();
        assert_eq!(record(&memory), outbox.state, "a cursor that no block takes");
        assert_eq!(open(&memory).unwrap().state, outbox.state);
    }

    #[test]
    fn a_block_that_is_damaged_or_gone_behind_the_record_keeps_its_numbers() {
        let memory = Memory::default();
        let mut outbox = open(&memory).unwrap();
        (0..6).for_each(|_| append(&mut outbox));
        memory.damage(10);
        memory.content().blocks.remove(&20);
        memory.content().blocks.remove(&0);
        let again = open(&memory).unwrap();
        assert_eq!((again.state.next, &again.state.held), (30, &outbox.state.held));
        assert_eq!(again.state.bytes, memory.blocks().values().map(|block| block.len() as u64).sum::<u64>());
    }

    #[test]
    fn without_its_newest_block_nobody_knows_how_far_the_numbers_went() {
        let memory = Memory::default();
        let mut outbox = open(&memory).unwrap();
        (0..3).for_each(|_| append(&mut outbox));
        memory.damage(10);
        assert!(matches!(open(&memory), Err(BufferError::Table(TableError::Corrupt(_)))));
    }
}
