//! The embedded store: one SQLite file, for fleets of up to a few thousand vehicles on one machine.
//!
//! Write-ahead log, synced at every commit: what `commit` has answered survives a power cut. One writer; readers
//! see the last commit and never wait for it. Any SQLite tool can open the file.

mod migrations;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// How long a statement waits for another process (`token` beside `all`) before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("its schema is number {found} and this release knows up to {known}: run the newer avl-cloud")]
    Newer { found: usize, known: usize },
    #[error("it does not exist: 'avl-cloud all' makes it at its first start; check --data-dir")]
    Missing,
}

#[derive(Debug, thiserror::Error)]
#[error("store {path} cannot be opened: {source}")]
pub struct OpenError {
    pub path: PathBuf,
    pub source: SchemaError,
}

/// Opens the database for reading and writing, and makes it or brings its schema up to date.
///
/// # Errors
/// When the file cannot be opened, or was written by a newer release.
pub fn open(path: &Path) -> Result<Connection, OpenError> {
    let opened = || -> Result<Connection, SchemaError> {
        let mut connection = Connection::open(path)?;
        tune(&connection)?;
        migrations::migrate(&mut connection)?;
        Ok(connection)
    };
    opened().map_err(|source| OpenError {
        path: path.to_owned(),
        source,
    })
}

/// Opens an existing database for reading.
///
/// # Errors
/// When it is missing or cannot be opened.
pub fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    let opened = || -> Result<Connection, SchemaError> {
        if !path.exists() {
            return Err(SchemaError::Missing);
        }
        // Not SQLITE_OPEN_READ_ONLY: a write-ahead log left by a killed process needs its index rebuilt first.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    };
    opened().map_err(|source| OpenError {
        path: path.to_owned(),
        source,
    })
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}
