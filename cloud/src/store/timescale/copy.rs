//! Rows into a table by `COPY … FROM STDIN BINARY`: many megabytes a second, and no statement a row.
//!
//! The format: PostgreSQL 17, "COPY", "Binary Format". Every value of ours is an integer, so writing it here costs a
//! tenth of what the driver's general writer takes.

use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt as _;
use tokio_postgres::Transaction;

use super::row::{self, Values, WIDTH};
use crate::store::StoreError;

/// Signature, flags, length of the header's extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;
/// What is sent at once: enough that the kernel is not asked for each row, little enough to stay in its caches.
const PIECE: usize = 256 * 1024;
const NULL: i32 = -1;

/// Writes all rows into `positions` and returns how many the database took.
pub(super) async fn copy_in(
    transaction: &Transaction<'_>,
    rows: impl Iterator<Item = Values> + Send,
) -> Result<u64, StoreError> {
    let statement = format!("COPY positions ({}) FROM STDIN (FORMAT binary)", row::columns(""));
    let mut sink = pin!(transaction.copy_in::<_, Bytes>(&statement).await?);
    let widths = row::widths();
    let mut buffer = BytesMut::with_capacity(PIECE + 1024);
    buffer.put_slice(HEADER);
    for row in rows {
        put(&mut buffer, &row, &widths);
        if buffer.len() >= PIECE {
            sink.send(buffer.split().freeze()).await?;
            buffer.reserve(PIECE + 1024);
        }
    }
    buffer.put_i16(TRAILER);
    sink.send(buffer.freeze()).await?;
    Ok(sink.finish().await?)
}

#[allow(clippy::cast_possible_truncation)] // WIDTH is 23, a width at most 8.
fn put(buffer: &mut BytesMut, row: &Values, widths: &[usize; WIDTH]) {
    buffer.put_i16(WIDTH as i16);
    for (value, &width) in row.iter().zip(widths) {
        match value {
            Some(value) => {
                buffer.put_i32(width as i32);
                // Big-endian, so the low bytes are the last ones.
                buffer.put_slice(&value.to_be_bytes()[8 - width..]);
            }
            None => buffer.put_i32(NULL),
        }
    }
}
