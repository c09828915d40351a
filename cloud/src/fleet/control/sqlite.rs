//! Orders and answers in the embedded store's file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::link::{Command, CommandResult, ConfigState};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::table::{
    Answer, CommandRecord, ConfigurationRecord, MAX_KEPT, MAX_WAITING, OrderTable, ResultRecord, Seen,
    Wanted, check_toml, new_order, outcome, unknown_command, wanted,
};
use super::{Action, ControlError, releases};
use crate::store::sqlite;

/// Cloning shares it.
#[derive(Clone)]
pub(super) struct SqliteOrders(Arc<Mutex<Table>>);

impl SqliteOrders {
    pub(super) fn open(store: &Path) -> Result<Self, ControlError> {
        Ok(Self(Arc::new(Mutex::new(Table::open(store)?))))
    }

    /// Off the async threads.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Table) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let table = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
            work(&mut table.lock().unwrap_or_else(PoisonError::into_inner))
        });
        task.await.map_err(|_| ControlError::Stopped)?
    }
}

#[async_trait]
impl OrderTable for SqliteOrders {
    async fn order(
        &self,
        vehicle: &VehicleKey,
        action: &Action,
        life: Duration,
        now: UtcMillis,
    ) -> Result<CommandRecord, ControlError> {
        let (vehicle, action) = (vehicle.clone(), action.clone());
        self.work(move |table| table.order(&vehicle, &action, life, now)).await
    }

    async fn configure(
        &self,
        vehicle: &VehicleKey,
        toml: &str,
        now: UtcMillis,
    ) -> Result<ConfigurationRecord, ControlError> {
        let (vehicle, toml) = (vehicle.clone(), toml.to_owned());
        self.work(move |table| table.configure(&vehicle, &toml, now)).await
    }

    async fn commands(&self, vehicle: &VehicleKey, limit: u32) -> Result<Vec<CommandRecord>, ControlError> {
        let vehicle = vehicle.clone();
        self.work(move |table| table.commands(&vehicle, limit)).await
    }

    async fn command(&self, vehicle: &VehicleKey, id: &str) -> Result<CommandRecord, ControlError> {
        let (vehicle, id) = (vehicle.clone(), id.to_owned());
        self.work(move |table| table.command(&vehicle, &id)).await
    }

    async fn result(&self, vehicle: &VehicleKey, id: &str) -> Result<Option<ResultRecord>, ControlError> {
        let (vehicle, id) = (vehicle.clone(), id.to_owned());
        self.work(move |table| table.result(&vehicle, &id)).await
    }

    async fn configuration(&self, vehicle: &VehicleKey) -> Result<Option<ConfigurationRecord>, ControlError> {
        let vehicle = vehicle.clone();
        self.work(move |table| table.configuration(&vehicle)).await
    }

    async fn open_orders(
        &self,
        vehicle: &VehicleKey,
        now: UtcMillis,
    ) -> Result<(Vec<Command>, Option<Wanted>), ControlError> {
        let vehicle = vehicle.clone();
        self.work(move |table| table.open_orders(&vehicle, now)).await
    }

    async fn sent(
        &self,
        vehicle: &VehicleKey,
        commands: Vec<String>,
        config_version: u64,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let vehicle = vehicle.clone();
        self.work(move |table| table.sent(&vehicle, &commands, config_version, now)).await
    }

    async fn take_result(
        &self,
        vehicle: &VehicleKey,
        result: CommandResult,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let vehicle = vehicle.clone();
        self.work(move |table| table.take_result(&vehicle, result, now)).await
    }

    async fn take_config_state(
        &self,
        vehicle: &VehicleKey,
        state: ConfigState,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let vehicle = vehicle.clone();
        self.work(move |table| table.take_config_state(&vehicle, &state, now)).await
    }

    async fn fresh(
        &self,
        seen: Option<Seen>,
        now: UtcMillis,
    ) -> Result<(Vec<VehicleKey>, Seen), ControlError> {
        self.work(move |table| table.fresh(seen, now)).await
    }
}

struct Table {
    connection: Connection,
}

impl Table {
    fn open(store: &Path) -> Result<Self, ControlError> {
        Ok(Self { connection: sqlite::open(store)? })
    }

