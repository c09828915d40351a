//! The queries.

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use deadpool_postgres::{Client, GenericClient};
use tokio_postgres::{IsolationLevel, Row};

use super::ranges::from_multirange;
use super::row;
use crate::journal::Partition;
use crate::store::{
    EpochLedger, KeptEvent, Position, PositionCursor, PositionQuery, Refused, StoreError, VehicleSummary,
};

const VEHICLE_ID: &str = "(SELECT id FROM vehicles WHERE fleet = $1 AND vehicle = $2)";

pub(super) async fn next_offset(client: &Client, partition: Partition) -> Result<u64, StoreError> {
    let statement = client.prepare_cached("SELECT next_offset FROM partitions WHERE partition = $1").await?;
    let row = client.query_opt(&statement, &[&i64::from(partition.0)]).await?;
    Ok(row.map(|row| row.try_get::<_, i64>(0)).transpose()?.unwrap_or(0).cast_unsigned())
}

pub(super) async fn events(
    client: &Client,
    partition: Partition,
    after: u64,
    limit: usize,
) -> Result<Vec<KeptEvent>, StoreError> {
    let statement = client
        .prepare_cached(
            "SELECT place, vehicle, message FROM events WHERE partition = $1 AND place > $2 ORDER BY place LIMIT $3",
        )
        .await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&i64::from(partition.0), &after.cast_signed(), &limit]).await?;
    rows.iter()
        .map(|row| {
            let (place, vehicle): (i64, &str) = (row.try_get(0)?, row.try_get(1)?);
            let vehicle =
                vehicle.parse().map_err(|error| StoreError::Corrupt(format!("event {place}: {error}")))?;
            Ok(KeptEvent { place: place.cast_unsigned(), vehicle, message: row.try_get(2)? })
        })
        .collect()
}

pub(super) async fn refused(client: &Client, limit: usize) -> Result<Vec<(Partition, Refused)>, StoreError> {
    let statement = client
        .prepare_cached(
            "SELECT partition, \"offset\", reason, key, received_at, bytes FROM refused ORDER BY id DESC LIMIT $1",
        )
        .await?;
    let rows = client.query(&statement, &[&i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
    rows.iter()
        .map(|row| {
            let (partition, offset, bytes): (i64, i64, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(5)?);
            let (offset, bytes) = (offset.cast_unsigned(), bytes.cast_unsigned());
            let (reason, key, received_at) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            let partition = Partition(u32::try_from(partition).unwrap_or(u32::MAX));
            Ok((partition, Refused { offset, reason, key, received_at, bytes }))
        })
        .collect()
}

pub(super) async fn vehicles(client: &Client) -> Result<Vec<VehicleSummary>, StoreError> {
    let statement = client.prepare_cached(&format!("{} ORDER BY v.fleet, v.vehicle", summaries())).await?;
    client.query(&statement, &[]).await?.iter().map(summary).collect()
}

pub(super) async fn vehicle(
    client: &Client,
    vehicle: &VehicleKey,
) -> Result<Option<VehicleSummary>, StoreError> {
    let sql = format!("{} WHERE v.fleet = $1 AND v.vehicle = $2", summaries());
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&vehicle.fleet.as_str(), &vehicle.vehicle.as_str()]).await?;
    row.as_ref().map(summary).transpose()
}

fn summaries() -> String {
    let columns = row::columns("s.");
    format!(
        "SELECT v.fleet, v.vehicle, v.fixes, {columns} FROM vehicles v LEFT JOIN states s ON s.vehicle_id = v.id"
    )
}

