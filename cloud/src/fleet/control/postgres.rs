//! Orders and answers in the shared database.

use std::time::Duration;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::link::{Command, CommandResult, ConfigState};
use deadpool_postgres::{Client, Transaction};
use prost::Message as _;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::table::{
    Answer, CommandRecord, ConfigurationRecord, MAX_KEPT, MAX_WAITING, OrderTable, ResultRecord, Seen,
    Wanted, check_toml, new_order, outcome, unknown_command, wanted,
};
use super::{Action, ControlError, releases};
use crate::fleet::StorageError;
use crate::fleet::bell::{Bell, ring};
use crate::fleet::database::FleetDatabase;

pub(super) struct PostgresOrders(pub(super) FleetDatabase);

type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

const SELECT_COMMAND: &str =
    "SELECT id, action, state, detail, created_at, expires_at, updated_at, media_type,
    (SELECT coalesce(sum(length(payload)), 0)::bigint FROM command_results r WHERE r.seq = commands.seq)
    FROM commands WHERE fleet = $1 AND vehicle = $2";

impl PostgresOrders {
    async fn client(&self) -> Result<Client, ControlError> {
        Ok(self.0.client().await?)
    }

    async fn rows(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, ControlError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query(&statement, values).await?)
    }

    /// An order for a vehicle whose name is misspelt would wait for ever.
    async fn require_known(&self, vehicle: &VehicleKey) -> Result<(), ControlError> {
        let sql = "SELECT 1 FROM vehicles WHERE fleet = $1 AND vehicle = $2";
        let found = self.rows(sql, &[&vehicle.fleet.as_str(), &vehicle.vehicle.as_str()]).await?;
        if found.is_empty() { Err(ControlError::UnknownVehicle(vehicle.clone())) } else { Ok(()) }
    }
}

async fn execute(transaction: &Transaction<'_>, sql: &str, values: Values<'_>) -> Result<u64, StorageError> {
    let statement = transaction.prepare_cached(sql).await?;
    Ok(transaction.execute(&statement, values).await?)
}

async fn query(
    transaction: &Transaction<'_>,
    sql: &str,
    values: Values<'_>,
) -> Result<Option<Row>, StorageError> {
    let statement = transaction.prepare_cached(sql).await?;
    Ok(transaction.query_opt(&statement, values).await?)
}

/// The next number; whoever gives an order after this one waits until it is committed, and is told of it then.
async fn number(transaction: &Transaction<'_>) -> Result<i64, StorageError> {
    let sql = "UPDATE counters SET value = value + 1 WHERE name = 'orders' RETURNING value";
    let row = query(transaction, sql, &[]).await?;
    ring(transaction).await?;
    let row = row.ok_or_else(|| StorageError::Database("the counter of orders is gone".to_owned()))?;
    Ok(row.try_get(0)?)
}