    fn order(
        &mut self,
        vehicle: &VehicleKey,
        action: &Action,
        life: Duration,
        now: UtcMillis,
    ) -> Result<CommandRecord, ControlError> {
        let transaction = self.begin()?;
        require_known(&transaction, vehicle)?;
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let waiting: u32 = transaction.query_row(
            "SELECT count(*) FROM commands WHERE fleet = ? AND vehicle = ? AND state IN ('waiting', 'sent') AND expires_at > ?",
            params![fleet, name, now],
            |row| row.get(0),
        )?;
        if waiting >= MAX_WAITING {
            return Err(ControlError::TooMany { vehicle: vehicle.clone(), limit: MAX_WAITING });
        }
        let release = match action {
            Action::Update { version, target } => {
                Some(releases::sqlite::find(&transaction, *version, target.as_deref())?)
            }
            _ => None,
        };
        let order = new_order(action, release, life, now)?;
        let (id, expires_ms) = (order.id.clone(), order.expires_ms);
        transaction.execute(
            "INSERT INTO commands (id, fleet, vehicle, action, message, state, created_at, expires_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', ?6, ?7, ?6)",
            params![id, fleet, name, action.name(), order.encode_to_vec(), now, expires_ms],
        )?;
        transaction.execute(
            "DELETE FROM commands WHERE fleet = ?1 AND vehicle = ?2 AND seq <= (SELECT seq FROM commands
             WHERE fleet = ?1 AND vehicle = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)",
            params![fleet, name, MAX_KEPT],
        )?;
        transaction.commit()?;
        self.command(vehicle, &id)
    }

    fn configure(
        &mut self,
        vehicle: &VehicleKey,
        toml: &str,
        now: UtcMillis,
    ) -> Result<ConfigurationRecord, ControlError> {
        check_toml(toml)?;
        let transaction = self.begin()?;
        require_known(&transaction, vehicle)?;
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let last: i64 = transaction.query_row(
            "SELECT coalesce(max(version), 0) FROM configurations WHERE fleet = ? AND vehicle = ?",
            params![fleet, name],
            |row| row.get(0),
        )?;
        transaction.execute(
            "INSERT INTO configurations (fleet, vehicle, version, toml, state, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, 'waiting', ?5, ?5)",
            params![fleet, name, last + 1, toml, now],
        )?;
        transaction.execute(
            "DELETE FROM configurations WHERE fleet = ? AND vehicle = ? AND version < ?",
            params![fleet, name, last + 1 - i64::from(MAX_KEPT)],
        )?;
        transaction.commit()?;
        self.configuration(vehicle)?.ok_or(ControlError::Stopped)
    }

    fn commands(&self, vehicle: &VehicleKey, limit: u32) -> Result<Vec<CommandRecord>, ControlError> {
        require_known(&self.connection, vehicle)?;
        let mut statement =
            self.connection.prepare_cached(&format!("{SELECT_COMMAND} ORDER BY seq DESC LIMIT ?3"))?;
        let rows = statement
            .query_map(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str(), limit], command_record)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn command(&self, vehicle: &VehicleKey, id: &str) -> Result<CommandRecord, ControlError> {
        let mut statement = self.connection.prepare_cached(&format!("{SELECT_COMMAND} AND id = ?3"))?;
        let found = statement
            .query_row(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str(), id], command_record)
            .optional()?;
        found.ok_or_else(|| unknown_command(vehicle, id))
    }

    fn result(&self, vehicle: &VehicleKey, id: &str) -> Result<Option<ResultRecord>, ControlError> {
        let record = self.command(vehicle, id)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT payload FROM command_results WHERE seq = (SELECT seq FROM commands WHERE fleet = ? AND vehicle = ? AND id = ?)
             ORDER BY part",
        )?;
        let parts = statement
            .query_map(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str(), id], |row| {
                row.get::<_, Vec<u8>>(0)
            })?;
        let bytes = parts.collect::<rusqlite::Result<Vec<_>>>()?.concat();
        Ok((!bytes.is_empty()).then_some(ResultRecord { media_type: record.media_type, bytes }))
    }

    fn configuration(&self, vehicle: &VehicleKey) -> Result<Option<ConfigurationRecord>, ControlError> {
        require_known(&self.connection, vehicle)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT version, toml, state, detail, created_at, updated_at FROM configurations
             WHERE fleet = ? AND vehicle = ? ORDER BY version DESC LIMIT 1",
        )?;
        let found = statement.query_row(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str()], |row| {
            Ok(ConfigurationRecord {
                version: number(row, 0)?,
                toml: row.get(1)?,
                state: row.get(2)?,
                detail: row.get(3)?,
                created_at: row.get(4)?,
                updated_at: row.get(5)?,
            })
        });
        Ok(found.optional()?)
    }

    /// Everything that a new connection is sent.
    fn open_orders(
        &mut self,
        vehicle: &VehicleKey,
        now: UtcMillis,
    ) -> Result<(Vec<Command>, Option<Wanted>), ControlError> {
        make_known(&self.connection, vehicle)?;
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let mut statement = self.connection.prepare_cached(
            "SELECT message FROM commands WHERE fleet = ? AND vehicle = ?
             AND (state = 'accepted' OR (state IN ('waiting', 'sent') AND expires_at > ?)) ORDER BY seq",
        )?;
        let messages = statement.query_map(params![fleet, name, now], |row| row.get::<_, Vec<u8>>(0))?;
        let messages = messages.collect::<rusqlite::Result<Vec<_>>>()?;
        let commands = messages.iter().filter_map(|bytes| Command::decode(&**bytes).ok()).collect();
        let mut statement = self.connection.prepare_cached(
            "SELECT version, toml, state FROM configurations WHERE fleet = ? AND vehicle = ? ORDER BY version DESC LIMIT 1",
        )?;
        let newest: Option<(u64, String, String)> = statement
            .query_row(params![fleet, name], |row| Ok((number(row, 0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let wanted = newest.and_then(|(version, toml, state)| wanted(version, toml, &state));
        Ok((commands, wanted))
    }

    fn sent(
        &mut self,
        vehicle: &VehicleKey,
        commands: &[String],
        config_version: u64,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let transaction = self.begin()?;
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        let config_version = i64::try_from(config_version).unwrap_or(i64::MAX);
        for id in commands {
            transaction.execute(
                "UPDATE commands SET state = 'sent', updated_at = ? WHERE fleet = ? AND vehicle = ? AND id = ? AND state = 'waiting'",
                params![now, fleet, name, id],
            )?;
        }
        transaction.execute(
            "UPDATE configurations SET state = 'sent', updated_at = ? WHERE fleet = ? AND vehicle = ? AND version = ? AND state = 'waiting'",
            params![now, fleet, name, config_version],
        )?;
        Ok(transaction.commit()?)
    }

    /// A result for a command that nobody gave, or a part beyond the bound, changes nothing.
    fn take_result(
        &mut self,
        vehicle: &VehicleKey,
        result: CommandResult,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let transaction = self.begin()?;
        let id = result.id.clone();
        let found: Option<i64> = transaction
            .query_row(
                "SELECT seq FROM commands WHERE fleet = ? AND vehicle = ? AND id = ?",
                params![vehicle.fleet.as_str(), vehicle.vehicle.as_str(), id],
                |row| row.get(0),
            )
            .optional()?;
        let Some(seq) = found else {
            tracing::warn!(%vehicle, "a result for a command that is not known here any more: dropped");
            return Ok(());
        };
        let Some(Answer { state, detail, media_type, part }) = Answer::of(vehicle, result) else {
            return Ok(());
        };
        // What was final stays: a repeated "accepted" does not open it again.
        transaction.execute(
            "UPDATE commands SET state = ?2, detail = ?3, media_type = ?4, updated_at = ?5
             WHERE seq = ?1 AND state IN ('waiting', 'sent', 'accepted', ?2)",
            params![seq, state, detail, media_type, now],
        )?;
        if let Some((part, payload)) = part {
            transaction.execute(
                "INSERT INTO command_results (seq, part, payload) VALUES (?, ?, ?)
                 ON CONFLICT (seq, part) DO UPDATE SET payload = excluded.payload",
                params![seq, part, payload],
            )?;
        }
        tracing::info!(%vehicle, id, state, "command answered");
        Ok(transaction.commit()?)
    }

    fn take_config_state(
        &mut self,
        vehicle: &VehicleKey,
        state: &ConfigState,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let Some((outcome, detail, version)) = outcome(state) else { return Ok(()) };
        self.connection.execute(
            "UPDATE configurations SET state = ?, detail = ?, updated_at = ? WHERE fleet = ? AND vehicle = ? AND version = ?",
            params![outcome, detail, now, vehicle.fleet.as_str(), vehicle.vehicle.as_str(), version],
        )?;
        tracing::info!(%vehicle, version, outcome, "configuration answered");
        Ok(())
    }

    /// Vehicles with orders that came since `seen`; commands whose time is over end.
    fn fresh(&mut self, seen: Option<Seen>, now: UtcMillis) -> Result<(Vec<VehicleKey>, Seen), ControlError> {
        let newest = |table: &str| -> rusqlite::Result<i64> {
            self.connection
                .query_row(&format!("SELECT coalesce(max(seq), 0) FROM {table}"), [], |row| row.get(0))
        };
        let last = (newest("commands")?, newest("configurations")?);
        let overdue: bool = self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM commands WHERE state IN ('waiting', 'sent') AND expires_at <= ?)",
            [now],
            |row| row.get(0),
        )?;
        if overdue {
            self.connection.execute(
                "UPDATE commands SET state = 'expired', updated_at = ?1, detail = 'the vehicle did not answer in time'
                 WHERE state IN ('waiting', 'sent') AND expires_at <= ?1",
                [now],
            )?;
        }
        let since = seen.unwrap_or(last);
        let mut vehicles = Vec::new();
        for (table, from, to) in [("commands", since.0, last.0), ("configurations", since.1, last.1)] {
            if from >= to {
                continue;
            }
            let sql = format!("SELECT DISTINCT fleet, vehicle FROM {table} WHERE seq > ?");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement
                .query_map([from], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            for row in rows {
                let (fleet, vehicle) = row?;
                vehicles.extend(format!("{fleet}/{vehicle}").parse::<VehicleKey>().ok());
            }
        }
        Ok((vehicles, last))
    }

    fn begin(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.connection.transaction_with_behavior(TransactionBehavior::Immediate)
    }
}

const SELECT_COMMAND: &str =
    "SELECT id, action, state, detail, created_at, expires_at, updated_at, media_type,
    (SELECT coalesce(sum(length(payload)), 0) FROM command_results WHERE command_results.seq = commands.seq)
    FROM commands WHERE fleet = ?1 AND vehicle = ?2";

/// Versions and lengths are never negative.
fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(|number| u64::try_from(number).unwrap_or(0))
}

fn command_record(row: &Row<'_>) -> rusqlite::Result<CommandRecord> {
    Ok(CommandRecord {
        id: row.get(0)?,
        action: row.get(1)?,
        state: row.get(2)?,
        detail: row.get(3)?,
        created_at: row.get(4)?,
        expires_at: row.get(5)?,
        updated_at: row.get(6)?,
        media_type: row.get(7)?,
        result_bytes: number(row, 8)?,
    })
}

/// Whoever asks for its orders can be given some, though its hello may not be processed yet.
fn make_known(connection: &Connection, vehicle: &VehicleKey) -> Result<(), ControlError> {
    if require_known(connection, vehicle).is_err() {
        connection.execute(
            "INSERT OR IGNORE INTO vehicles (fleet, vehicle) VALUES (?, ?)",
            params![vehicle.fleet.as_str(), vehicle.vehicle.as_str()],
        )?;
    }
    Ok(())
}

/// An order for a vehicle whose name is misspelt would wait for ever.
fn require_known(connection: &Connection, vehicle: &VehicleKey) -> Result<(), ControlError> {
    let known = connection
        .query_row(
            "SELECT 1 FROM vehicles WHERE fleet = ? AND vehicle = ?",
            params![vehicle.fleet.as_str(), vehicle.vehicle.as_str()],
            |_| Ok(()),
        )
        .optional()?;
    known.ok_or_else(|| ControlError::UnknownVehicle(vehicle.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::{Control, conformance};

    fn fresh() -> Option<(tempfile::TempDir, [Control; 2])> {
        let temp = tempfile::tempdir().unwrap();
        let open = || Control::open(&temp.path().join("store.sqlite")).unwrap();
        let both = [open(), open()];
        Some((temp, both))
    }

    conformance::suite!(fresh);
}
