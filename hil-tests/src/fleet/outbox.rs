//! What a virtual vehicle still has to send, and what it has sent and not yet heard of.

use std::collections::VecDeque;

use anyhow::Context as _;
use avl_shared::batch::{self, Batch};
use avl_shared::fix::Fix;
use avl_shared::link::{self, Hello, LaneFrame, PROTOCOL};
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use bytes::Bytes;

/// Batches a vehicle keeps; with more it stops driving until the cloud is back. Far more than any outage in a test.
pub(super) const CAPACITY: usize = 20_000;
/// Asks for an acknowledgement behind so many batches.
const ACK_EVERY: usize = 20;

#[derive(Debug)]
pub(super) struct Outbox {
    epoch: Epoch,
    next_sequence: u64,
    batches: VecDeque<(SequenceRange, Bytes)>,
    /// The first batch not yet sent on this connection.
    unsent: usize,
    since_ack_wanted: usize,
}

impl Outbox {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self { epoch, next_sequence: 0, batches: VecDeque::new(), unsent: 0, since_ack_wanted: 0 }
    }

    pub(super) fn push(&mut self, fixes: Vec<Fix>) -> anyhow::Result<()> {
        let range =
            SequenceRange::starting_at(self.next_sequence, fixes.len() as u64).context("an empty batch")?;
        let batch = Batch { epoch: self.epoch, first: range.first(), boot_id: None, fixes };
        self.batches.push_back((range, batch::encode(&batch)?.into()));
        self.next_sequence = range.last() + 1;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.batches.len() >= CAPACITY
    }

    /// First on a new connection: everything that is not acknowledged is to be sent again.
    pub(super) fn hello(&mut self) -> Hello {
        self.unsent = 0;
        self.since_ack_wanted = 0;
        let held: RangeSet = self.batches.iter().map(|(range, _)| *range).collect();
        Hello {
            protocol: PROTOCOL,
            epoch: self.epoch.0,
            next_sequence: self.next_sequence,
            held: link::ranges_to_message(&held),
            agent_version: concat!("virtual/", env!("CARGO_PKG_VERSION")).to_owned(),
            boot_id: self.epoch.0,
            batch_versions: vec![1],
            ..Hello::default()
        }
    }

    /// The next batch to send. A parking vehicle wants its last one acknowledged, and sends it once more if it
    /// had not asked for that the first time.
    pub(super) fn next_frame(&mut self, parking: bool) -> Option<LaneFrame> {
        if parking && self.unsent == self.batches.len() && self.since_ack_wanted > 0 {
            self.unsent = self.unsent.checked_sub(1)?;
        }
        let (_, batch) = self.batches.get(self.unsent)?;
        self.unsent += 1;
        self.since_ack_wanted += 1;
        let last = self.unsent == self.batches.len();
        let ack_wanted = self.since_ack_wanted >= ACK_EVERY || (parking && last);
        if ack_wanted {
            self.since_ack_wanted = 0;
        }
        Some(LaneFrame { ack_wanted, batch: batch.clone() })
    }

    /// Forgets what is durable; returns how many fixes that were.
    pub(super) fn acknowledge(&mut self, epoch: u32, durable: &RangeSet) -> u64 {
        if epoch != self.epoch.0 {
            return 0;
        }
        let mut forgotten = 0;
        let mut sent_before = 0;
        let mut index = 0;
        let unsent = self.unsent;
        self.batches.retain(|(range, _)| {
            let covered = durable.covers(*range);
            if covered {
                forgotten += range.count();
                sent_before += usize::from(index < unsent);
            }
            index += 1;
            !covered
        });
        self.unsent -= sent_before;
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Drive;

    fn outbox(batches: usize) -> Outbox {
        let mut outbox = Outbox::new(Epoch(7));
        let mut drive = Drive::seeded(1, 1_790_000_000_000, 1);
        for _ in 0..batches {
            outbox.push(drive.by_ref().take(5).map(|reading| reading.fix()).collect()).unwrap();
        }
        outbox
    }

    fn ranges(first: u64, last: u64) -> RangeSet {
        SequenceRange::new(first, last).into_iter().collect()
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_and_the_rest_is_sent_once_a_connection() {
        let mut outbox = outbox(4);
        assert_eq!(outbox.hello().next_sequence, 20);
        assert!(outbox.next_frame(false).is_some());
        assert_eq!(outbox.acknowledge(7, &ranges(0, 4)), 5);
        assert_eq!(outbox.acknowledge(8, &ranges(0, 19)), 0, "another epoch says nothing about this one");
        let rest: Vec<_> = std::iter::from_fn(|| outbox.next_frame(false)).collect();
        assert_eq!(rest.len(), 3);
        outbox.hello();
        assert_eq!(
            std::iter::from_fn(|| outbox.next_frame(false)).count(),
            3,
            "a new connection starts over"
        );
    }

    #[test]
    fn a_batch_acknowledged_in_part_stays() {
        let mut outbox = outbox(1);
        assert_eq!(outbox.acknowledge(7, &ranges(0, 3)), 0);
        assert!(!outbox.is_empty());
    }

    #[test]
    fn the_last_batch_of_a_parking_vehicle_wants_its_acknowledgement() {
        let mut outbox = outbox(3);
        let wanted: Vec<bool> =
            std::iter::from_fn(|| outbox.next_frame(true)).map(|frame| frame.ack_wanted).collect();
        assert_eq!(wanted, [false, false, true]);
    }

    #[test]
    fn a_vehicle_that_parks_behind_its_last_batch_asks_with_it_again() {
        let mut outbox = outbox(2);
        assert_eq!(std::iter::from_fn(|| outbox.next_frame(false)).count(), 2);
        let again: Vec<_> = std::iter::from_fn(|| outbox.next_frame(true)).collect();
        assert_eq!(again.len(), 1);
        assert!(again[0].ack_wanted);
    }
}
