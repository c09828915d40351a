//! One commit: changes, ledger and journal offset, in one transaction.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use avl_shared::fix::{Fix, UtcMillis};
use avl_shared::identity::VehicleKey;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{fix_row, ledger, read};
use crate::event::{self, Event};
use crate::journal::Partition;
use crate::store::{
    Change, Claim, Commit, Committed, MAX_SEQUENCE, Position, Published, Refused, StoreError,
};

/// What a commit learns of one vehicle on its way.
struct Touched {
    id: i64,
    stored: u64,
    /// Place of the newest row before this commit, and since then.
    newest: Option<(UtcMillis, Epoch, u64)>,
    /// Set when this commit brought a newer row.
    newer: Option<Position>,
}

pub(super) fn claim(connection: &Connection, partition: Partition, owner: &str) -> Result<Claim, StoreError> {
    let mut claim = connection.prepare_cached(
        "INSERT INTO partitions (partition, next_offset, generation, owner) VALUES (?1, 0, 1, ?2)
         ON CONFLICT (partition) DO UPDATE SET generation = generation + 1, owner = excluded.owner
         RETURNING next_offset, published_offset, published_event, generation",
    )?;
    let (next_offset, published_offset, published_event, generation): (i64, i64, i64, i64) = claim
        .query_row(params![partition.0, owner], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    Ok(Claim {
        next_offset: next_offset.cast_unsigned(),
        published_offset: published_offset.cast_unsigned(),
        published_event: published_event.cast_unsigned(),
        generation: generation.cast_unsigned(),
    })
}

pub(super) fn published(
    connection: &Connection,
    partition: Partition,
    generation: u64,
    published: Published,
) -> Result<(), StoreError> {
    let mut advance = connection.prepare_cached(
        "UPDATE partitions SET published_offset = max(published_offset, ?), published_event = max(published_event, ?)
         WHERE partition = ? AND generation = ?",
    )?;
    let (offset, event) = (published.offset.cast_signed(), published.event.cast_signed());
    match advance.execute(params![offset, event, partition.0, generation.cast_signed()])? {
        0 => Err(StoreError::Fenced { partition }),
        _ => Ok(()),
    }
}

fn refuse(connection: &Connection, partition: Partition, refused: &Refused) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO refused (partition, offset, reason, key, received_at, bytes) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )?;
    let Refused { offset, reason, key, received_at, bytes } = refused;
    insert.execute(params![
        partition.0,
        offset.cast_signed(),
        reason,
        key,
        received_at,
        bytes.cast_signed()
    ])?;
    Ok(())
}

/// First in its transaction: an owner that was replaced is turned away before it does any work.
fn advance(connection: &Connection, commit: &Commit) -> Result<(), StoreError> {
    let mut advance = connection.prepare_cached(
        "UPDATE partitions SET next_offset = max(next_offset, ?) WHERE partition = ? AND generation = ?",
    )?;
    let (next, generation) = (commit.next_offset.cast_signed(), commit.generation.cast_signed());
    match advance.execute(params![next, commit.partition.0, generation])? {
        0 => Err(StoreError::Fenced { partition: commit.partition }),
        _ => Ok(()),
    }
}

pub(super) fn commit(connection: &mut Connection, commit: &Commit) -> Result<Committed, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    advance(&transaction, commit)?;
    let mut committed = Committed::default();
    let mut vehicles: BTreeMap<VehicleKey, Touched> = BTreeMap::new();
    for refused in &commit.refused {
        refuse(&transaction, commit.partition, refused)?;
    }
    for change in commit.changes.iter() {
        apply(&transaction, commit.partition, change, &mut vehicles, &mut committed)?;
    }
    for (vehicle, touched) in vehicles {
        if touched.stored > 0 {
            transaction
                .prepare_cached("UPDATE vehicles SET fixes = fixes + ? WHERE id = ?")?
                .execute(params![touched.stored.cast_signed(), touched.id])?;
        }
        committed.newest.extend(touched.newer.map(|position| (vehicle, position)));
    }
    transaction.commit()?;
    Ok(committed)
}

