//! The queries.

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{fix_row, ledger};
use crate::journal::Partition;
use crate::store::{KeptEvent, Position, PositionCursor, PositionQuery, Refused, StoreError, VehicleSummary};

pub(super) const VEHICLE_ID: &str = "SELECT id FROM vehicles WHERE fleet = ? AND vehicle = ?";

pub(super) fn vehicle_id(connection: &Connection, vehicle: &VehicleKey) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .prepare_cached(VEHICLE_ID)?
        .query_row(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str()], |row| row.get(0))
        .optional()?)
}

pub(super) fn newest(connection: &Connection, vehicle_id: i64) -> Result<Option<Position>, StoreError> {
    let sql = format!(
        "SELECT {} FROM positions WHERE vehicle_id = ? ORDER BY time DESC, epoch DESC, sequence DESC LIMIT 1",
        fix_row::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([vehicle_id])?;
    rows.next()?.map(fix_row::read).transpose()
}

pub(super) fn next_offset(connection: &Connection, partition: Partition) -> Result<u64, StoreError> {
    let offset: Option<i64> = connection
        .prepare_cached("SELECT next_offset FROM partitions WHERE partition = ?")?
        .query_row([partition.0], |row| row.get(0))
        .optional()?;
    Ok(offset.unwrap_or(0).cast_unsigned())
}

pub(super) fn events(
    connection: &Connection,
    partition: Partition,
    after: u64,
    limit: usize,
) -> Result<Vec<KeptEvent>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT place, vehicle, message FROM events WHERE partition = ? AND place > ? ORDER BY place LIMIT ?",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![partition.0, after.cast_signed(), limit])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let (place, vehicle): (i64, String) = (row.get(0)?, row.get(1)?);
        let vehicle =
            vehicle.parse().map_err(|error| StoreError::Corrupt(format!("event {place}: {error}")))?;
        events.push(KeptEvent { place: place.cast_unsigned(), vehicle, message: row.get(2)? });
    }
    Ok(events)
}

pub(super) fn refused(
    connection: &Connection,
    limit: usize,
) -> Result<Vec<(Partition, Refused)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT partition, offset, reason, key, received_at, bytes FROM refused ORDER BY id DESC LIMIT ?",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map([limit], |row| {
        let (offset, bytes): (i64, i64) = (row.get(1)?, row.get(5)?);
        let (offset, bytes) = (offset.cast_unsigned(), bytes.cast_unsigned());
        let (reason, key, received_at) = (row.get(2)?, row.get(3)?, row.get(4)?);
        Ok((Partition(row.get(0)?), Refused { offset, reason, key, received_at, bytes }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn vehicles(connection: &Connection) -> Result<Vec<VehicleSummary>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT id, fleet, vehicle, fixes FROM vehicles ORDER BY fleet, vehicle")?;
    let mut rows = statement.query([])?;
    let mut summaries = Vec::new();
    while let Some(row) = rows.next()? {
        summaries.push(summary(connection, row)?);
    }
    Ok(summaries)
}

pub(super) fn vehicle(
    connection: &Connection,
    vehicle: &VehicleKey,
) -> Result<Option<VehicleSummary>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT id, fleet, vehicle, fixes FROM vehicles WHERE fleet = ? AND vehicle = ?")?;
    let mut rows = statement.query(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str()])?;
    rows.next()?.map(|row| summary(connection, row)).transpose()
}

fn summary(connection: &Connection, row: &Row<'_>) -> Result<VehicleSummary, StoreError> {
    let (id, fleet, vehicle, fixes): (i64, String, String, i64) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let key = format!("{fleet}/{vehicle}");
    Ok(VehicleSummary {
        vehicle: key.parse().map_err(|error| StoreError::Corrupt(format!("vehicle {id}: {error}")))?,
        fixes: fixes.cast_unsigned(),
        newest: newest(connection, id)?,
    })
}

