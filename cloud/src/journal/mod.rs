//! The journal: the durable, ordered log of what vehicles sent, and the source of truth.
//!
//! It has one or more partitions; all of one vehicle lies in one of them. What it promises: when [`Receipt`] resolves
//! to a place, the entry is on disk and survives a power cut; entries of a partition are read in the order of their
//! offsets, and an entry that was answered is never skipped. What it does not do: look into values, or drop
//! duplicates (the store does).
//!
//! Three borders, at which Kafka can take the place of the embedded log: [`Journal`] takes entries, [`Archive`] shows
//! what is there, and [`Subscription`] says which partitions this process is to follow, and when no longer.

pub mod kafka;
pub mod sqlite;
mod subscription;

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use bytes::Bytes;

pub use subscription::{Event, Permanent, Subscription};

/// One of the ordered logs that make up the journal. The embedded journal has only [`Partition::FIRST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

impl Partition {
    pub const FIRST: Self = Self(0);
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where an entry is: offsets count within a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub partition: Partition,
    pub offset: u64,
}

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

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Lost => "lost",
            Self::Known => "known",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Batch, Self::Lost, Self::Known].into_iter().find(|kind| kind.name() == name)
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

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Mqtt => "mqtt",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Quic, Self::Mqtt].into_iter().find(|transport| transport.name() == name)
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

/// What is read of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub offset: u64,
    /// `Err` is an entry that cannot be understood; a reader counts it and goes on.
    pub record: Result<Record, Unreadable>,
}

/// What nobody can understand, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub reason: String,
    /// Where a vehicle's name should stand.
    pub key: Option<Bytes>,
    pub received_at: Option<UtcMillis>,
    pub value: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error(
        "journal is unavailable ({0}): nothing is acknowledged until it works again; check the disk, or the brokers"
    )]
    Unavailable(String),
    #[error("an entry of {bytes} bytes exceeds the journal's limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("journal is closed: the server is shutting down")]
    Closed,
}

/// Resolves to the entry's place once it is durable. Dropping it takes nothing back.
pub type Receipt = Pin<Box<dyn Future<Output = Result<Place, JournalError>> + Send>>;

/// Where entries go.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Waits for room, then takes the record; records of one caller and one vehicle are appended in the order of
    /// these calls.
    async fn append(&self, record: Record) -> Result<Receipt, JournalError>;
}

/// How much one [`PartitionReader::read`] returns: at least one entry where there is one, then up to both limits.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    pub entries: usize,
    pub bytes: usize,
}

/// Entries that follow each other in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub entries: Vec<Entry>,
    /// The offset that the partition's next entry will get, as far as the reader has heard.
    pub end: u64,
}

/// Reads one partition. It keeps no place: whoever reads says where to go on.
#[async_trait]
pub trait PartitionReader: Send {
    fn partition(&self) -> Partition;

    /// The offset of the oldest entry, and the one that the next entry will get.
    async fn bounds(&mut self) -> Result<Range<u64>, JournalError>;

    /// Entries from `offset` on, in order. Offsets may have holes where retention or another release left them. Waits
    /// up to `patience` for an entry, and returns none when there is none. May be dropped while it waits.
    async fn read(
        &mut self,
        offset: u64,
        limit: ReadLimit,
        patience: Duration,
    ) -> Result<Stretch, JournalError>;
}

/// What the journal holds, for audits and repeats: reading here takes nothing from those who follow it.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// A reader for each partition.
    async fn readers(&self) -> Result<Vec<Box<dyn PartitionReader>>, JournalError>;
}
