//! The embedded journal: one SQLite file with a write-ahead log, synced at every commit.
//!
//! Group commit: a writer thread takes everything that waits, commits it in one transaction with one fsync, and
//! answers all. Under load the groups grow by themselves, and nobody waits for a timer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::{Entry, Journal, JournalError, Kind, ReadLimit, Receipt, Record, Transport};
use crate::data_dir::make_private_file;
use crate::meters;

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
    answer: oneshot::Sender<Result<u64, JournalError>>,
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
        let next = next_offset(&writer).map_err(failed)?;
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
        let next = next_offset(&reader).map_err(failed)?;
        Ok(Self {
            queue: None,
            room: Arc::new(Semaphore::new(0)),
            end: watch::channel(next).1,
            reader: Arc::new(Mutex::new(reader)),
            path: path.to_owned(),
            writer: None,
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let reader = Arc::clone(&self.reader);
        let task =
            tokio::task::spawn_blocking(move || work(&reader.lock().unwrap_or_else(PoisonError::into_inner)));
        let answer = task.await.map_err(|error| JournalError::Unavailable(error.to_string()))?;
        answer.map_err(|error| JournalError::Unavailable(error.to_string()))
    }
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

    async fn read(&self, offset: u64, limit: ReadLimit) -> Result<Vec<Entry>, JournalError> {
        self.blocking(move |connection| read(connection, offset, limit)).await
    }

    fn end(&self) -> watch::Receiver<u64> {
        self.end.clone()
    }

    async fn discard_before(&self, offset: u64, at_most: usize) -> Result<usize, JournalError> {
        let path = self.path.clone();
        let task = tokio::task::spawn_blocking(move || -> rusqlite::Result<usize> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // The newest entry stays, because the next offset is derived from it.
            connection.execute(
                "DELETE FROM entries WHERE offset IN (SELECT offset FROM entries
                 WHERE offset < ?1 AND offset < (SELECT max(offset) FROM entries) ORDER BY offset LIMIT ?2)",
                params![sql_offset(offset), i64::try_from(at_most).unwrap_or(i64::MAX)],
            )
        });
        let answer = task.await.map_err(|error| JournalError::Unavailable(error.to_string()))?;
        answer.map_err(|error| JournalError::Unavailable(error.to_string()))
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