#[async_trait]
impl OrderTable for PostgresOrders {
    async fn order(
        &self,
        vehicle: &VehicleKey,
        action: &Action,
        life: Duration,
        now: UtcMillis,
    ) -> Result<CommandRecord, ControlError> {
        self.require_known(vehicle).await?;
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let seq = number(&transaction).await?;
        let sql = "SELECT count(*) FROM commands
             WHERE fleet = $1 AND vehicle = $2 AND state IN ('waiting', 'sent') AND expires_at > $3";
        let row = query(&transaction, sql, &[&fleet, &name, &now]).await?;
        let waiting: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        if waiting >= i64::from(MAX_WAITING) {
            return Err(ControlError::TooMany { vehicle: vehicle.clone(), limit: MAX_WAITING });
        }
        let release = match action {
            Action::Update { version, target } => {
                Some(releases::postgres::find(&transaction, *version, target.as_deref()).await?)
            }
            _ => None,
        };
        let order = new_order(action, release, life, now)?;
        let (id, expires, message) = (order.id.clone(), order.expires_ms, order.encode_to_vec());
        execute(
            &transaction,
            "INSERT INTO commands (seq, id, fleet, vehicle, action, message, state, created_at, expires_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'waiting', $7, $8, $7)",
            &[&seq, &id, &fleet, &name, &action.name(), &message, &now, &expires],
        )
        .await?;
        execute(
            &transaction,
            "DELETE FROM commands WHERE fleet = $1 AND vehicle = $2 AND seq <= (SELECT seq FROM commands
             WHERE fleet = $1 AND vehicle = $2 ORDER BY seq DESC LIMIT 1 OFFSET $3)",
            &[&fleet, &name, &i64::from(MAX_KEPT)],
        )
        .await?;
        transaction.commit().await?;
        drop(client);
        self.command(vehicle, &id).await
    }

    async fn configure(
        &self,
        vehicle: &VehicleKey,
        toml: &str,
        now: UtcMillis,
    ) -> Result<ConfigurationRecord, ControlError> {
        check_toml(toml)?;
        self.require_known(vehicle).await?;
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let seq = number(&transaction).await?;
        let sql = "SELECT coalesce(max(version), 0) FROM configurations WHERE fleet = $1 AND vehicle = $2";
        let row = query(&transaction, sql, &[&fleet, &name]).await?;
        let version = row.map_or(Ok(0), |row| row.try_get::<_, i64>(0))? + 1;
        execute(
            &transaction,
            "INSERT INTO configurations (seq, fleet, vehicle, version, toml, state, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $6)",
            &[&seq, &fleet, &name, &version, &toml, &now],
        )
        .await?;
        execute(
            &transaction,
            "DELETE FROM configurations WHERE fleet = $1 AND vehicle = $2 AND version < $3",
            &[&fleet, &name, &(version - i64::from(MAX_KEPT))],
        )
        .await?;
        transaction.commit().await?;
        drop(client);
        self.configuration(vehicle).await?.ok_or(ControlError::Stopped)
    }

    async fn commands(&self, vehicle: &VehicleKey, limit: u32) -> Result<Vec<CommandRecord>, ControlError> {
        self.require_known(vehicle).await?;
        let sql = format!("{SELECT_COMMAND} ORDER BY seq DESC LIMIT $3");
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let rows = self.rows(&sql, &[&fleet, &name, &i64::from(limit)]).await?;
        rows.iter().map(command_record).collect()
    }

    async fn command(&self, vehicle: &VehicleKey, id: &str) -> Result<CommandRecord, ControlError> {
        // PostgreSQL's text has no NUL, and no id has one.
        let unknown = || unknown_command(vehicle, id);
        if id.contains('\0') {
            return Err(unknown());
        }
        let sql = format!("{SELECT_COMMAND} AND id = $3");
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let rows = self.rows(&sql, &[&fleet, &name, &id]).await?;
        command_record(rows.first().ok_or_else(unknown)?)
    }

    async fn result(&self, vehicle: &VehicleKey, id: &str) -> Result<Option<ResultRecord>, ControlError> {
        let record = self.command(vehicle, id).await?;
        let sql = "SELECT payload FROM command_results WHERE seq =
             (SELECT seq FROM commands WHERE fleet = $1 AND vehicle = $2 AND id = $3) ORDER BY part";
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let mut bytes = Vec::new();
        for row in self.rows(sql, &[&fleet, &name, &id]).await? {
            bytes.extend_from_slice(row.try_get(0)?);
        }
        Ok((!bytes.is_empty()).then_some(ResultRecord { media_type: record.media_type, bytes }))
    }

    async fn configuration(&self, vehicle: &VehicleKey) -> Result<Option<ConfigurationRecord>, ControlError> {
        self.require_known(vehicle).await?;
        let sql = "SELECT version, toml, state, detail, created_at, updated_at FROM configurations
             WHERE fleet = $1 AND vehicle = $2 ORDER BY version DESC LIMIT 1";
        let rows = self.rows(sql, &[&vehicle.fleet.as_str(), &vehicle.vehicle.as_str()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(ConfigurationRecord {
            version: positive(row.try_get(0)?),
            toml: row.try_get(1)?,
            state: row.try_get(2)?,
            detail: row.try_get(3)?,
            created_at: row.try_get(4)?,
            updated_at: row.try_get(5)?,
        }))
    }

    async fn open_orders(
        &self,
        vehicle: &VehicleKey,
        now: UtcMillis,
    ) -> Result<(Vec<Command>, Option<Wanted>), ControlError> {
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        if self.require_known(vehicle).await.is_err() {
            // Whoever asks for its orders can be given some, before its hello is processed.
            let sql =
                "INSERT INTO vehicles (fleet, vehicle) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1";
            self.rows(sql, &[&fleet, &name]).await?;
        }
        let sql = "SELECT message FROM commands WHERE fleet = $1 AND vehicle = $2
             AND (state = 'accepted' OR (state IN ('waiting', 'sent') AND expires_at > $3)) ORDER BY seq";
        let rows = self.rows(sql, &[&fleet, &name, &now]).await?;
        let mut commands = Vec::with_capacity(rows.len());
        for row in &rows {
            commands.extend(Command::decode(row.try_get::<_, &[u8]>(0)?).ok());
        }
        let sql = "SELECT version, toml, state FROM configurations WHERE fleet = $1 AND vehicle = $2
             ORDER BY version DESC LIMIT 1";
        let newest = self.rows(sql, &[&fleet, &name]).await?;
        let configuration = match newest.first() {
            Some(row) => wanted(positive(row.try_get(0)?), row.try_get(1)?, row.try_get(2)?),
            None => None,
        };
        Ok((commands, configuration))
    }

    async fn sent(
        &self,
        vehicle: &VehicleKey,
        commands: Vec<String>,
        config_version: u64,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let version = i64::try_from(config_version).unwrap_or(i64::MAX);
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        execute(
            &transaction,
            "UPDATE commands SET state = 'sent', updated_at = $4
             WHERE fleet = $1 AND vehicle = $2 AND id = ANY ($3) AND state = 'waiting'",
            &[&fleet, &name, &commands, &now],
        )
        .await?;
        execute(
            &transaction,
            "UPDATE configurations SET state = 'sent', updated_at = $4
             WHERE fleet = $1 AND vehicle = $2 AND version = $3 AND state = 'waiting'",
            &[&fleet, &name, &version, &now],
        )
        .await?;
        Ok(transaction.commit().await?)
    }

    async fn take_result(
        &self,
        vehicle: &VehicleKey,
        result: CommandResult,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        // A vehicle's word, which may be anything.
        let id: String = result.id.chars().filter(|&letter| letter != '\0').collect();
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let sql = "SELECT seq FROM commands WHERE fleet = $1 AND vehicle = $2 AND id = $3 FOR UPDATE";
        let Some(row) = query(&transaction, sql, &[&fleet, &name, &id]).await? else {
            tracing::warn!(%vehicle, "a result for a command that is not known here any more: dropped");
            return Ok(());
        };
        let seq: i64 = row.try_get(0)?;
        let Some(Answer { state, detail, media_type, part }) = Answer::of(vehicle, result) else {
            return Ok(());
        };
        // What was final stays: a repeated "accepted" does not open it again.
        execute(
            &transaction,
            "UPDATE commands SET state = $2, detail = $3, media_type = $4, updated_at = $5
             WHERE seq = $1 AND state IN ('waiting', 'sent', 'accepted', $2)",
            &[&seq, &state, &detail, &media_type, &now],
        )
        .await?;
        if let Some((part, payload)) = part {
            execute(
                &transaction,
                "INSERT INTO command_results (seq, part, payload) VALUES ($1, $2, $3)
                 ON CONFLICT (seq, part) DO UPDATE SET payload = excluded.payload",
                &[&seq, &part, &payload],
            )
            .await?;
        }
        transaction.commit().await?;
        tracing::info!(%vehicle, id, state, "command answered");
        Ok(())
    }

    async fn take_config_state(
        &self,
        vehicle: &VehicleKey,
        state: ConfigState,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let Some((outcome, detail, version)) = outcome(&state) else { return Ok(()) };
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let sql = "UPDATE configurations SET state = $4, detail = $5, updated_at = $6
             WHERE fleet = $1 AND vehicle = $2 AND version = $3 RETURNING 1";
        self.rows(sql, &[&fleet, &name, &version, &outcome, &detail, &now]).await?;
        tracing::info!(%vehicle, version, outcome, "configuration answered");
        Ok(())
    }

    async fn fresh(
        &self,
        seen: Option<Seen>,
        now: UtcMillis,
    ) -> Result<(Vec<VehicleKey>, Seen), ControlError> {
        let sql = "SELECT value, EXISTS (SELECT 1 FROM commands WHERE state IN ('waiting', 'sent') AND expires_at <= $1)
             FROM counters WHERE name = 'orders'";
        let rows = self.rows(sql, &[&now]).await?;
        let Some(row) = rows.first() else { return Ok((Vec::new(), (0, 0))) };
        let (last, overdue): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        if overdue {
            let sql = "UPDATE commands SET state = 'expired', updated_at = $1, detail = 'the vehicle did not answer in time'
                 WHERE seq IN (SELECT seq FROM commands WHERE state IN ('waiting', 'sent') AND expires_at <= $1
                 LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING 1";
            self.rows(sql, &[&now]).await?;
        }
        let (since, _) = seen.unwrap_or((last, last));
        let mut vehicles = Vec::new();
        if since != last {
            let sql = "SELECT fleet || '/' || vehicle FROM commands WHERE seq > $1
                 UNION SELECT fleet || '/' || vehicle FROM configurations WHERE seq > $1";
            for row in self.rows(sql, &[&since]).await? {
                vehicles.extend(row.try_get::<_, &str>(0)?.parse::<VehicleKey>().ok());
            }
        }
        Ok((vehicles, (last, last)))
    }

    fn bell(&self) -> Bell {
        self.0.bell()
    }
}

/// Versions and lengths are never negative.
fn positive(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn command_record(row: &Row) -> Result<CommandRecord, ControlError> {
    Ok(CommandRecord {
        id: row.try_get(0)?,
        action: row.try_get(1)?,
        state: row.try_get(2)?,
        detail: row.try_get(3)?,
        created_at: row.try_get(4)?,
        expires_at: row.try_get(5)?,
        updated_at: row.try_get(6)?,
        media_type: row.try_get(7)?,
        result_bytes: positive(row.try_get(8)?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Control, conformance};
    use crate::fleet::database::testing::{Shared, shared};

    fn fresh() -> Option<(Shared, [Control; 2])> {
        let shared = shared()?;
        let both = [Control::shared(&shared.database), Control::shared(&shared.database)];
        Some((shared, both))
    }

    conformance::suite!(fresh);
}
