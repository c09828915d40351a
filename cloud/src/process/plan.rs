//! What a stretch of the journal means for the store: a pure function of its entries.

use avl_shared::batch;
use avl_shared::link::{DeclareLost, Hello, LossReason, ranges_from_message};
use avl_shared::sequence::Epoch;
use prost::Message;

use crate::journal::{Entry, Kind, Record};
use crate::store::{Change, MAX_SEQUENCE};

/// An entry that can never be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub offset: u64,
    pub reason: String,
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
        match entry.record.as_ref().map_err(Clone::clone).and_then(changes_of) {
            Ok(change) => {
                if let Change::Fixes { fixes: new, .. } = &change {
                    fixes += new.len();
                }
                plan.changes.push(change);
            }
            Err(reason) => plan.refused.push(Refusal { offset: entry.offset, reason }),
        }
        plan.next_offset = entry.offset + 1;
    }
    plan
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
            Ok(Change::Lost { vehicle, epoch: Epoch(lost.epoch), ranges, reason })
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