pub(super) fn positions(connection: &Connection, query: &PositionQuery) -> Result<Vec<Position>, StoreError> {
    let Some(id) = vehicle_id(connection, &query.vehicle)? else { return Ok(Vec::new()) };
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    // No row stands before this one.
    let start = PositionCursor { time: i64::MIN, epoch: Epoch(0), sequence: 0 };
    let (after, strictly) = query.after.map_or((start, ">="), |cursor| (cursor, ">"));
    let from = query.from.max(after.time);
    let sql = format!(
        "SELECT {} FROM positions WHERE vehicle_id = ? AND time >= ? AND time < ? \
         AND (time, epoch, sequence) {strictly} (?, ?, ?) ORDER BY time, epoch, sequence LIMIT ?",
        fix_row::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let sequence = i64::try_from(after.sequence).unwrap_or(i64::MAX);
    let mut rows =
        statement.query(params![id, from, query.to, after.time, after.epoch.0, sequence, limit])?;
    collect(&mut rows)
}

pub(super) fn positions_at(
    connection: &Connection,
    vehicle: &VehicleKey,
    epoch: Epoch,
    sequences: &[u64],
) -> Result<Vec<Position>, StoreError> {
    let Some(id) = vehicle_id(connection, vehicle)? else { return Ok(Vec::new()) };
    let mut wanted: Vec<i64> =
        sequences.iter().filter_map(|&sequence| i64::try_from(sequence).ok()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let sql = format!(
        "SELECT {} FROM positions WHERE vehicle_id = ? AND epoch = ? AND sequence = ?",
        fix_row::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::new();
    for sequence in wanted {
        let mut rows = statement.query(params![id, epoch.0, sequence])?;
        found.extend(rows.next()?.map(fix_row::read).transpose()?);
    }
    Ok(found)
}

fn collect(rows: &mut rusqlite::Rows<'_>) -> Result<Vec<Position>, StoreError> {
    let mut positions = Vec::new();
    while let Some(row) = rows.next()? {
        positions.push(fix_row::read(row)?);
    }
    Ok(positions)
}

pub(super) fn received_within(
    connection: &Connection,
    vehicle: &VehicleKey,
    from: UtcMillis,
    to: UtcMillis,
) -> Result<Vec<(Epoch, RangeSet)>, StoreError> {
    let Some(id) = vehicle_id(connection, vehicle)? else { return Ok(Vec::new()) };
    if holds_all(connection, id, from, to)? {
        // The ledger says the same without reading a row of the track.
        let ledgers = ledger::read(connection, id)?.into_iter();
        return Ok(ledgers
            .map(|ledger| (ledger.epoch, ledger.received))
            .filter(|(_, set)| !set.is_empty())
            .collect());
    }
    // Within a run of consecutive numbers, number minus row number is constant.
    let mut statement = connection.prepare_cached(
        "SELECT epochs.epoch, first, last FROM (
            SELECT epoch, min(sequence) AS first, max(sequence) AS last FROM (
                SELECT epoch, sequence, sequence - row_number() OVER (PARTITION BY epoch ORDER BY sequence) AS run
                FROM positions WHERE vehicle_id = ?1 AND time >= ?2 AND time < ?3
            ) GROUP BY epoch, run
        ) AS runs JOIN epochs ON epochs.vehicle_id = ?1 AND epochs.epoch = runs.epoch ORDER BY epochs.id, first",
    )?;
    let mut rows = statement.query(params![id, from, to])?;
    let mut sets: Vec<(Epoch, RangeSet)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (epoch, first, last): (u32, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let Some(range) = SequenceRange::new(first.cast_unsigned(), last.cast_unsigned()) else { continue };
        match sets.last_mut() {
            Some((current, set)) if current.0 == epoch => {
                set.insert(range);
            }
            _ => sets.push((Epoch(epoch), [range].into_iter().collect())),
        }
    }
    Ok(sets)
}

/// Whether every row of the vehicle lies in the period.
fn holds_all(
    connection: &Connection,
    vehicle_id: i64,
    from: UtcMillis,
    to: UtcMillis,
) -> Result<bool, StoreError> {
    let outside: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM positions WHERE vehicle_id = ?1 AND time < ?2)
                 OR EXISTS (SELECT 1 FROM positions WHERE vehicle_id = ?1 AND time >= ?3)",
        )?
        .query_row(params![vehicle_id, from, to], |row| row.get(0))?;
    Ok(!outside)
}
