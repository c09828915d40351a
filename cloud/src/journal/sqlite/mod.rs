//! The embedded journal: one SQLite file with a write-ahead log, synced at every commit.
//!
//! Group commit: a writer thread takes everything that waits, commits it in one transaction with one fsync, and
//! answers all. Under load the groups grow by themselves, and nobody waits for a timer. It has one partition.

mod reader;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::{Archive, Journal, JournalError, Partition, PartitionReader, Permanent, Place, Receipt, Record};
use crate::data_dir::make_private_file;
use crate::meters;
use reader::{SqliteReader, bounds, reading};

const SCHEMA_VERSION: u32 = 1;
const SCHEMA: &str = "
CREATE TABLE entries (
    offset      INTEGER PRIMARY KEY,
    vehicle     TEXT    NOT NULL, -- fleet/vehicle
    kind        INTEGER NOT NULL, -- 1 batch, 2 declared lost, 3 known sequence numbers
    transport   INTEGER NOT NULL, -- 1 QUIC, 2 MQTT
    received_at INTEGER NOT NULL, -- milliseconds since 1970-01-01 UTC
    value       BLOB    NOT NULL
) STRICT;
PRAGMA user_version = 1;
";

/// Appends waiting for the disk. Beyond it callers wait, and through them vehicles.
const QUEUE_ENTRIES: usize = 4096;
/// Bytes waiting for the disk: the other bound of the queue.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// One group: large enough that the fsync is a small part of its cost, small enough to answer soon.
const GROUP_ENTRIES: usize = 1024;
const GROUP_BYTES: usize = 8 * 1024 * 1024;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("journal {path} cannot be opened: {error}; check disk space and permissions")]
    Sqlite { path: PathBuf, error: rusqlite::Error },
    #[error(
        "journal {path} has format {found} and this release knows {SCHEMA_VERSION}: run the newer avl-cloud"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("journal {path}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    #[error("journal {path} does not exist: 'avl-cloud all' makes it at its first start; check --data-dir")]
    Missing { path: PathBuf },
}

struct Waiting {
    record: Record,
    answer: oneshot::Sender<Result<Place, JournalError>>,
    /// Freed when the entry is durable: what waits is bounded by type.
    _room: OwnedSemaphorePermit,
}

/// The embedded [`Journal`]. The last one to be dropped lets the writer finish what was accepted.
#[derive(Debug)]
pub struct SqliteJournal {
    /// `None` when opened for reading, and while closing.
    queue: Option<mpsc::Sender<Waiting>>,
    room: Arc<Semaphore>,
    end: watch::Receiver<u64>,
    reader: Arc<Mutex<Connection>>,
    path: PathBuf,
    writer: Option<JoinHandle<()>>,
}

