//! One commit: owner, ledger, rows and the place in the journal, in one transaction of a few statements, whatever the
//! number of vehicles and fixes.

use avl_shared::identity::VehicleKey;
use avl_shared::sequence::{Epoch, SequenceRange};
use deadpool_postgres::{Client, Transaction};
use tokio::try_join;
use tokio_postgres::types::ToSql;

use super::merge::{HeldEpoch, HeldVehicle, Loaded, Merged, Touched, merge};
use super::ranges::{from_multirange, to_multirange};
use super::{copy, row};
use crate::event::Event;
use crate::journal::Partition;
use crate::store::{Claim, Commit, Committed, Position, Published, Refused, StoreError};

pub(super) async fn claim(client: &Client, partition: Partition, owner: &str) -> Result<Claim, StoreError> {
    // Waits for the commit of an earlier owner that is at work.
    let statement = client
        .prepare_cached(
            "INSERT INTO partitions (partition, next_offset, generation, owner, claimed_at) VALUES ($1, 0, 1, $2, now())
             ON CONFLICT (partition) DO UPDATE
             SET generation = partitions.generation + 1, owner = excluded.owner, claimed_at = now()
             RETURNING next_offset, published_offset, published_event, generation",
        )
        .await?;
    let row = client.query_one(&statement, &[&i64::from(partition.0), &owner]).await?;
    let (next_offset, published_offset, published_event, generation): (i64, i64, i64, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    Ok(Claim {
        next_offset: next_offset.cast_unsigned(),
        published_offset: published_offset.cast_unsigned(),
        published_event: published_event.cast_unsigned(),
        generation: generation.cast_unsigned(),
    })
}

pub(super) async fn published(
    client: &Client,
    partition: Partition,
    generation: u64,
    published: Published,
) -> Result<(), StoreError> {
    let statement = client
        .prepare_cached(
            "UPDATE partitions SET published_offset = greatest(published_offset, $1),
                 published_event = greatest(published_event, $2)
             WHERE partition = $3 AND generation = $4",
        )
        .await?;
    let (offset, event) = (published.offset.cast_signed(), published.event.cast_signed());
    let generation = generation.cast_signed();
    match client.execute(&statement, &[&offset, &event, &i64::from(partition.0), &generation]).await? {
        0 => Err(StoreError::Fenced { partition }),
        _ => Ok(()),
    }
}

/// In their order. What was said before is not said again. Returns how many are new.
async fn save_events(
    transaction: &Transaction<'_>,
    partition: Partition,
    events: &[Event],
) -> Result<u64, StoreError> {
    if events.is_empty() {
        return Ok(0);
    }
    let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
    let vehicles: Vec<String> = events.iter().map(|event| event.vehicle.to_string()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.name()).collect();
    let times: Vec<i64> = events.iter().map(|event| event.time).collect();
    let messages: Vec<Vec<u8>> = events.iter().map(Event::message).collect();
    let statement = transaction
        .prepare_cached(
            "INSERT INTO events (partition, id, vehicle, kind, time, message)
             SELECT $1, k.id::uuid, k.vehicle, k.kind, k.time, k.message
             FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[]) WITH ORDINALITY
                 AS k (id, vehicle, kind, time, message, number)
             ORDER BY k.number ON CONFLICT DO NOTHING",
        )
        .await?;
    let partition = i64::from(partition.0);
    Ok(transaction.execute(&statement, &[&partition, &ids, &vehicles, &kinds, &times, &messages]).await?)
}

