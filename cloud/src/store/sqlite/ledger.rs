//! The ledger of one epoch as rows: each change costs the rows it touches, however long the ledger has become.
//!
//! The arithmetic is [`RangeSet`]'s. A change loads the ranges that overlap or touch it, lets the set decide, and
//! writes the result back in their place.

use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{EpochLedger, MAX_SEQUENCE, StoreError};

/// The surrogate id of an epoch, which is made when it is new.
pub(super) fn epoch_id(connection: &Connection, vehicle_id: i64, epoch: Epoch) -> Result<i64, StoreError> {
    let found = connection
        .prepare_cached("SELECT id FROM epochs WHERE vehicle_id = ? AND epoch = ?")?
        .query_row(params![vehicle_id, epoch.0], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO epochs (vehicle_id, epoch, next_sequence) VALUES (?, ?, 0)")?
        .execute(params![vehicle_id, epoch.0])?;
    Ok(connection.last_insert_rowid())
}

/// Notes that every number below `next` was given to a fix.
pub(super) fn know(connection: &Connection, epoch_id: i64, next: u64) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE epochs SET next_sequence = ?2 WHERE id = ?1 AND next_sequence < ?2")?
        .execute(params![epoch_id, next.min(MAX_SEQUENCE + 1).cast_signed()])?;
    Ok(())
}

/// What was received in `range`, or touches it.
pub(super) fn received_near(
    connection: &Connection,
    epoch_id: i64,
    range: SequenceRange,
) -> Result<RangeSet, StoreError> {
    let (first, last) = (range.first().cast_signed(), range.last().cast_signed());
    let mut near = RangeSet::new();
    // Ranges are disjoint, so in descending order the first one that ends before the new one ends the search.
    let mut statement = connection.prepare_cached(
        "SELECT first, last FROM received WHERE epoch_id = ? AND first <= ? ORDER BY first DESC",
    )?;
    let mut rows = statement.query(params![epoch_id, last.saturating_add(1)])?;
    while let Some(row) = rows.next()? {
        let held = sql_range(row.get(0)?, row.get(1)?)?;
        if held.last().cast_signed() < first.saturating_sub(1) {
            break;
        }
        near.insert(held);
    }
    Ok(near)
}

/// What was declared lost and overlaps `range`, each as it was declared.
pub(super) fn declared(
    connection: &Connection,
    epoch_id: i64,
    range: SequenceRange,
) -> Result<Vec<SequenceRange>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT first, last FROM lost WHERE epoch_id = ? AND first <= ? ORDER BY first DESC",
    )?;
    let mut rows = statement.query(params![epoch_id, range.last().cast_signed()])?;
    let mut declared = Vec::new();
    while let Some(row) = rows.next()? {
        let held = sql_range(row.get(0)?, row.get(1)?)?;
        if held.last() < range.first() {
            break;
        }
        declared.push(held);
    }
    declared.reverse();
    Ok(declared)
}

/// Adds `range` to what was received and returns the part that is new.
pub(super) fn receive(
    connection: &Connection,
    epoch_id: i64,
    range: SequenceRange,
) -> Result<RangeSet, StoreError> {
    let mut near = received_near(connection, epoch_id, range)?;
    let before = near.clone();
    let fresh = near.insert(range);
    if !fresh.is_empty() {
        let mut delete =
            connection.prepare_cached("DELETE FROM received WHERE epoch_id = ? AND first = ?")?;
        for held in before.ranges() {
            delete.execute(params![epoch_id, held.first().cast_signed()])?;
        }
        let mut insert =
            connection.prepare_cached("INSERT INTO received (epoch_id, first, last) VALUES (?, ?, ?)")?;
        for merged in near.ranges() {
            insert.execute(params![epoch_id, merged.first().cast_signed(), merged.last().cast_signed()])?;
        }
    }
    know(connection, epoch_id, range.last() + 1)?;
    Ok(fresh)
}

/// Notes what the vehicle gave up; a number that was declared before keeps its first reason. Returns what was not.
pub(super) fn lose(
    connection: &Connection,
    epoch_id: i64,
    range: SequenceRange,
    reason: LossReason,
) -> Result<Vec<SequenceRange>, StoreError> {
    let declared: RangeSet = declared(connection, epoch_id, range)?.into_iter().collect();
    let fresh = declared.missing_within(range);
    let mut insert =
        connection.prepare_cached("INSERT INTO lost (epoch_id, first, last, reason) VALUES (?, ?, ?, ?)")?;
    for fresh in fresh.ranges() {
        insert.execute(params![
            epoch_id,
            fresh.first().cast_signed(),
            fresh.last().cast_signed(),
            reason as i32
        ])?;
    }
    know(connection, epoch_id, range.last() + 1)?;
    Ok(fresh.ranges().to_vec())
}

/// All ledgers of a vehicle, oldest first. What was declared lost and arrived all the same counts as received only.
pub(super) fn read(connection: &Connection, vehicle_id: i64) -> Result<Vec<EpochLedger>, StoreError> {
    let mut ledgers = Vec::new();
    let mut epochs = connection
        .prepare_cached("SELECT id, epoch, next_sequence FROM epochs WHERE vehicle_id = ? ORDER BY id")?;
    let mut rows = epochs.query([vehicle_id])?;
    while let Some(row) = rows.next()? {
        let (id, epoch, next_sequence): (i64, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let received = received(connection, id)?;
        ledgers.push(EpochLedger {
            epoch: Epoch(epoch),
            next_sequence: next_sequence.cast_unsigned(),
            lost: lost(connection, id, &received)?,
            received,
        });
    }
    Ok(ledgers)
}

fn received(connection: &Connection, epoch_id: i64) -> Result<RangeSet, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT first, last FROM received WHERE epoch_id = ? ORDER BY first")?;
    let mut rows = statement.query([epoch_id])?;
    let mut set = RangeSet::new();
    while let Some(row) = rows.next()? {
        set.insert(sql_range(row.get(0)?, row.get(1)?)?);
    }
    Ok(set)
}

fn lost(
    connection: &Connection,
    epoch_id: i64,
    received: &RangeSet,
) -> Result<Vec<(SequenceRange, LossReason)>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT first, last, reason FROM lost WHERE epoch_id = ? ORDER BY first")?;
    let mut rows = statement.query([epoch_id])?;
    let mut lost = Vec::new();
    while let Some(row) = rows.next()? {
        let declared = sql_range(row.get(0)?, row.get(1)?)?;
        let reason = LossReason::try_from(row.get::<_, i32>(2)?).unwrap_or(LossReason::Unspecified);
        lost.extend(received.missing_within(declared).ranges().iter().map(|&range| (range, reason)));
    }
    Ok(lost)
}

fn sql_range(first: i64, last: i64) -> Result<SequenceRange, StoreError> {
    let range = u64::try_from(first).ok().zip(u64::try_from(last).ok());
    range.and_then(|(first, last)| SequenceRange::new(first, last)).ok_or_else(|| {
        StoreError::Corrupt(format!(
            "ledger range {first}-{last}; delete the store and derive it again from the journal"
        ))
    })
}