fn apply(
    connection: &Connection,
    partition: Partition,
    change: &Change,
    vehicles: &mut BTreeMap<VehicleKey, Touched>,
    committed: &mut Committed,
) -> Result<(), StoreError> {
    match change {
        Change::Fixes { vehicle, epoch, first, fixes, received_at } => {
            let touched = touch(connection, vehicles, vehicle)?;
            let Some(range) = SequenceRange::starting_at(*first, fixes.len() as u64) else {
                committed.fresh.push(RangeSet::new());
                return Ok(());
            };
            check(range)?;
            let epoch_id = ledger::epoch_id(connection, touched.id, *epoch)?;
            let fresh = ledger::receive(connection, epoch_id, range)?;
            let mut insert = connection.prepare_cached(fix_row::INSERT)?;
            for sequence in fresh.ranges().iter().flat_map(|range| range.first()..=range.last()) {
                let Some(fix) = usize::try_from(sequence - first).ok().and_then(|index| fixes.get(index))
                else {
                    continue;
                };
                fix_row::insert(&mut insert, touched.id, *epoch, sequence.cast_signed(), fix, *received_at)?;
                touched.notice(*epoch, sequence, fix, *received_at);
            }
            touched.stored += fresh.count();
            committed.stored += fresh.count();
            committed.duplicates += range.count() - fresh.count();
            for declared in ledger::declared(connection, epoch_id, range)? {
                let filled = event::gap_filled(vehicle, *epoch, declared, &fresh, *received_at);
                committed.events += happen(connection, partition, filled)?;
            }
            committed.fresh.push(fresh);
            return Ok(());
        }
        Change::Lost { vehicle, epoch, ranges, reason, received_at } => {
            let touched = touch(connection, vehicles, vehicle)?;
            let epoch_id = ledger::epoch_id(connection, touched.id, *epoch)?;
            for &range in ranges.ranges() {
                check(range)?;
                for declared in ledger::lose(connection, epoch_id, range, *reason)? {
                    let here = ledger::received_near(connection, epoch_id, declared)?;
                    let gap = event::data_gap(vehicle, *epoch, declared, &here, *reason, *received_at);
                    committed.events += happen(connection, partition, gap)?;
                }
            }
        }
        Change::Known { vehicle, epoch, next_sequence } => {
            let touched = touch(connection, vehicles, vehicle)?;
            let epoch_id = ledger::epoch_id(connection, touched.id, *epoch)?;
            ledger::know(connection, epoch_id, *next_sequence)?;
        }
    }
    committed.fresh.push(RangeSet::new());
    Ok(())
}

/// What was said before is not said again. Returns how many events are new.
fn happen(connection: &Connection, partition: Partition, event: Option<Event>) -> Result<u64, StoreError> {
    let Some(event) = event else { return Ok(0) };
    let mut insert = connection.prepare_cached(
        "INSERT INTO events (partition, id, vehicle, kind, time, message) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )?;
    let (id, vehicle, message) = (event.id.to_string(), event.vehicle.to_string(), event.message());
    let new = insert.execute(params![partition.0, id, vehicle, event.kind.name(), event.time, message])?;
    Ok(new as u64)
}

impl Touched {
    fn notice(&mut self, epoch: Epoch, sequence: u64, fix: &Fix, received_at: UtcMillis) {
        let place = (fix.time.unwrap_or(received_at), epoch, sequence);
        if self.newest.is_none_or(|newest| newest < place) {
            self.newest = Some(place);
            self.newer = Some(Position { epoch, sequence, fix: fix.clone(), received_at });
        }
    }
}

fn touch<'a>(
    connection: &Connection,
    vehicles: &'a mut BTreeMap<VehicleKey, Touched>,
    vehicle: &VehicleKey,
) -> Result<&'a mut Touched, StoreError> {
    match vehicles.entry(vehicle.clone()) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let id = vehicle_id(connection, vehicle)?;
            let newest = read::newest(connection, id)?.map(|row| (row.time(), row.epoch, row.sequence));
            Ok(entry.insert(Touched { id, stored: 0, newest, newer: None }))
        }
    }
}

fn vehicle_id(connection: &Connection, vehicle: &VehicleKey) -> Result<i64, StoreError> {
    let found = connection
        .prepare_cached(read::VEHICLE_ID)?
        .query_row(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str()], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO vehicles (fleet, vehicle) VALUES (?, ?)")?
        .execute(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str()])?;
    Ok(connection.last_insert_rowid())
}

/// The processor lets no such number through; a store that wrapped one around would lose the order of all.
fn check(range: SequenceRange) -> Result<(), StoreError> {
    if range.last() > MAX_SEQUENCE {
        return Err(StoreError::Corrupt(format!("sequence numbers {range} exceed {MAX_SEQUENCE}")));
    }
    Ok(())
}
