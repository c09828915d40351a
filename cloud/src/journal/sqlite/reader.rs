//! Reading beside the writer, on a connection of its own.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::watch;

use super::{BUSY_TIMEOUT, off_thread, sql_offset};
use crate::journal::{
    Entry, JournalError, Kind, Partition, PartitionReader, ReadLimit, Record, Stretch, Transport, Unreadable,
};

pub(super) struct SqliteReader {
    connection: Arc<Mutex<Connection>>,
    end: watch::Receiver<u64>,
}

impl SqliteReader {
    pub(super) fn new(connection: Arc<Mutex<Connection>>, end: watch::Receiver<u64>) -> Self {
        Self { connection, end }
    }

    async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let connection = Arc::clone(&self.connection);
        off_thread(move || work(&connection.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

#[async_trait]
impl PartitionReader for SqliteReader {
    fn partition(&self) -> Partition {
        Partition::FIRST
    }

    async fn bounds(&mut self) -> Result<Range<u64>, JournalError> {
        self.query(bounds).await
    }

    async fn read(
        &mut self,
        offset: u64,
        limit: ReadLimit,
        patience: Duration,
    ) -> Result<Stretch, JournalError> {
        let mut entries = self.query(move |connection| read(connection, offset, limit)).await?;
        if entries.is_empty() {
            // Nobody writes any more, or not in time: the second look says so too.
            let _ = tokio::time::timeout(patience, self.end.wait_for(|&end| end > offset)).await;
            entries = self.query(move |connection| read(connection, offset, limit)).await?;
        }
        let behind = entries.last().map_or(0, |last| last.offset + 1);
        Ok(Stretch { end: behind.max(*self.end.borrow()), entries })
    }
}

pub(super) fn reading(path: &Path) -> rusqlite::Result<Connection> {
    // Not read-only: a log left by a killed process needs its index rebuilt first.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// The oldest offset, and the next one.
pub(super) fn bounds(connection: &Connection) -> rusqlite::Result<Range<u64>> {
    connection.query_row("SELECT min(offset), max(offset) + 1 FROM entries", [], |row| {
        let (oldest, next): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
        Ok(oldest.unwrap_or(0).cast_unsigned()..next.unwrap_or(0).cast_unsigned())
    })
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
        let value = Bytes::from(value);
        let record = match (vehicle.parse(), Kind::from_code(kind), Transport::from_code(transport)) {
            (Ok(vehicle), Some(kind), Some(transport)) => {
                Ok(Record { vehicle, kind, transport, received_at, value: value.clone() })
            }
            (Err(error), ..) => Err(error.to_string()),
            (_, None, _) => Err(format!("unknown kind {kind}")),
            (_, _, None) => Err(format!("unknown transport {transport}")),
        };
        let record = record.map_err(|reason| Unreadable {
            reason,
            key: Some(Bytes::from(vehicle)),
            received_at: Some(received_at),
            value,
        });
        entries.push(Entry { offset: offset.cast_unsigned(), record });
        if bytes >= limit.bytes {
            break;
        }
    }
    Ok(entries)
}
