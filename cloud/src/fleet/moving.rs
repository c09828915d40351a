//! From the files of a data directory into the database, once.
//!
//! One transaction brings everything over; what the database has already stays as it is there. A file in the data directory
//! then says where its state is, so that nobody works on the files beside the database any more.

use std::path::PathBuf;

use rusqlite::Connection;
use tokio_postgres::types::ToSql;

use super::StorageError;
use super::certificates::FILE as CERTIFICATES;
use super::control::keep_file;
use super::database::FleetDatabase;
use crate::data_dir::{DataDir, write_private};
use crate::store::sqlite;

const MARK: &str = "in-database";

#[derive(Debug, thiserror::Error)]
pub enum MovingError {
    #[error("tokens, certificates and orders of {path} cannot be brought into the database: {cause}", path = path.display())]
    Failed { path: PathBuf, cause: String },
    #[error(
        "tokens, certificates, orders and releases of {path} are in a database since it was used with one: name it with \
         --database or --config (or delete {path}/{MARK} to go back to what the files had before)",
        path = path.display()
    )]
    InDatabase { path: PathBuf },
}

/// How many of each were brought over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub tokens: u64,
    pub certificates: u64,
    pub revocations: u64,
    pub commands: u64,
    pub configurations: u64,
    pub releases: u64,
}

/// # Errors
/// [`MovingError::InDatabase`] when the state of this directory was brought into a database.
pub(super) fn require_files(data: &DataDir) -> Result<(), MovingError> {
    if data.path().join(MARK).exists() {
        return Err(MovingError::InDatabase { path: data.path().to_owned() });
    }
    Ok(())
}

/// Brings a directory's state into the database, unless that was done.
///
/// # Errors
/// When something cannot be read or written; nothing is in the database then.
pub async fn bring_over(data: &DataDir, database: &FleetDatabase) -> Result<Moved, MovingError> {
    let mark = data.path().join(MARK);
    if mark.exists() {
        return Ok(Moved::default());
    }
    let failed = |cause: String| MovingError::Failed { path: data.path().to_owned(), cause };
    let moved = copy(data, database).await.map_err(|error| failed(error.to_string()))?;
    write_private(&mark, b"Tokens, certificates, orders and releases are in the database.\n")
        .map_err(|error| failed(error.to_string()))?;
    if moved != Moved::default() {
        tracing::info!(
            tokens = moved.tokens,
            certificates = moved.certificates,
            revocations = moved.revocations,
            commands = moved.commands,
            configurations = moved.configurations,
            releases = moved.releases,
            "brought into the database; the files in the data directory are not used for them any more"
        );
    }
    Ok(moved)
}