/// Few, if any.
async fn save_refused(transaction: &Transaction<'_>, commit: &Commit) -> Result<(), StoreError> {
    for Refused { offset, reason, key, received_at, bytes } in &commit.refused {
        let statement = transaction
            .prepare_cached(
                "INSERT INTO refused (partition, \"offset\", reason, key, received_at, bytes)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .await?;
        // PostgreSQL's texts hold no zero bytes.
        let (reason, key) = (reason.replace('\0', "\u{fffd}"), key.replace('\0', "\u{fffd}"));
        let (offset, bytes) = (offset.cast_signed(), bytes.cast_signed());
        let partition = i64::from(commit.partition.0);
        transaction.execute(&statement, &[&partition, &offset, &reason, &key, received_at, &bytes]).await?;
    }
    Ok(())
}

pub(super) async fn commit(client: &mut Client, commit: &Commit) -> Result<Committed, StoreError> {
    let touched = Touched::by(&commit.changes)?;
    let transaction = client.transaction().await?;
    advance(&transaction, commit).await?;
    save_refused(&transaction, commit).await?;
    let loaded = load(&transaction, &touched).await?;
    let ids: Ids = Ids::of(&loaded);
    let merged = merge(&commit.changes, &touched, loaded);
    if merged.stored > 0 {
        copy::copy_in(&transaction, merged.rows()).await?;
    }
    // Sent at once: none waits for another's answer.
    try_join!(
        save_epochs(&transaction, &ids.epochs, &merged),
        save_lost(&transaction, &merged),
        save_counts(&transaction, &ids.vehicles, &merged),
        save_states(&transaction, &ids.vehicles, &merged),
    )?;
    let events = save_events(&transaction, commit.partition, &merged.events).await?;
    transaction.commit().await?;
    let Merged { vehicles, stored, duplicates, fresh, .. } = merged;
    let mut newest: Vec<(VehicleKey, Position)> = touched
        .vehicles
        .iter()
        .zip(vehicles)
        .filter_map(|(&vehicle, news)| Some((vehicle.clone(), news.newest?)))
        .collect();
    newest.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(Committed { stored, duplicates, fresh, events, newest })
}

struct Ids {
    vehicles: Vec<i32>,
    epochs: Vec<i32>,
}

impl Ids {
    fn of(loaded: &Loaded) -> Self {
        Self {
            vehicles: loaded.vehicles.iter().map(|held| held.id).collect(),
            epochs: loaded.epochs.iter().map(|held| held.id).collect(),
        }
    }
}

/// First in its transaction: an owner that was replaced is turned away before it does any work, and commits of one
/// partition wait for each other.
async fn advance(transaction: &Transaction<'_>, commit: &Commit) -> Result<(), StoreError> {
    let statement = transaction
        .prepare_cached(
            "UPDATE partitions SET next_offset = greatest(next_offset, $1) WHERE partition = $2 AND generation = $3",
        )
        .await?;
    let (next, generation) = (commit.next_offset.cast_signed(), commit.generation.cast_signed());
    match transaction.execute(&statement, &[&next, &i64::from(commit.partition.0), &generation]).await? {
        0 => Err(StoreError::Fenced { partition: commit.partition }),
        _ => Ok(()),
    }
}

async fn load(transaction: &Transaction<'_>, touched: &Touched<'_>) -> Result<Loaded, StoreError> {
    let vehicles = load_vehicles(transaction, &touched.vehicles).await?;
    let epochs = load_epochs(transaction, touched, &vehicles).await?;
    Ok(Loaded { vehicles, epochs })
}

async fn load_vehicles(
    transaction: &Transaction<'_>,
    keys: &[&VehicleKey],
) -> Result<Vec<HeldVehicle>, StoreError> {
    let fleets: Vec<&str> = keys.iter().map(|key| key.fleet.as_str()).collect();
    let names: Vec<&str> = keys.iter().map(|key| key.vehicle.as_str()).collect();
    let statement = transaction
        .prepare_cached(
            "SELECT k.place, v.id, s.time, s.epoch, s.sequence
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (fleet, vehicle, place)
             JOIN vehicles v ON v.fleet = k.fleet AND v.vehicle = k.vehicle
             LEFT JOIN states s ON s.vehicle_id = v.id ORDER BY k.place",
        )
        .await?;
    let mut rows = transaction.query(&statement, &[&fleets, &names]).await?;
    if rows.len() < keys.len() {
        let insert = transaction
            .prepare_cached(
                "INSERT INTO vehicles (fleet, vehicle)
                 SELECT k.fleet, k.vehicle FROM unnest($1::text[], $2::text[]) AS k (fleet, vehicle)
                 WHERE NOT EXISTS (SELECT 1 FROM vehicles v WHERE v.fleet = k.fleet AND v.vehicle = k.vehicle)
                 ORDER BY k.fleet, k.vehicle ON CONFLICT DO NOTHING",
            )
            .await?;
        transaction.execute(&insert, &[&fleets, &names]).await?;
        rows = transaction.query(&statement, &[&fleets, &names]).await?;
    }
    complete(rows.len(), keys.len(), "vehicles")?;
    rows.iter()
        .map(|row| {
            let (time, epoch, sequence): (Option<i64>, Option<i64>, Option<i64>) =
                (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            let newest = match (time, epoch, sequence) {
                (Some(time), Some(epoch), Some(sequence)) => {
                    Some((time, Epoch(u32::try_from(epoch).unwrap_or(u32::MAX)), sequence.cast_unsigned()))
                }
                _ => None,
            };
            Ok(HeldVehicle { id: row.try_get(1)?, newest })
        })
        .collect()
}

/// Locks the epochs: what is read here is still so when it is written.
async fn load_epochs(
    transaction: &Transaction<'_>,
    touched: &Touched<'_>,
    vehicles: &[HeldVehicle],
) -> Result<Vec<HeldEpoch>, StoreError> {
    let ids: Vec<i32> = touched.epochs.iter().map(|&(vehicle, _)| vehicles[vehicle].id).collect();
    let epochs: Vec<i64> = touched.epochs.iter().map(|(_, epoch)| i64::from(epoch.0)).collect();
    let windows: Vec<String> = touched.windows.iter().map(to_multirange).collect();
    let statement = transaction
        .prepare_cached(
            "SELECT k.place, e.id, (e.received * k.numbers::int8multirange)::text
             FROM unnest($1::int[], $2::bigint[], $3::text[]) WITH ORDINALITY AS k (vehicle_id, epoch, numbers, place)
             JOIN epochs e ON e.vehicle_id = k.vehicle_id AND e.epoch = k.epoch ORDER BY e.id FOR UPDATE OF e",
        )
        .await?;
    let mut rows = transaction.query(&statement, &[&ids, &epochs, &windows]).await?;
    if rows.len() < ids.len() {
        let insert = transaction
            .prepare_cached(
                "INSERT INTO epochs (vehicle_id, epoch)
                 SELECT k.vehicle_id, k.epoch
                 FROM unnest($1::int[], $2::bigint[]) WITH ORDINALITY AS k (vehicle_id, epoch, place)
                 WHERE NOT EXISTS (SELECT 1 FROM epochs e WHERE e.vehicle_id = k.vehicle_id AND e.epoch = k.epoch)
                 ORDER BY k.place ON CONFLICT DO NOTHING",
            )
            .await?;
        transaction.execute(&insert, &[&ids, &epochs]).await?;
        rows = transaction.query(&statement, &[&ids, &epochs, &windows]).await?;
    }
    complete(rows.len(), ids.len(), "epochs")?;
    let mut held = vec![HeldEpoch::default(); ids.len()];
    let mut places = std::collections::HashMap::new();
    for row in &rows {
        let place: i64 = row.try_get(0)?;
        let place = usize::try_from(place - 1).unwrap_or(usize::MAX);
        let Some(epoch) = held.get_mut(place) else { continue };
        *epoch = HeldEpoch {
            id: row.try_get(1)?,
            received: from_multirange(row.try_get(2)?)?,
            ..HeldEpoch::default()
        };
        places.insert(epoch.id, place);
    }
    let statement = transaction
        .prepare_cached(
            "SELECT epoch_id, first, last FROM lost WHERE epoch_id = ANY ($1) ORDER BY epoch_id, first",
        )
        .await?;
    let ids: Vec<i32> = held.iter().map(|epoch| epoch.id).collect();
    for row in transaction.query(&statement, &[&ids]).await? {
        let (id, first, last): (i32, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let range = SequenceRange::new(first.cast_unsigned(), last.cast_unsigned());
        if let (Some(&place), Some(range)) = (places.get(&id), range) {
            held[place].lost.insert(range);
            held[place].declared.push(range);
        }
    }
    Ok(held)
}

fn complete(found: usize, wanted: usize, what: &str) -> Result<(), StoreError> {
    if found == wanted {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "{found} of {wanted} {what} are there: another process deletes them"
    )))
}

async fn save_epochs(
    transaction: &Transaction<'_>,
    ids: &[i32],
    merged: &Merged<'_>,
) -> Result<(), StoreError> {
    let received: Vec<String> = merged.epochs.iter().map(|news| to_multirange(&news.received)).collect();
    let next: Vec<i64> = merged.epochs.iter().map(|news| news.next_sequence.cast_signed()).collect();
    // What says nothing new writes nothing.
    let statement = transaction
        .prepare_cached(
            "UPDATE epochs e SET received = e.received + k.received, next_sequence = greatest(e.next_sequence, k.next)
             FROM (SELECT id, received::int8multirange, next
                   FROM unnest($1::int[], $2::text[], $3::bigint[]) AS u (id, received, next)) AS k
             WHERE e.id = k.id AND (e.next_sequence < k.next OR NOT isempty(k.received))",
        )
        .await?;
    transaction.execute(&statement, &[&ids, &received, &next]).await?;
    Ok(())
}

async fn save_lost(transaction: &Transaction<'_>, merged: &Merged<'_>) -> Result<(), StoreError> {
    if merged.lost.is_empty() {
        return Ok(());
    }
    let ids: Vec<i32> = merged.lost.iter().map(|(id, ..)| *id).collect();
    let first: Vec<i64> = merged.lost.iter().map(|(_, range, _)| range.first().cast_signed()).collect();
    let last: Vec<i64> = merged.lost.iter().map(|(_, range, _)| range.last().cast_signed()).collect();
    let reasons: Vec<i32> = merged.lost.iter().map(|(.., reason)| *reason as i32).collect();
    let statement = transaction
        .prepare_cached(
            "INSERT INTO lost (epoch_id, first, last, reason)
             SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::int[])",
        )
        .await?;
    transaction.execute(&statement, &[&ids, &first, &last, &reasons]).await?;
    Ok(())
}

