//! The embedded store: one SQLite file, for fleets of up to a few thousand vehicles on one machine.
//!
//! Write-ahead log, synced at every commit: what `commit` has answered survives a power cut. One writer; readers
//! see the last commit and never wait for it. Any SQLite tool can open the file.

mod fix_row;
mod ledger;
mod migrations;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::sequence::{Epoch, RangeSet};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::data_dir::make_private_file;
use crate::journal::Partition;

use super::{
    Claim, Commit, Committed, EpochLedger, KeptEvent, Position, PositionQuery, Published, Refused, Store,
    StoreError, VehicleSummary,
};

/// Readers at one time. More would only compete for the disk.
const READERS: usize = 4;

/// How long a statement waits for another process (`token` beside `all`) before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    File(#[from] std::io::Error),
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
        make_private_file(path)?;
        let mut connection = Connection::open(path)?;
        tune(&connection)?;
        migrations::migrate(&mut connection)?;
        Ok(connection)
    };
    opened().map_err(|source| OpenError { path: path.to_owned(), source })
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
    opened().map_err(|source| OpenError { path: path.to_owned(), source })
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// The embedded [`Store`]. Cloning shares it.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// `None` when opened for reading.
    writer: Option<Mutex<Connection>>,
    idle_readers: Mutex<Vec<Connection>>,
    readers: Arc<Semaphore>,
}

impl SqliteStore {
    /// Opens the store, and makes it when it is missing.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer release.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let writer = open(path)?;
        Ok(Self::with(path, Some(Mutex::new(writer))))
    }

    /// Opens an existing store, which another process may be writing to; every commit is refused.
    ///
    /// # Errors
    /// When it is missing or cannot be opened.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let reader = open_read_only(path)?;
        let store = Self::with(path, None);
        store.shared.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        Ok(store)
    }

    fn with(path: &Path, writer: Option<Mutex<Connection>>) -> Self {
        let shared = Shared {
            path: path.to_owned(),
            writer,
            idle_readers: Mutex::new(Vec::new()),
            readers: Arc::new(Semaphore::new(READERS)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs a query off the async threads, on a snapshot: all its statements see the same commit.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let unavailable = |error: &dyn std::fmt::Display| StoreError::Unavailable(error.to_string());
        let permit =
            Arc::clone(&self.shared.readers).acquire_owned().await.map_err(|error| unavailable(&error))?;
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || {
            let idle = shared.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => open_read_only(&shared.path)
                    .map_err(|error| StoreError::Unavailable(error.to_string()))?,
            };
            let answer =
                connection.transaction().map_err(StoreError::from).and_then(|snapshot| query(&snapshot));
            shared.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            answer
        });
        task.await.map_err(|error| unavailable(&error))?
    }

    /// Runs a transaction off the async threads, one at a time.
    async fn write<T: Send + 'static>(
        &self,
        transaction: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || {
            let Some(writer) = &shared.writer else {
                return Err(StoreError::Unavailable("opened for reading only".to_owned()));
            };
            // A panic in an earlier commit rolled its transaction back, so the connection is as good as before.
            transaction(&mut writer.lock().unwrap_or_else(PoisonError::into_inner))
        });
        task.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error {
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) => {
                Self::Corrupt(error.to_string())
            }
            _ if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn claim(&self, partition: Partition, owner: &str) -> Result<Claim, StoreError> {
        let owner = owner.to_owned();
        self.write(move |connection| write::claim(connection, partition, &owner)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.write(move |connection| write::commit(connection, &commit)).await
    }

    async fn published(
        &self,
        partition: Partition,
        generation: u64,
        published: Published,
    ) -> Result<(), StoreError> {
        self.write(move |connection| write::published(connection, partition, generation, published)).await
    }

    async fn events(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptEvent>, StoreError> {
        self.read(move |connection| read::events(connection, partition, after, limit)).await
    }

    async fn refused(&self, limit: usize) -> Result<Vec<(Partition, Refused)>, StoreError> {
        self.read(move |connection| read::refused(connection, limit)).await
    }

    async fn next_offset(&self, partition: Partition) -> Result<u64, StoreError> {
        self.read(move |connection| read::next_offset(connection, partition)).await
    }

    async fn vehicles(&self) -> Result<Vec<VehicleSummary>, StoreError> {
        self.read(read::vehicles).await
    }

    async fn vehicle(&self, vehicle: &VehicleKey) -> Result<Option<VehicleSummary>, StoreError> {
        let vehicle = vehicle.clone();
        self.read(move |connection| read::vehicle(connection, &vehicle)).await
    }

    async fn positions(&self, query: PositionQuery) -> Result<Vec<Position>, StoreError> {
        self.read(move |connection| read::positions(connection, &query)).await
    }

    async fn ledgers(&self, vehicle: &VehicleKey) -> Result<Vec<EpochLedger>, StoreError> {
        let vehicle = vehicle.clone();
        self.read(move |connection| match read::vehicle_id(connection, &vehicle)? {
            Some(id) => ledger::read(connection, id),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn received_within(
        &self,
        vehicle: &VehicleKey,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<(Epoch, RangeSet)>, StoreError> {
        let vehicle = vehicle.clone();
        self.read(move |connection| read::received_within(connection, &vehicle, from, to)).await
    }

    async fn positions_at(
        &self,
        vehicle: &VehicleKey,
        epoch: Epoch,
        sequences: &[u64],
    ) -> Result<Vec<Position>, StoreError> {
        let (vehicle, sequences) = (vehicle.clone(), sequences.to_vec());
        self.read(move |connection| read::positions_at(connection, &vehicle, epoch, &sequences)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    fn fresh() -> (tempfile::TempDir, SqliteStore) {
        let temp = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&temp.path().join("store.sqlite")).unwrap();
        (temp, store)
    }

    conformance::suite!(some_fresh);

    #[allow(clippy::unnecessary_wraps)] // The suite also serves stores that a machine may lack.
    fn some_fresh() -> Option<(tempfile::TempDir, SqliteStore)> {
        Some(fresh())
    }

    #[tokio::test]
    async fn what_was_committed_is_there_after_reopening_and_readable_beside_the_writer() {
        let (temp, store) = fresh();
        let path = temp.path().join("store.sqlite");
        conformance::commit(&store, conformance::one_batch(0, 10), 1).await.unwrap();
        let reader = SqliteStore::open_read_only(&path).unwrap();
        assert_eq!(reader.next_offset(Partition::FIRST).await.unwrap(), 1);
        assert!(reader.claim(Partition::FIRST, "reader").await.is_err());
        drop((store, reader));
        let again = SqliteStore::open(&path).unwrap();
        assert_eq!(again.vehicles().await.unwrap()[0].fixes, 10);
    }

    #[test]
    fn a_reader_makes_no_store() {
        let temp = tempfile::tempdir().unwrap();
        assert!(SqliteStore::open_read_only(&temp.path().join("store.sqlite")).is_err());
        assert!(!temp.path().join("store.sqlite").exists());
    }
}
