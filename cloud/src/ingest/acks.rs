//! When to acknowledge: as soon as the vehicle asks and everything before is durable, otherwise seldom, because an
//! acknowledgement costs the vehicle more bytes than a batch.

use std::time::Duration;

use avl_shared::sequence::{RangeSet, SequenceRange};
use tokio::time::Instant;

/// What is durable and not acknowledged yet, and since when.
#[derive(Debug)]
pub(super) struct AckPolicy {
    interval: Duration,
    unacknowledged: RangeSet,
    /// When the oldest of them must be acknowledged.
    deadline: Option<Instant>,
    asked: bool,
}

impl AckPolicy {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, unacknowledged: RangeSet::new(), deadline: None, asked: false }
    }

    /// These numbers have become durable, and all that were sent before them.
    pub(super) fn durable(&mut self, ranges: &[SequenceRange], now: Instant) {
        for &range in ranges {
            self.unacknowledged.insert(range);
            self.deadline.get_or_insert(now + self.interval);
        }
    }

    /// The vehicle asked, and everything sent up to its question has been settled.
    pub(super) fn asked(&mut self) {
        self.asked = true;
    }

    /// How many ranges an acknowledgement would list now.
    pub(super) fn fragments(&self) -> usize {
        self.unacknowledged.ranges().len()
    }

    /// The time of the next acknowledgement if nobody asks before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What to acknowledge now, if it is time.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<RangeSet> {
        let due = self.asked || self.deadline.is_some_and(|deadline| deadline <= now);
        if due { self.take() } else { None }
    }

    /// What to acknowledge before a close.
    pub(super) fn take(&mut self) -> Option<RangeSet> {
        self.asked = false;
        self.deadline = None;
        Some(std::mem::take(&mut self.unacknowledged)).filter(|ranges| !ranges.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn range(first: u64, last: u64) -> SequenceRange {
        SequenceRange::new(first, last).unwrap()
    }

    #[test]
    fn unasked_acks_wait_for_the_interval_and_cover_everything_since() {
        let start = Instant::now();
        let mut policy = AckPolicy::new(INTERVAL);
        policy.durable(&[range(0, 9)], start);
        policy.durable(&[range(10, 19)], start + INTERVAL / 2);
        assert_eq!(policy.take_due(start + INTERVAL / 2), None);
        assert_eq!(policy.deadline(), Some(start + INTERVAL));
        assert_eq!(policy.take_due(start + INTERVAL).unwrap().to_string(), "0-19");
        assert_eq!(policy.deadline(), None);
    }

    #[test]
    fn an_asked_ack_goes_at_once() {
        let now = Instant::now();
        let mut policy = AckPolicy::new(INTERVAL);
        policy.durable(&[range(0, 9)], now);
        policy.asked();
        assert_eq!(policy.take_due(now).unwrap().to_string(), "0-9");
        policy.durable(&[range(10, 19)], now);
        assert_eq!(policy.take_due(now), None, "one question, one answer");
    }

    #[test]
    fn with_nothing_durable_there_is_nothing_to_say() {
        let mut policy = AckPolicy::new(INTERVAL);
        policy.asked();
        assert_eq!(policy.take_due(Instant::now()), None);
    }
}
