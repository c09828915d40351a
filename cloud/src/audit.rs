//! The audit of one vehicle: every number that it gave to a fix, and what became of it.
//!
//! What the journal holds counts as received, processed or not: it is durable, and it will be a row.

use std::time::Duration;

use avl_shared::identity::{VehicleId, VehicleKey};
use avl_shared::sequence::{RangeSet, SequenceRange};
use serde::Serialize;

use crate::journal::{Archive, JournalError, ReadLimit};
use crate::process::changes_of;
use crate::store::{Change, EpochLedger, Store, StoreError};

/// One look into the journal behind the store: some megabytes at most.
const PAGE: ReadLimit = ReadLimit { entries: 1_000, bytes: 4 * 1024 * 1024 };
/// Entries that are there come within it, over any network.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(
        "vehicle {0} is unknown here: it appears once it has enrolled and connected; check the name and --data-dir"
    )]
    Unknown(String),
    #[error("vehicle {vehicle} is in more than one fleet ({fleets}): say which with --fleet")]
    Ambiguous { vehicle: String, fleets: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A range as JSON: `[first, last]`.
type Pair = [u64; 2];

#[derive(Debug, Serialize)]
pub struct Lost {
    pub first: u64,
    pub last: u64,
    pub reason: &'static str,
}

#[derive(Debug, Serialize)]
pub struct EpochReport {
    pub epoch: String,
    /// Every number below it was given to a fix.
    pub next_sequence: u64,
    pub received: Vec<Pair>,
    pub missing: Vec<Pair>,
    pub lost: Vec<Lost>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub vehicle: String,
    /// Nothing is missing; what the vehicle declared lost is accounted for.
    pub complete: bool,
    pub received: u64,
    pub missing: u64,
    pub lost: u64,
    pub epochs: Vec<EpochReport>,
}

/// # Errors
/// When the vehicle is unknown, or journal or store cannot be read.
pub async fn audit(
    vehicle: &VehicleKey,
    archive: &dyn Archive,
    store: &dyn Store,
) -> Result<Report, AuditError> {
    // Offsets before the ledger: what is processed in between is counted twice, which changes nothing.
    let mut unprocessed = Vec::new();
    for mut reader in archive.readers().await? {
        let begin = store.next_offset(reader.partition()).await?;
        let end = reader.bounds().await?.end;
        unprocessed.push((reader, begin..end));
    }
    let known = store.vehicle(vehicle).await?.is_some();
    let mut ledgers = store.ledgers(vehicle).await?;
    let mut journaled = false;
    for (mut reader, mut range) in unprocessed {
        while range.start < range.end {
            let entries = reader.read(range.start, PAGE, PATIENCE).await?.entries;
            // Nothing but holes up to the end.
            let Some(last) = entries.last() else { break };
            range.start = last.offset + 1;
            for record in entries.iter().filter_map(|entry| entry.record.as_ref().ok()) {
                if record.vehicle == *vehicle {
                    journaled = true;
                    // What cannot be decoded is not received: it will stay missing.
                    if let Ok(change) = changes_of(record) {
                        account(&mut ledgers, &change);
                    }
                }
            }
        }
    }
    if !known && !journaled {
        return Err(AuditError::Unknown(vehicle.to_string()));
    }
    Ok(report(vehicle, &ledgers))
}

/// Which vehicle `name` means: `fleet/vehicle`, or a vehicle's id that is in one fleet only.
///
/// # Errors
/// When it means none, or several.
pub async fn find(vehicle: &VehicleId, store: &dyn Store) -> Result<VehicleKey, AuditError> {
    let mut found: Vec<VehicleKey> =
        store.vehicles().await?.into_iter().map(|summary| summary.vehicle).collect();
    found.retain(|key| key.vehicle == *vehicle);
    match found.as_slice() {
        [] => Err(AuditError::Unknown(vehicle.to_string())),
        [one] => Ok(one.clone()),
        several => {
            let fleets: Vec<&str> = several.iter().map(|key| key.fleet.as_str()).collect();
            Err(AuditError::Ambiguous { vehicle: vehicle.to_string(), fleets: fleets.join(", ") })
        }
    }
}

fn account(ledgers: &mut Vec<EpochLedger>, change: &Change) {
    let epoch = match change {
        Change::Fixes { epoch, .. } | Change::Lost { epoch, .. } | Change::Known { epoch, .. } => *epoch,
    };
    let index = ledgers.iter().position(|ledger| ledger.epoch == epoch).unwrap_or_else(|| {
        ledgers.push(EpochLedger { epoch, next_sequence: 0, received: RangeSet::new(), lost: Vec::new() });
        ledgers.len() - 1
    });
    let ledger = &mut ledgers[index];
    match change {
        Change::Fixes { first, fixes, .. } => {
            if let Some(range) = SequenceRange::starting_at(*first, fixes.len() as u64) {
                ledger.received.insert(range);
                ledger.next_sequence = ledger.next_sequence.max(range.last().saturating_add(1));
            }
        }
        Change::Lost { ranges, reason, .. } => {
            let mut declared: RangeSet = ledger.lost.iter().map(|(range, _)| *range).collect();
            for &range in ranges.ranges() {
                let fresh = declared.insert(range);
                ledger.lost.extend(fresh.ranges().iter().map(|&range| (range, *reason)));
                ledger.next_sequence = ledger.next_sequence.max(range.last().saturating_add(1));
            }
        }
        Change::Known { next_sequence, .. } => {
            ledger.next_sequence = ledger.next_sequence.max(*next_sequence);
        }
    }
}

fn report(vehicle: &VehicleKey, ledgers: &[EpochLedger]) -> Report {
    let mut report = Report {
        vehicle: vehicle.to_string(),
        complete: true,
        received: 0,
        missing: 0,
        lost: 0,
        epochs: Vec::new(),
    };
    for ledger in ledgers {
        let missing = ledger.missing();
        let mut lost = Vec::new();
        for &(declared, reason) in &ledger.lost {
            for part in ledger.received.missing_within(declared).ranges() {
                report.lost = report.lost.saturating_add(part.count());
                lost.push(Lost { first: part.first(), last: part.last(), reason: reason.name() });
            }
        }
        report.received = report.received.saturating_add(ledger.received.count());
        report.missing = report.missing.saturating_add(missing.count());
        report.epochs.push(EpochReport {
            epoch: ledger.epoch.to_string(),
            next_sequence: ledger.next_sequence,
            received: pairs(&ledger.received),
            missing: pairs(&missing),
            lost,
        });
    }
    report.complete = report.missing == 0;
    report
}

fn pairs(set: &RangeSet) -> Vec<Pair> {
    set.ranges().iter().map(|range| [range.first(), range.last()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::batch::{Batch, encode};
    use avl_shared::link::{DeclareLost, LossReason, message};
    use avl_shared::sequence::Epoch;
    use bytes::Bytes;
    use prost::Message;

    use crate::journal::sqlite::SqliteJournal;
    use crate::journal::{Journal, Kind, Record, Transport};
    use crate::live::LiveFeed;
    use crate::process::Processor;
    use crate::store::conformance::{commit, fix, one_batch, van};
    use crate::store::sqlite::SqliteStore;
    use std::sync::Arc;

    const EPOCH: Epoch = Epoch(7);

    fn open(temp: &tempfile::TempDir) -> (Arc<SqliteJournal>, Arc<SqliteStore>) {
        let journal = SqliteJournal::open(&temp.path().join("journal.sqlite")).unwrap();
        let store = SqliteStore::open(&temp.path().join("store.sqlite")).unwrap();
        (Arc::new(journal), Arc::new(store))
    }

    async fn append(journal: &SqliteJournal, kind: Kind, value: impl Into<Bytes>) {
        let value = value.into();
        let record = Record { vehicle: van(), kind, transport: Transport::Quic, received_at: 0, value };
        journal.append(record).await.unwrap().await.unwrap();
    }

    fn batch(first: u64, count: u64) -> Vec<u8> {
        let fixes = (first..first + count).map(fix).collect();
        encode(&Batch { epoch: EPOCH, first, boot_id: None, fixes }).unwrap()
    }

    #[tokio::test]
    async fn what_the_journal_holds_counts_before_and_after_it_is_processed() {
        let temp = tempfile::tempdir().unwrap();
        let (journal, store) = open(&temp);
        append(&journal, Kind::Batch, batch(0, 10)).await;
        append(&journal, Kind::Batch, batch(30, 10)).await;
        append(&journal, Kind::Batch, &b"poison"[..]).await;
        let ranges = vec![message::Range { first: 5, last: 14 }];
        let lost = DeclareLost { epoch: EPOCH.0, ranges, reason: LossReason::BufferFull.into() };
        append(&journal, Kind::Lost, lost.encode_to_vec()).await;
        let before = audit(&van(), &*journal, &*store).await.unwrap();
        Processor::new(store.clone(), LiveFeed::default()).catch_up(&*journal).await.unwrap();
        let after = audit(&van(), &*journal, &*store).await.unwrap();
        assert_eq!(serde_json::to_string(&before).unwrap(), serde_json::to_string(&after).unwrap());
        assert!(!after.complete);
        assert_eq!((after.received, after.missing, after.lost), (20, 15, 5));
        assert_eq!(after.epochs[0].missing, [[15, 29]]);
        assert_eq!((after.epochs[0].lost[0].first, after.epochs[0].lost[0].last), (10, 14));
    }

    #[tokio::test]
    async fn a_vehicle_alone_is_enough_where_only_one_fleet_has_it() {
        let temp = tempfile::tempdir().unwrap();
        let (journal, store) = open(&temp);
        commit(&*store, one_batch(0, 1), 0).await.unwrap();
        assert_eq!(find(&van().vehicle, &*store).await.unwrap(), van());
        let other: VehicleKey = "other/van-1".parse().unwrap();
        let known = Change::Known { vehicle: other, epoch: EPOCH, next_sequence: 1 };
        commit(&*store, vec![known], 0).await.unwrap();
        assert!(matches!(find(&van().vehicle, &*store).await, Err(AuditError::Ambiguous { .. })));
        let nobody: VehicleKey = "demo/nobody".parse().unwrap();
        assert!(matches!(audit(&nobody, &*journal, &*store).await, Err(AuditError::Unknown(_))));
    }
}