async fn copy(data: &DataDir, database: &FleetDatabase) -> Result<Moved, StorageError> {
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    let mut moved = Moved::default();
    let certificates = data.authority().join(CERTIFICATES);
    if certificates.exists() {
        let from = Connection::open(&certificates)?;
        moved.certificates = rows(
            &transaction,
            &from,
            "SELECT serial, vehicle, issued_at, not_after, revoked_at FROM issued",
            "INSERT INTO issued (serial, vehicle, issued_at, not_after, revoked_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING",
        )
        .await?;
        moved.revocations = rows(
            &transaction,
            &from,
            "SELECT vehicle, revoked_at, reason FROM revoked_vehicles",
            "INSERT INTO revoked_vehicles (vehicle, revoked_at, reason) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .await?;
        transaction.execute("UPDATE counters SET value = value + 1 WHERE name = 'denied'", &[]).await?;
    }
    if data.store().exists() {
        let from = sqlite::open(&data.store())?;
        moved.tokens = rows(
            &transaction,
            &from,
            "SELECT secret_sha256, fleet, vehicle, created_at, expires_at, used_at FROM enrolment_tokens",
            "INSERT INTO enrolment_tokens (secret_sha256, fleet, vehicle, created_at, expires_at, used_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .await?;
        orders(&transaction, &from, &mut moved).await?;
        moved.releases = releases(&transaction, &from, data).await?;
    }
    transaction.commit().await?;
    Ok(moved)
}

async fn orders(
    transaction: &deadpool_postgres::Transaction<'_>,
    from: &Connection,
    moved: &mut Moved,
) -> Result<(), StorageError> {
    // Known vehicles first: an order is for one of them.
    rows(
        transaction,
        from,
        "SELECT DISTINCT fleet, vehicle FROM commands UNION SELECT fleet, vehicle FROM configurations",
        "INSERT INTO vehicles (fleet, vehicle) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .await?;
    // Numbers of theirs follow those that are given already, in the order that they have here.
    let sql = "SELECT value FROM counters WHERE name = 'orders' FOR UPDATE";
    let base: i64 = transaction.query_one(sql, &[]).await?.try_get(0)?;
    let last: i64 = from.query_row(
        "SELECT max(coalesce((SELECT max(seq) FROM commands), 0), coalesce((SELECT max(seq) FROM configurations), 0))",
        [],
        |row| row.get(0),
    )?;
    transaction.execute("UPDATE counters SET value = $1 WHERE name = 'orders'", &[&(base + last)]).await?;
    moved.commands = rows(
        transaction,
        from,
        &format!(
            "SELECT seq + {base}, id, fleet, vehicle, action, message, state, detail, media_type, created_at, expires_at, \
             updated_at FROM commands ORDER BY seq"
        ),
        "INSERT INTO commands (seq, id, fleet, vehicle, action, message, state, detail, media_type, created_at,
         expires_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
    )
    .await?;
    rows(
        transaction,
        from,
        &format!("SELECT seq + {base}, CAST(part AS INTEGER), payload FROM command_results"),
        "INSERT INTO command_results (seq, part, payload)
         SELECT $1::bigint, $2::bigint::integer, $3::bytea WHERE EXISTS (SELECT 1 FROM commands WHERE seq = $1)
         ON CONFLICT DO NOTHING",
    )
    .await?;
    moved.configurations = rows(
        transaction,
        from,
        &format!(
            "SELECT seq + {base}, fleet, vehicle, version, toml, state, detail, created_at, updated_at \
             FROM configurations ORDER BY seq"
        ),
        "INSERT INTO configurations (seq, fleet, vehicle, version, toml, state, detail, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
    )
    .await?;
    Ok(())
}

async fn releases(
    transaction: &deadpool_postgres::Transaction<'_>,
    from: &Connection,
    data: &DataDir,
) -> Result<u64, StorageError> {
    let known: Vec<String> = {
        let mut statement = from.prepare("SELECT DISTINCT sha256 FROM releases")?;
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    for sha256 in known {
        let file = data.releases().join(&sha256);
        if file.exists() {
            keep_file(transaction, &sha256, &file)
                .await
                .map_err(|error| StorageError::Database(error.to_string()))?;
        } else {
            tracing::warn!(file = %file.display(), "a release has lost its file and is left out: add it again");
        }
    }
    rows(
        transaction,
        from,
        "SELECT version, target, sha256, manifest, signature, added_at FROM releases",
        "INSERT INTO releases (version, target, sha256, manifest, signature, added_at) SELECT $1, $2, $3::text, $4, $5, $6
         WHERE EXISTS (SELECT 1 FROM release_files f WHERE f.sha256 = $3) ON CONFLICT DO NOTHING",
    )
    .await
}

/// Every row that `select` finds in SQLite, by `insert`; how many were new.
async fn rows(
    transaction: &deadpool_postgres::Transaction<'_>,
    from: &Connection,
    select: &str,
    insert: &str,
) -> Result<u64, StorageError> {
    use rusqlite::types::Value;
    let insert = transaction.prepare(insert).await?;
    let found: Vec<Vec<Value>> = {
        let mut statement = from.prepare(select)?;
        let width = statement.column_count();
        let rows = statement.query_map([], |row| (0..width).map(|index| row.get(index)).collect())?;
        rows.collect::<Result<_, _>>()?
    };
    let mut count = 0;
    for row in found {
        let values: Vec<Box<dyn ToSql + Sync + Send>> = row
            .into_iter()
            .map(|value| -> Box<dyn ToSql + Sync + Send> {
                match value {
                    Value::Null => Box::new(None::<i64>),
                    Value::Integer(number) => Box::new(number),
                    Value::Real(number) => Box::new(number),
                    Value::Text(text) => Box::new(text.replace('\0', "")),
                    Value::Blob(bytes) => Box::new(bytes),
                }
            })
            .collect();
        let values: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        count += transaction.execute(&insert, &values).await?;
    }
    Ok(count)
}