fn summary(row: &Row) -> Result<VehicleSummary, StoreError> {
    let (fleet, vehicle, fixes): (&str, &str, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let key = format!("{fleet}/{vehicle}");
    Ok(VehicleSummary {
        vehicle: key.parse().map_err(|error| StoreError::Corrupt(format!("vehicle {key}: {error}")))?,
        fixes: fixes.cast_unsigned(),
        newest: row::read(row, 3)?,
    })
}

pub(super) async fn positions(client: &Client, query: &PositionQuery) -> Result<Vec<Position>, StoreError> {
    // No row stands before this one.
    let start = PositionCursor { time: i64::MIN, epoch: Epoch(0), sequence: 0 };
    let (after, strictly) = query.after.map_or((start, ">="), |cursor| (cursor, ">"));
    let sql = format!(
        "SELECT {} FROM positions WHERE vehicle_id = {VEHICLE_ID} AND time >= $3 AND time < $4 \
         AND (time, epoch, sequence) {strictly} ($5, $6, $7) ORDER BY time, epoch, sequence LIMIT $8",
        row::columns("")
    );
    let statement = client.prepare_cached(&sql).await?;
    let (fleet, vehicle) = (query.vehicle.fleet.as_str(), query.vehicle.vehicle.as_str());
    let from = query.from.max(after.time);
    let (epoch, sequence) = (i64::from(after.epoch.0), i64::try_from(after.sequence).unwrap_or(i64::MAX));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let rows = client
        .query(&statement, &[&fleet, &vehicle, &from, &query.to, &after.time, &epoch, &sequence, &limit])
        .await?;
    collect(&rows)
}

pub(super) async fn positions_at(
    client: &Client,
    vehicle: &VehicleKey,
    epoch: Epoch,
    sequences: &[u64],
) -> Result<Vec<Position>, StoreError> {
    let wanted: Vec<i64> = sequences.iter().filter_map(|&sequence| i64::try_from(sequence).ok()).collect();
    let sql = format!(
        "SELECT {} FROM positions WHERE vehicle_id = {VEHICLE_ID} AND epoch = $3 AND sequence = ANY ($4) \
         ORDER BY sequence",
        row::columns("")
    );
    let statement = client.prepare_cached(&sql).await?;
    let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
    let rows = client.query(&statement, &[&fleet, &name, &i64::from(epoch.0), &wanted]).await?;
    collect(&rows)
}

fn collect(rows: &[Row]) -> Result<Vec<Position>, StoreError> {
    rows.iter().filter_map(|row| row::read(row, 0).transpose()).collect()
}

pub(super) async fn ledgers(
    client: &impl GenericClient,
    vehicle: &VehicleKey,
) -> Result<Vec<EpochLedger>, StoreError> {
    // What was declared lost and arrived all the same counts as received only.
    let sql = format!(
        "SELECT e.epoch, e.next_sequence, e.received::text, l.first, l.last, l.reason FROM epochs e
         CROSS JOIN LATERAL (
             SELECT coalesce(array_agg(lower(part) ORDER BY part), '{{}}') AS first,
                 coalesce(array_agg(upper(part) - 1 ORDER BY part), '{{}}') AS last,
                 coalesce(array_agg(reason::int ORDER BY part), '{{}}') AS reason
             FROM lost, unnest(int8multirange(int8range(first, last, '[]')) - e.received) AS part
             WHERE epoch_id = e.id
         ) AS l
         WHERE e.vehicle_id = {VEHICLE_ID} ORDER BY e.id"
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&vehicle.fleet.as_str(), &vehicle.vehicle.as_str()]).await?;
    rows.iter().map(ledger).collect()
}

fn ledger(row: &Row) -> Result<EpochLedger, StoreError> {
    let (first, last): (Vec<i64>, Vec<i64>) = (row.try_get(3)?, row.try_get(4)?);
    let reasons: Vec<i32> = row.try_get(5)?;
    let lost = first.into_iter().zip(last).zip(reasons).filter_map(|((first, last), reason)| {
        let range = SequenceRange::new(first.cast_unsigned(), last.cast_unsigned())?;
        Some((range, LossReason::try_from(reason).unwrap_or(LossReason::Unspecified)))
    });
    Ok(EpochLedger {
        epoch: epoch(row.try_get(0)?)?,
        next_sequence: row.try_get::<_, i64>(1)?.cast_unsigned(),
        received: from_multirange(row.try_get(2)?)?,
        lost: lost.collect(),
    })
}

fn epoch(number: i64) -> Result<Epoch, StoreError> {
    let epoch = u32::try_from(number).map_err(|_| StoreError::Corrupt(format!("an epoch is {number}")))?;
    Ok(Epoch(epoch))
}

pub(super) async fn received_within(
    client: &mut Client,
    vehicle: &VehicleKey,
    from: UtcMillis,
    to: UtcMillis,
) -> Result<Vec<(Epoch, RangeSet)>, StoreError> {
    // Both questions are about the same commit.
    let snapshot = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
    let outside = format!(
        "SELECT EXISTS (SELECT 1 FROM positions WHERE vehicle_id = {VEHICLE_ID} AND time < $3)
             OR EXISTS (SELECT 1 FROM positions WHERE vehicle_id = {VEHICLE_ID} AND time >= $4)"
    );
    let statement = snapshot.prepare_cached(&outside).await?;
    let outside: bool = snapshot.query_one(&statement, &[&fleet, &name, &from, &to]).await?.try_get(0)?;
    if !outside {
        // The ledger says the same without reading a row of the track.
        let ledgers = ledgers(&snapshot, vehicle).await?.into_iter();
        return Ok(ledgers
            .map(|ledger| (ledger.epoch, ledger.received))
            .filter(|(_, set)| !set.is_empty())
            .collect());
    }
    // Within a run of consecutive numbers, number minus row number is constant.
    let runs = format!(
        "SELECT e.epoch, runs.first, runs.last FROM (
            SELECT epoch, min(sequence) AS first, max(sequence) AS last FROM (
                SELECT epoch, sequence, sequence - row_number() OVER (PARTITION BY epoch ORDER BY sequence) AS run
                FROM positions WHERE vehicle_id = {VEHICLE_ID} AND time >= $3 AND time < $4
            ) AS numbered GROUP BY epoch, run
        ) AS runs JOIN epochs e ON e.vehicle_id = {VEHICLE_ID} AND e.epoch = runs.epoch ORDER BY e.id, runs.first"
    );
    let statement = snapshot.prepare_cached(&runs).await?;
    let mut sets: Vec<(Epoch, RangeSet)> = Vec::new();
    for row in snapshot.query(&statement, &[&fleet, &name, &from, &to]).await? {
        let (number, first, last): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (found, range) =
            (epoch(number)?, SequenceRange::new(first.cast_unsigned(), last.cast_unsigned()));
        let Some(range) = range else { continue };
        match sets.last_mut() {
            Some((current, set)) if *current == found => {
                set.insert(range);
            }
            _ => sets.push((found, [range].into_iter().collect())),
        }
    }
    Ok(sets)
}