impl SqliteJournal {
    /// Opens the journal, and makes it when it is missing.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer release.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Sqlite { path: path.to_owned(), error };
        let io = |error| OpenError::Io { path: path.to_owned(), error };
        make_private_file(path).map_err(io)?;
        let writer = Connection::open(path).map_err(failed)?;
        let version = prepare(&writer).map_err(failed)?;
        if version > SCHEMA_VERSION {
            return Err(OpenError::Newer { path: path.to_owned(), found: version });
        }
        // The file's name must survive a power cut as its content does.
        let directory = path.parent().unwrap_or(Path::new("."));
        std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
        let next = bounds(&writer).map_err(failed)?.end;
        let reader = reading(path).map_err(failed)?;
        let (queue, waiting) = mpsc::channel(QUEUE_ENTRIES);
        let (ended, end) = watch::channel(next);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_groups(writer, waiting, &ended))
            .map_err(io)?;
        Ok(Self {
            queue: Some(queue),
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            end,
            reader: Arc::new(Mutex::new(reader)),
            path: path.to_owned(),
            writer: Some(thread),
        })
    }

    /// Opens an existing journal, which another process may be writing to.
    ///
    /// # Errors
    /// When it is missing or cannot be opened.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Sqlite { path: path.to_owned(), error };
        if !path.exists() {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        let reader = reading(path).map_err(failed)?;
        let next = bounds(&reader).map_err(failed)?.end;
        Ok(Self {
            queue: None,
            room: Arc::new(Semaphore::new(0)),
            end: watch::channel(next).1,
            reader: Arc::new(Mutex::new(reader)),
            path: path.to_owned(),
            writer: None,
        })
    }

    /// The offset that the next entry will get; changes whenever something became durable.
    #[must_use]
    pub fn end(&self) -> watch::Receiver<u64> {
        self.end.clone()
    }

    /// The only follower: one process at a time has this journal.
    #[must_use]
    pub fn subscribe(&self) -> Permanent {
        Permanent::new(vec![self.reader()])
    }

    #[must_use]
    pub fn reader(&self) -> Box<dyn PartitionReader> {
        Box::new(SqliteReader::new(Arc::clone(&self.reader), self.end.clone()))
    }

    /// Retention: forgets entries below `offset`, a bounded number at a time; returns how many. The newest entry stays,
    /// because the next offset is derived from it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn discard_before(&self, offset: u64, at_most: usize) -> Result<usize, JournalError> {
        let path = self.path.clone();
        off_thread(move || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.execute(
                "DELETE FROM entries WHERE offset IN (SELECT offset FROM entries
                 WHERE offset < ?1 AND offset < (SELECT max(offset) FROM entries) ORDER BY offset LIMIT ?2)",
                params![sql_offset(offset), i64::try_from(at_most).unwrap_or(i64::MAX)],
            )
        })
        .await
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, JournalError> {
    let answer = tokio::task::spawn_blocking(work).await;
    answer
        .map_err(|error| JournalError::Unavailable(error.to_string()))?
        .map_err(|error| JournalError::Unavailable(error.to_string()))
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has answered nobody: nothing was promised.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(&self, record: Record) -> Result<Receipt, JournalError> {
        let Some(queue) = &self.queue else { return Err(JournalError::Closed) };
        let bytes = record.value.len();
        let permits = u32::try_from(bytes.max(1)).ok().filter(|_| bytes <= GROUP_BYTES);
        let permits = permits.ok_or(JournalError::TooLarge { bytes, limit: GROUP_BYTES })?;
        let room =
            Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| JournalError::Closed)?;
        let (answer, receipt) = oneshot::channel();
        queue.send(Waiting { record, answer, _room: room }).await.map_err(|_| JournalError::Closed)?;
        Ok(Box::pin(async move { receipt.await.unwrap_or(Err(JournalError::Closed)) }))
    }
}

#[async_trait]
impl Archive for SqliteJournal {
    async fn readers(&self) -> Result<Vec<Box<dyn PartitionReader>>, JournalError> {
        Ok(vec![self.reader()])
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<u32> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: the log is synced at every commit. NORMAL would lose answered entries in a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))?;
    }
    Ok(version.max(1))
}

fn sql_offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

fn write_groups(mut connection: Connection, mut waiting: mpsc::Receiver<Waiting>, end: &watch::Sender<u64>) {
    let mut group = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        let mut bytes = first.record.value.len();
        group.push(first);
        while group.len() < GROUP_ENTRIES && bytes < GROUP_BYTES {
            let Ok(next) = waiting.try_recv() else { break };
            bytes += next.record.value.len();
            group.push(next);
        }
        let begun = Instant::now();
        let first_offset = *end.borrow();
        let outcome = write(&mut connection, first_offset, &group);
        metrics::histogram!(meters::JOURNAL_COMMIT_SECONDS).record(begun.elapsed().as_secs_f64());
        match outcome {
            Ok(next) => {
                metrics::counter!(meters::JOURNAL_ENTRIES).increment(group.len() as u64);
                metrics::counter!(meters::JOURNAL_BYTES).increment(bytes as u64);
                // Before the answers: who has one sees an end beyond it.
                end.send_replace(next);
                for (offset, waiting) in (first_offset..).zip(group.drain(..)) {
                    // Nobody waits any more when the connection has gone; the entry is durable all the same.
                    let _ = waiting.answer.send(Ok(Place { partition: Partition::FIRST, offset }));
                }
            }
            Err(error) => {
                metrics::counter!(meters::JOURNAL_ERRORS).increment(1);
                tracing::error!(%error, entries = group.len(), "journal cannot be written; nothing is acknowledged");
                let error = JournalError::Unavailable(error.to_string());
                for waiting in group.drain(..) {
                    let _ = waiting.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

fn write(connection: &mut Connection, first_offset: u64, group: &[Waiting]) -> rusqlite::Result<u64> {
    let transaction = connection.transaction()?;
    let mut offset = first_offset;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO entries (offset, vehicle, kind, transport, received_at, value) VALUES (?, ?, ?, ?, ?, ?)",
        )?;
        for Waiting { record, .. } in group {
            insert.execute(params![
                sql_offset(offset),
                record.vehicle.to_string(),
                record.kind.code(),
                record.transport.code(),
                record.received_at,
                &record.value[..],
            ])?;
            offset += 1;
        }
    }
    transaction.commit()?;
    Ok(offset)
}

#[cfg(test)]
mod tests;
