//! What a stretch of the journal means for the store: a pure function of its entries.

use avl_shared::batch;
use avl_shared::link::{DeclareLost, Hello, LossReason, ranges_from_message};
use avl_shared::sequence::Epoch;
use prost::Message;

use crate::journal::{Entry, Kind, Record, Unreadable};
use crate::outlet::Reject;
use crate::store::{Change, MAX_SEQUENCE, Refused};

/// An entry that can never be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub offset: u64,
    pub reject: Reject,
}

impl Refusal {
    /// For the store, where operators look; the value stays in the journal.
    #[must_use]
    pub fn refused(&self) -> Refused {
        let Reject { reason, key, received_at, value } = &self.reject;
        Refused {
            offset: self.offset,
            reason: reason.clone(),
            key: key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default(),
            received_at: *received_at,
            bytes: value.len() as u64,
        }
    }
}

#[derive(Debug, Default)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub refused: Vec<Refusal>,
    /// The first offset that this plan does not cover.
    pub next_offset: u64,
}

/// Turns entries, which are in order, into changes; stops once `max_fixes` are reached. At least one entry is taken.
#[must_use]
pub fn plan(entries: &[Entry], max_fixes: usize) -> Plan {
    let mut plan = Plan::default();
    let mut fixes = 0;
    for entry in entries {
        if fixes >= max_fixes {
            break;
        }
        match understand(entry) {
            Ok(change) => {
                if let Change::Fixes { fixes: new, .. } = &change {
                    fixes += new.len();
                }
                plan.changes.push(change);
            }
            Err(reject) => plan.refused.push(Refusal { offset: entry.offset, reject }),
        }
        plan.next_offset = entry.offset + 1;
    }
    plan
}

fn understand(entry: &Entry) -> Result<Change, Reject> {
    let record = entry.record.as_ref().map_err(|unreadable| {
        let Unreadable { reason, key, received_at, value } = unreadable.clone();
        Reject { reason, key, received_at, value }
    })?;
    changes_of(record).map_err(|reason| Reject {
        reason,
        key: Some(record.vehicle.to_string().into()),
        received_at: Some(record.received_at),
        value: record.value.clone(),
    })
}

/// # Errors
/// The reason why the record can never be processed.
pub fn changes_of(record: &Record) -> Result<Change, String> {
    let vehicle = record.vehicle.clone();
    match record.kind {
        Kind::Batch => {
            let batch = batch::decode(&record.value).map_err(|error| error.to_string())?;
            let last = batch.first.checked_add((batch.fixes.len() as u64).saturating_sub(1));
            in_bounds(last)?;
            Ok(Change::Fixes {
                vehicle,
                epoch: batch.epoch,
                first: batch.first,
                fixes: batch.fixes,
                received_at: record.received_at,
            })
        }
        Kind::Lost => {
            let lost = DeclareLost::decode(&record.value[..]).map_err(|error| error.to_string())?;
            let reason = LossReason::try_from(lost.reason).unwrap_or(LossReason::Unspecified);
            let ranges = ranges_from_message(&lost.ranges).map_err(|error| error.to_string())?;
            in_bounds(Some(ranges.last().unwrap_or(0)))?;
            let received_at = record.received_at;
            Ok(Change::Lost { vehicle, epoch: Epoch(lost.epoch), ranges, reason, received_at })
        }
        Kind::Known => {
            let hello = Hello::decode(&record.value[..]).map_err(|error| error.to_string())?;
            in_bounds(Some(hello.next_sequence.saturating_sub(1)))?;
            Ok(Change::Known { vehicle, epoch: Epoch(hello.epoch), next_sequence: hello.next_sequence })
        }
    }
}

fn in_bounds(last: Option<u64>) -> Result<(), String> {
    match last {
        Some(last) if last <= MAX_SEQUENCE => Ok(()),
        _ => Err(format!("sequence numbers exceed {MAX_SEQUENCE}")),
    }
}
