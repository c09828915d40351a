//! Orders and answers in the store's file.

use std::path::Path;
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::link::{
    Command, CommandResult, CommandState, ConfigOutcome, ConfigState, MAX_CONFIGURATION_BYTES,
    MAX_RESULT_BYTES, RESULT_PART_BYTES, command, message,
};
use figment::Provider;
use figment::providers::{Format, Toml};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::releases::Releases;
use super::{Action, ControlError, new_id};
use crate::store::sqlite;

/// Orders that may wait for one vehicle. They are all sent at once when it connects.
const MAX_WAITING: u32 = 32;
/// Commands kept for each vehicle, with their results: a bundle of each would be 25 MB.
const MAX_KEPT: u32 = 100;
const MAX_DETAIL_CHARS: usize = 2000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRecord {
    pub id: String,
    pub action: String,
    /// waiting, sent, accepted, done, failed, refused or expired.
    pub state: String,
    pub detail: String,
    pub created_at: UtcMillis,
    pub expires_at: UtcMillis,
    pub updated_at: UtcMillis,
    /// Bytes of its result that have arrived.
    pub result_bytes: u64,
    pub media_type: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRecord {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationRecord {
    pub version: u64,
    pub toml: String,
    /// waiting, sent, applied, rejected or rolled_back.
    pub state: String,
    pub detail: String,
    pub created_at: UtcMillis,
    pub updated_at: UtcMillis,
}

/// Highest numbers seen of (commands, configurations).
pub(super) type Seen = (i64, i64);
/// A configuration's version, its text, and whether it was applied.
type Wanted = (u64, String, bool);

pub(super) struct Table {
    connection: Connection,
}

impl Table {
    pub(super) fn open(store: &Path) -> Result<Self, ControlError> {
        Ok(Self { connection: sqlite::open(store)? })
    }

    pub(super) fn order(
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
        let message = match action {
            Action::Update { version, target } => {
                let release = Releases::find(&transaction, *version, target.as_deref())?;
                let (manifest, signature) = (release.manifest, release.signature);
                command::Action::Update(message::Update { manifest, signature, port: 0 })
            }
            other => other.message().ok_or(ControlError::Stopped)?,
        };
        let expires_ms = now.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX / 2));
        let id = new_id(now);
        let order = Command { id: id.clone(), expires_ms, action: Some(message) };
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

    pub(super) fn configure(
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

    pub(super) fn commands(
        &self,
        vehicle: &VehicleKey,
        limit: u32,
    ) -> Result<Vec<CommandRecord>, ControlError> {
        require_known(&self.connection, vehicle)?;
        let mut statement =
            self.connection.prepare_cached(&format!("{SELECT_COMMAND} ORDER BY seq DESC LIMIT ?3"))?;
        let rows = statement
            .query_map(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str(), limit], command_record)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn command(&self, vehicle: &VehicleKey, id: &str) -> Result<CommandRecord, ControlError> {
        let mut statement = self.connection.prepare_cached(&format!("{SELECT_COMMAND} AND id = ?3"))?;
        let found = statement
            .query_row(params![vehicle.fleet.as_str(), vehicle.vehicle.as_str(), id], command_record)
            .optional()?;
        found.ok_or_else(|| ControlError::UnknownCommand {
            vehicle: vehicle.clone(),
            id: id.chars().take(80).collect(),
        })
    }

    pub(super) fn result(
        &self,
        vehicle: &VehicleKey,
        id: &str,
    ) -> Result<Option<ResultRecord>, ControlError> {
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

    pub(super) fn configuration(
        &self,
        vehicle: &VehicleKey,
    ) -> Result<Option<ConfigurationRecord>, ControlError> {
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
    pub(super) fn open_orders(
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
        let wanted = newest.and_then(|(version, toml, state)| match state.as_str() {
            "waiting" | "sent" => Some((version, toml, false)),
            "applied" => Some((version, toml, true)),
            // The vehicle will not have it: that is for a person to see.
            _ => None,
        });
        Ok((commands, wanted))
    }

    pub(super) fn sent(
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
    pub(super) fn take_result(
        &mut self,
        vehicle: &VehicleKey,
        result: &CommandResult,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let transaction = self.begin()?;
        let found: Option<(i64, String)> = transaction
            .query_row(
                "SELECT seq, state FROM commands WHERE fleet = ? AND vehicle = ? AND id = ?",
                params![vehicle.fleet.as_str(), vehicle.vehicle.as_str(), result.id],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((seq, _)) = found else {
            tracing::warn!(%vehicle, "a result for a command that is not known here any more: dropped");
            return Ok(());
        };
        let state = CommandState::try_from(result.state).unwrap_or_default();
        if state == CommandState::Unspecified {
            tracing::warn!(%vehicle, id = result.id, "a result without a state that is known here: dropped");
            return Ok(());
        }
        let media_type: String = result.media_type.chars().filter(char::is_ascii_graphic).take(100).collect();
        let detail: String = result.detail.chars().take(MAX_DETAIL_CHARS).collect();
        // What was final stays: a repeated "accepted" does not open it again.
        transaction.execute(
            "UPDATE commands SET state = ?2, detail = ?3, media_type = ?4, updated_at = ?5
             WHERE seq = ?1 AND state IN ('waiting', 'sent', 'accepted', ?2)",
            params![seq, state.name(), detail, media_type, now],
        )?;
        let parts = MAX_RESULT_BYTES / RESULT_PART_BYTES;
        let fits = (result.part as usize) < parts && result.payload.len() <= RESULT_PART_BYTES;
        if fits && !result.payload.is_empty() {
            transaction.execute(
                "INSERT INTO command_results (seq, part, payload) VALUES (?, ?, ?)
                 ON CONFLICT (seq, part) DO UPDATE SET payload = excluded.payload",
                params![seq, result.part, result.payload],
            )?;
        }
        tracing::info!(%vehicle, id = result.id, state = state.name(), "command answered");
        Ok(transaction.commit()?)
    }

    pub(super) fn take_config_state(
        &mut self,
        vehicle: &VehicleKey,
        state: &ConfigState,
        now: UtcMillis,
    ) -> Result<(), ControlError> {
        let outcome = ConfigOutcome::try_from(state.outcome).unwrap_or_default();
        if outcome == ConfigOutcome::Unspecified {
            return Ok(());
        }
        let detail: String = state.detail.chars().take(MAX_DETAIL_CHARS).collect();
        let version = i64::try_from(state.version).unwrap_or(i64::MAX);
        self.connection.execute(
            "UPDATE configurations SET state = ?, detail = ?, updated_at = ? WHERE fleet = ? AND vehicle = ? AND version = ?",
            params![outcome.name(), detail, now, vehicle.fleet.as_str(), vehicle.vehicle.as_str(), version],
        )?;
        tracing::info!(%vehicle, version, outcome = outcome.name(), "configuration answered");
        Ok(())
    }

    /// Vehicles with orders that came since `seen`; commands whose time is over end.
    pub(super) fn fresh(
        &mut self,
        seen: Option<Seen>,
        now: UtcMillis,
    ) -> Result<(Vec<VehicleKey>, Seen), ControlError> {
        let newest = |table: &str| -> rusqlite::Result<i64> {
            self.connection
                .query_row(&format!("SELECT coalesce(max(seq), 0) FROM {table}"), [], |row| row.get(0))
        };
        let last = (newest("commands")?, newest("configurations")?);
        let overdue: bool = self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM commands WHERE state IN ('waiting', 'sent', 'accepted') AND state <> 'accepted' AND expires_at <= ?)",
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

/// An order for a vehicle whose name is misspelt would wait for ever.
/// Whoever asks for its orders can be given some. The embedded store knows it as soon as its hello is processed; where the
/// fixes are in another database, this is how its name comes here.
fn make_known(connection: &Connection, vehicle: &VehicleKey) -> Result<(), ControlError> {
    if require_known(connection, vehicle).is_err() {
        connection.execute(
            "INSERT OR IGNORE INTO vehicles (fleet, vehicle) VALUES (?, ?)",
            params![vehicle.fleet.as_str(), vehicle.vehicle.as_str()],
        )?;
    }
    Ok(())
}

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

/// Only the vehicle knows which keys it allows; what is no TOML at all is told to whoever wrote it.
fn check_toml(toml: &str) -> Result<(), ControlError> {
    if toml.len() > MAX_CONFIGURATION_BYTES {
        let cause = format!(
            "the configuration has {} bytes, the limit is {MAX_CONFIGURATION_BYTES}: give only the keys that differ",
            toml.len()
        );
        return Err(ControlError::BadConfiguration(cause));
    }
    Toml::string(toml).data().map(drop).map_err(|error| {
        ControlError::BadConfiguration(format!("the configuration is not TOML ({error}): correct it"))
    })
}