fn reading(path: &Path) -> rusqlite::Result<Connection> {
    // Not read-only: a log left by a killed process needs its index rebuilt first.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn next_offset(connection: &Connection) -> rusqlite::Result<u64> {
    let last: Option<i64> =
        connection.query_row("SELECT max(offset) FROM entries", [], |row| row.get(0)).optional()?.flatten();
    Ok(last.map_or(0, |last| last.cast_unsigned() + 1))
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
                    let _ = waiting.answer.send(Ok(offset));
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

fn read(connection: &Connection, offset: u64, limit: ReadLimit) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare_cached(
        "SELECT offset, vehicle, kind, transport, received_at, value FROM entries WHERE offset >= ? ORDER BY offset LIMIT ?",
    )?;
    let mut rows =
        statement.query(params![sql_offset(offset), i64::try_from(limit.entries).unwrap_or(i64::MAX)])?;
    let mut entries = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let offset: i64 = row.get(0)?;
        let (vehicle, kind, transport): (String, u8, u8) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let value: Vec<u8> = row.get(5)?;
        bytes += value.len();
        let received_at = row.get(4)?;
        let record = match (vehicle.parse(), Kind::from_code(kind), Transport::from_code(transport)) {
            (Ok(vehicle), Some(kind), Some(transport)) => {
                Ok(Record { vehicle, kind, transport, received_at, value: Bytes::from(value) })
            }
            (Err(error), ..) => Err(error.to_string()),
            (_, None, _) => Err(format!("unknown kind {kind}")),
            (_, _, None) => Err(format!("unknown transport {transport}")),
        };
        entries.push(Entry { offset: offset.cast_unsigned(), record });
        if bytes >= limit.bytes {
            break;
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: ReadLimit = ReadLimit { entries: 100, bytes: usize::MAX };

    fn record(value: impl Into<Bytes>) -> Record {
        Record {
            vehicle: "demo/van-1".parse().unwrap(),
            kind: Kind::Batch,
            transport: Transport::Quic,
            received_at: 1_000,
            value: value.into(),
        }
    }

    fn file() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("journal.sqlite");
        (temp, path)
    }

    #[tokio::test]
    async fn what_was_appended_is_read_in_order_also_after_reopening() {
        let (_temp, path) = file();
        for round in 0..2_u64 {
            let journal = SqliteJournal::open(&path).unwrap();
            for n in 0..3_u64 {
                let receipt =
                    journal.append(record(vec![u8::try_from(round * 3 + n).unwrap()])).await.unwrap();
                assert_eq!(receipt.await.unwrap(), round * 3 + n);
            }
            assert_eq!(*journal.end().borrow(), round * 3 + 3);
        }
        let reader = SqliteJournal::open_read_only(&path).unwrap();
        let entries = reader.read(1, PAGE).await.unwrap();
        let got: Vec<_> =
            entries.into_iter().map(|entry| (entry.offset, entry.record.unwrap().value[0])).collect();
        assert_eq!(got, [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
        assert_eq!(reader.append(record("x")).await.err(), Some(JournalError::Closed));
    }

    #[tokio::test]
    async fn appends_that_wait_together_share_a_commit_and_keep_their_order() {
        let (_temp, path) = file();
        let journal = SqliteJournal::open(&path).unwrap();
        let mut receipts = Vec::new();
        for n in 0..500_u16 {
            receipts.push(journal.append(record(n.to_be_bytes().to_vec())).await.unwrap());
        }
        for (n, receipt) in receipts.into_iter().enumerate() {
            assert_eq!(receipt.await.unwrap(), n as u64);
        }
        assert_eq!(*journal.end().borrow(), 500);
    }

    #[tokio::test]
    async fn a_read_is_bounded_by_bytes_but_always_goes_on() {
        let (_temp, path) = file();
        let journal = SqliteJournal::open(&path).unwrap();
        for _ in 0..5 {
            journal.append(record(vec![0; 100])).await.unwrap().await.unwrap();
        }
        let few = journal.read(0, ReadLimit { entries: 100, bytes: 250 }).await.unwrap();
        assert_eq!(few.len(), 3);
        let one = journal.read(0, ReadLimit { entries: 100, bytes: 0 }).await.unwrap();
        assert_eq!(one.len(), 1);
    }

    #[tokio::test]
    async fn retention_keeps_the_newest_entry_so_that_offsets_are_never_given_twice() {
        let (_temp, path) = file();
        let journal = SqliteJournal::open(&path).unwrap();
        for _ in 0..10 {
            journal.append(record("x")).await.unwrap().await.unwrap();
        }
        assert_eq!(journal.discard_before(5, 3).await.unwrap(), 3, "bounded");
        assert_eq!(journal.discard_before(100, 100).await.unwrap(), 6);
        drop(journal);
        let journal = SqliteJournal::open(&path).unwrap();
        assert_eq!(journal.append(record("x")).await.unwrap().await.unwrap(), 10);
        assert_eq!(journal.read(0, PAGE).await.unwrap()[0].offset, 9);
    }

    #[tokio::test]
    async fn dropping_the_journal_finishes_what_was_accepted() {
        let (_temp, path) = file();
        let journal = SqliteJournal::open(&path).unwrap();
        let mut receipts = Vec::new();
        for _ in 0..100 {
            receipts.push(journal.append(record("x")).await.unwrap());
        }
        drop(journal);
        for receipt in receipts {
            receipt.await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_entry_that_no_reader_knows_does_not_hide_the_others() {
        let (_temp, path) = file();
        let journal = SqliteJournal::open(&path).unwrap();
        journal.append(record("one")).await.unwrap().await.unwrap();
        journal.append(record("two")).await.unwrap().await.unwrap();
        Connection::open(&path)
            .unwrap()
            .execute("UPDATE entries SET kind = 77 WHERE offset = 0", [])
            .unwrap();
        let entries = journal.read(0, PAGE).await.unwrap();
        assert_eq!(entries[0].record, Err("unknown kind 77".to_owned()));
        assert_eq!(entries[1].record.as_ref().unwrap().value, "two");
    }
}