async fn save_counts(
    transaction: &Transaction<'_>,
    ids: &[i32],
    merged: &Merged<'_>,
) -> Result<(), StoreError> {
    let stored: Vec<i64> = merged.vehicles.iter().map(|news| news.stored.cast_signed()).collect();
    let statement = transaction
        .prepare_cached(
            "UPDATE vehicles v SET fixes = v.fixes + k.stored
             FROM unnest($1::int[], $2::bigint[]) AS k (id, stored) WHERE v.id = k.id AND k.stored > 0",
        )
        .await?;
    transaction.execute(&statement, &[&ids, &stored]).await?;
    Ok(())
}

/// The newest rows, column by column.
async fn save_states(
    transaction: &Transaction<'_>,
    ids: &[i32],
    merged: &Merged<'_>,
) -> Result<(), StoreError> {
    let mut columns: [Vec<Option<i64>>; row::WIDTH] = Default::default();
    for (&id, news) in ids.iter().zip(&merged.vehicles) {
        let Some(Position { epoch, sequence, fix, received_at }) = &news.newest else { continue };
        let values = row::values(id, *epoch, *sequence, fix, *received_at);
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    if columns[0].is_empty() {
        return Ok(());
    }
    let statement = transaction.prepare_cached(&upsert_states()).await?;
    let parameters: Vec<&(dyn ToSql + Sync)> =
        columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
    transaction.execute(&statement, &parameters).await?;
    Ok(())
}

fn upsert_states() -> String {
    let names = row::names();
    let arrays: Vec<String> = (1..=row::WIDTH).map(|number| format!("${number}::bigint[]")).collect();
    // Narrower integers are cast by the assignment; only a boolean has to be asked for.
    let selected: Vec<String> = names
        .iter()
        .zip(row::widths())
        .map(|(name, width)| if width == 1 { format!("k.{name} <> 0") } else { format!("k.{name}") })
        .collect();
    let set: Vec<String> = names
        .iter()
        .filter(|name| **name != "vehicle_id")
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(
        "INSERT INTO states ({columns}) SELECT {} FROM unnest({}) AS k ({columns}) \
         ON CONFLICT (vehicle_id) DO UPDATE SET {} \
         WHERE (states.time, states.epoch, states.sequence) < (excluded.time, excluded.epoch, excluded.sequence)",
        selected.join(", "),
        arrays.join(", "),
        set.join(", "),
        columns = row::columns(""),
    )
}
