//! The journal: the durable, ordered log of what vehicles sent, and the source of truth.
//!
//! What it promises: when [`Receipt`] resolves to an offset, the entry is on disk and survives a power cut; entries
//! are read in the order of their offsets, and an entry that was answered is never skipped. What it does not do: look
//! into values, or drop duplicates (the store does).
//!
//! [`Journal`] is the border at which Kafka can take the place of the embedded log: an append is accepted first, in
//! order and against a bound, and becomes durable later, many at a time; a reader brings its own offset.

pub mod sqlite;

use std::pin::Pin;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use bytes::Bytes;
use tokio::sync::watch;

/// What an entry's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A wire batch, as it came.
    Batch = 1,
    /// `avl.v1.DeclareLost`.
    Lost = 2,
    /// `avl.v1.Hello`, of which only the epoch and `next_sequence` are kept.
    Known = 3,
}

impl Kind {
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Batch),
            2 => Some(Self::Lost),
            3 => Some(Self::Known),
            _ => None,
        }
    }

    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// How an entry reached the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Transport {
    Quic = 1,
    Mqtt = 2,
}

impl Transport {
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Quic),
            2 => Some(Self::Mqtt),
            _ => None,
        }
    }

    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// What is appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub vehicle: VehicleKey,
    pub kind: Kind,
    pub transport: Transport,
    pub received_at: UtcMillis,
    pub value: Bytes,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub offset: u64,
    /// `Err` says why an entry of this offset cannot be understood; a reader counts it and goes on.
    pub record: Result<Record, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error(
        "journal is unavailable ({0}): nothing is acknowledged until it works again; check disk space and permissions"
    )]
    Unavailable(String),
    #[error("an entry of {bytes} bytes exceeds the journal's limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("journal is closed: the server is shutting down")]
    Closed,
}

/// Resolves to the offset once the entry is durable. Dropping it takes nothing back.
pub type Receipt = Pin<Box<dyn Future<Output = Result<u64, JournalError>> + Send>>;

/// How much one [`Journal::read`] returns: at least one entry where there is one, then up to both limits.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    pub entries: usize,
    pub bytes: usize,
}

#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Waits for room, then takes the record; records of one caller are appended in the order of these calls.
    async fn append(&self, record: Record) -> Result<Receipt, JournalError>;

    /// Entries from `offset` on, in order. Offsets may have holes where retention or another release left them.
    async fn read(&self, offset: u64, limit: ReadLimit) -> Result<Vec<Entry>, JournalError>;

    /// The offset that the next entry will get; changes whenever something became durable.
    fn end(&self) -> watch::Receiver<u64>;

    /// Retention: forgets entries below `offset`, a bounded number at a time; returns how many. The newest entry stays.
    async fn discard_before(&self, offset: u64, at_most: usize) -> Result<usize, JournalError>;
}
