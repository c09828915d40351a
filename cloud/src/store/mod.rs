//! Where processed fixes live, and the ledger of what arrived.
//!
//! One trait, several stores. The processor writes through [`Store::commit`], which is one transaction: rows,
//! ranges and the journal offset stand or fall together, so a batch that is processed again changes nothing.
//!
//! A partition of the journal has one owner at a time, the one that called [`Store::claim`] last: a commit of an
//! earlier owner, who has not heard yet that the partition is another's, is refused whole.

#[cfg(test)]
pub(crate) mod conformance;
pub mod sqlite;
pub mod timescale;

use std::sync::Arc;

use async_trait::async_trait;
use avl_shared::fix::{Fix, UtcMillis};
use avl_shared::identity::VehicleKey;
use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};

use crate::journal::Partition;

/// The highest sequence number a store keeps: databases count in signed 64 bits, and the number after it must fit too.
pub const MAX_SEQUENCE: u64 = i64::MAX as u64 - 1;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("store is unavailable: {0}")]
    Unavailable(String),
    #[error("store holds data that cannot be read: {0}")]
    Corrupt(String),
    #[error(
        "partition {partition} of the journal has a newer owner: this commit is refused and changes nothing"
    )]
    Fenced { partition: Partition },
}

/// One stored fix.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    pub epoch: Epoch,
    pub sequence: u64,
    pub fix: Fix,
    /// When the cloud received the batch.
    pub received_at: UtcMillis,
}

impl Position {
    /// Rows are ordered by GNSS time; a fix without one stands at the time it was received.
    #[must_use]
    pub fn time(&self) -> UtcMillis {
        self.fix.time.unwrap_or(self.received_at)
    }
}

/// What one journal entry brings to the store.
#[derive(Clone, Debug)]
pub enum Change {
    /// A decoded batch; the store drops what the ledger already has.
    Fixes { vehicle: VehicleKey, epoch: Epoch, first: u64, fixes: Vec<Fix>, received_at: UtcMillis },
    /// The vehicle gave these up and said why.
    Lost { vehicle: VehicleKey, epoch: Epoch, ranges: RangeSet, reason: LossReason, received_at: UtcMillis },
    /// The vehicle said hello: every number below `next_sequence` was given to a fix.
    Known { vehicle: VehicleKey, epoch: Epoch, next_sequence: u64 },
}

/// What an owner of a partition gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Offset of the next journal entry to process.
    pub next_offset: u64,
    /// Offset up to which what the entries brought is published as well.
    pub published_offset: u64,
    /// The newest event of the partition's outbox that is published.
    pub published_event: u64,
    /// Names the claim in commits; grows with each claim of the partition.
    pub generation: u64,
}

/// One transaction: the changes, and the place in the journal that they bring the store up to.
#[derive(Clone, Debug)]
pub struct Commit {
    pub partition: Partition,
    /// That of the [`Claim`] under which the changes were read.
    pub generation: u64,
    pub changes: Arc<[Change]>,
    /// Entries on the way that can never be processed, for operators.
    pub refused: Vec<Refused>,
    /// Offset of the next journal entry to process; the store never goes back.
    pub next_offset: u64,
}

/// An entry of the journal that can never be processed. The journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub offset: u64,
    pub reason: String,
    /// The vehicle's name, or what stands in its place.
    pub key: String,
    pub received_at: Option<UtcMillis>,
    pub bytes: u64,
}

/// How far a partition is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    pub offset: u64,
    /// See [`KeptEvent::place`].
    pub event: u64,
}

/// An event in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// Counts up within a partition, with holes.
    pub place: u64,
    pub vehicle: VehicleKey,
    /// `avl.v1.Event`.
    pub message: Vec<u8>,
}

/// What a commit did.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    pub stored: u64,
    pub duplicates: u64,
    /// For each change the numbers that were new; none where it brings no fixes.
    pub fresh: Vec<RangeSet>,
    /// How many events went into the outbox.
    pub events: u64,
    /// For each touched vehicle whose newest position changed: that position.
    pub newest: Vec<(VehicleKey, Position)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct VehicleSummary {
    pub vehicle: VehicleKey,
    pub fixes: u64,
    pub newest: Option<Position>,
}

/// The ledger of one buffer of one vehicle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochLedger {
    pub epoch: Epoch,
    /// Every number below it was given to a fix, as far as the cloud knows.
    pub next_sequence: u64,
    pub received: RangeSet,
    pub lost: Vec<(SequenceRange, LossReason)>,
}

impl EpochLedger {
    /// Neither received nor declared lost.
    #[must_use]
    pub fn missing(&self) -> RangeSet {
        let mut accounted = self.received.clone();
        for (range, _) in &self.lost {
            accounted.insert(*range);
        }
        match self.next_sequence.checked_sub(1).and_then(|last| SequenceRange::new(0, last)) {
            Some(all) => accounted.missing_within(all),
            None => RangeSet::new(),
        }
    }
}

/// A page of a vehicle's positions: time in `from..to`, ordered by (time, epoch, sequence).
#[derive(Clone, Debug)]
pub struct PositionQuery {
    pub vehicle: VehicleKey,
    pub from: UtcMillis,
    pub to: UtcMillis,
    /// Rows strictly after this one.
    pub after: Option<PositionCursor>,
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PositionCursor {
    pub time: UtcMillis,
    pub epoch: Epoch,
    pub sequence: u64,
}

#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes `owner` (a name for operators) the only one who may commit for this partition, and says where to go on.
    async fn claim(&self, partition: Partition, owner: &str) -> Result<Claim, StoreError>;

    /// Applies one transaction; when it returns, the changes are durable. [`StoreError::Fenced`], and no change, when
    /// the partition was claimed anew since.
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError>;

    /// Notes that what was processed is published up to this place; never goes back. [`StoreError::Fenced`] as for commits.
    async fn published(
        &self,
        partition: Partition,
        generation: u64,
        published: Published,
    ) -> Result<(), StoreError>;

    /// The partition's events behind `after`, in the order in which they were committed.
    async fn events(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptEvent>, StoreError>;

    /// The newest entries that were refused, newest first.
    async fn refused(&self, limit: usize) -> Result<Vec<(Partition, Refused)>, StoreError>;

    /// Offset of the partition's next journal entry to process; 0 for a partition that nobody has claimed.
    async fn next_offset(&self, partition: Partition) -> Result<u64, StoreError>;

    async fn vehicles(&self) -> Result<Vec<VehicleSummary>, StoreError>;

    async fn vehicle(&self, vehicle: &VehicleKey) -> Result<Option<VehicleSummary>, StoreError>;

    async fn positions(&self, query: PositionQuery) -> Result<Vec<Position>, StoreError>;

    /// One ledger an epoch, oldest first; empty for a vehicle that never said hello.
    async fn ledgers(&self, vehicle: &VehicleKey) -> Result<Vec<EpochLedger>, StoreError>;

    /// What was received with a [`Position::time`] in `from..to`: one set an epoch, without empty ones.
    /// Whole history asks for millions of rows, so the store groups them itself.
    async fn received_within(
        &self,
        vehicle: &VehicleKey,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<(Epoch, RangeSet)>, StoreError>;

    /// The rows of these numbers of one epoch, by ascending number; those not received are left out.
    async fn positions_at(
        &self,
        vehicle: &VehicleKey,
        epoch: Epoch,
        sequences: &[u64],
    ) -> Result<Vec<Position>, StoreError>;
}
