//! The account of a whole fleet, by SQL: what arrived, what is missing, and how long it took.

use std::collections::HashMap;

use avl_shared::fix::UtcMillis;
use avl_shared::identity::FleetId;
use serde::Serialize;
use tokio_postgres::Row;

use super::connect::Address;
use super::error::OpenError;
use super::settings::{DatabaseSettings, DatabaseSettingsError};

/// From a fix's GNSS time to its receipt in the cloud, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Fixes with a GNSS time in the period.
    pub fixes: u64,
    pub p50_ms: i64,
    pub p99_ms: i64,
    pub max_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VehicleAccount {
    pub vehicle: String,
    pub received: u64,
    pub missing: u64,
    pub lost: u64,
    pub latency: Option<Latency>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FleetAccount {
    pub received: u64,
    pub missing: u64,
    pub lost: u64,
    pub latency: Option<Latency>,
    pub vehicles: Vec<VehicleAccount>,
}

const COMPLETENESS: &str = "SELECT v.id, c.fleet, c.vehicle, sum(c.received)::bigint, sum(c.lost)::bigint, \
     sum((SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM unnest(c.missing) r))::bigint \
     FROM completeness c JOIN vehicles v USING (fleet, vehicle) WHERE $1::text IS NULL OR c.fleet = $1 \
     GROUP BY v.id, c.fleet, c.vehicle ORDER BY c.fleet, c.vehicle";

/// The row without a vehicle is that of all of them.
const LATENCY: &str = "SELECT vehicle_id, count(*), \
     (percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY received_at - time))[1], \
     (percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY received_at - time))[2], \
     max(received_at - time) FROM positions \
     WHERE gnss_time AND time >= $2 AND vehicle_id IN (SELECT id FROM vehicles WHERE $1::text IS NULL OR fleet = $1) \
     GROUP BY GROUPING SETS ((vehicle_id), ())";

/// Of one fleet, or of all; latencies of fixes from `since` on. As the ledger stands: what the journal holds beyond it
/// is not counted.
///
/// # Errors
/// When the database cannot be read.
pub async fn account(
    settings: &DatabaseSettings,
    fleet: Option<&FleetId>,
    since: UtcMillis,
) -> Result<FleetAccount, OpenError> {
    let url = settings.url.as_ref().ok_or(DatabaseSettingsError::Missing)?;
    // Millions of rows may take longer than a request may.
    let client = Address::new(settings, url, "database.url")?.connect().await?;
    let fleet = fleet.map(FleetId::as_str);
    let mut latencies: HashMap<Option<i32>, Latency> = HashMap::new();
    for row in client.query(LATENCY, &[&fleet, &since]).await? {
        if let Some(latency) = latency(&row)? {
            latencies.insert(row.try_get(0)?, latency);
        }
    }
    let mut account = FleetAccount {
        received: 0,
        missing: 0,
        lost: 0,
        latency: latencies.remove(&None),
        vehicles: Vec::new(),
    };
    for row in client.query(COMPLETENESS, &[&fleet]).await? {
        let (id, fleet, vehicle): (i32, &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let vehicle = VehicleAccount {
            vehicle: format!("{fleet}/{vehicle}"),
            received: count(&row, 3)?,
            lost: count(&row, 4)?,
            missing: count(&row, 5)?,
            latency: latencies.remove(&Some(id)),
        };
        account.received += vehicle.received;
        account.lost += vehicle.lost;
        account.missing += vehicle.missing;
        account.vehicles.push(vehicle);
    }
    Ok(account)
}

fn latency(row: &Row) -> Result<Option<Latency>, OpenError> {
    let fixes = count(row, 1)?;
    if fixes == 0 {
        return Ok(None);
    }
    Ok(Some(Latency { fixes, p50_ms: row.try_get(2)?, p99_ms: row.try_get(3)?, max_ms: row.try_get(4)? }))
}

fn count(row: &Row, column: usize) -> Result<u64, OpenError> {
    Ok(row.try_get::<_, i64>(column)?.cast_unsigned())
}
