//! How much of the backlog may be on its way at once: enough to keep the link busy, little enough that a live batch
//! behind it waits a second at most, whatever carries the bytes.
//!
//! The answers to requests for an acknowledgement are the clock. One that takes much longer than the quickest did has
//! stood in a queue of our own making, and the window is halved; otherwise it doubles.

use std::collections::VecDeque;
use std::time::Duration;

use avl_shared::sequence::{RangeSet, SequenceRange};

/// To begin with: two seconds of a link at the edge of the cell (64 kbit/s), or a tenth of one at 1 Mbit/s.
const FIRST_BYTES: u64 = 16 * 1024;
/// Some batches of 300 fixes; less would send one a round trip.
const LEAST_BYTES: u64 = 4 * 1024;
/// Half of it in a round trip of 200 ms is still more than 1 Mbit/s. What a broken connection may have to send again.
const MOST_BYTES: u64 = 64 * 1024;
/// What a live batch may wait behind the backlog.
const QUEUE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Window {
    limit: u64,
    quickest: Option<Duration>,
    /// Sent, and not wholly acknowledged, with their sizes.
    in_flight: VecDeque<(SequenceRange, u64)>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { limit: FIRST_BYTES, quickest: None, in_flight: VecDeque::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= self.limit
    }

    /// Time to ask, so that the answer comes before the window is full.
    pub(super) fn is_half_full(&self) -> bool {
        self.bytes() >= self.limit / 2
    }

    pub(super) fn sent(&mut self, range: SequenceRange, bytes: u64) {
        self.in_flight.push_back((range, bytes));
    }

    /// What is no longer held has arrived, or will never.
    pub(super) fn settle(&mut self, held: &RangeSet) {
        self.in_flight.retain(|(range, _)| !held.within(*range).is_empty());
    }

    /// A request was answered after this time.
    pub(super) fn answered(&mut self, after: Duration) {
        let quickest = self.quickest.map_or(after, |known| known.min(after));
        self.quickest = Some(quickest);
        self.limit = if after > quickest + QUEUE {
            (self.limit / 2).max(LEAST_BYTES)
        } else {
            (self.limit * 2).min(MOST_BYTES)
        };
    }

    fn bytes(&self) -> u64 {
        self.in_flight.iter().map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SequenceRange {
        SequenceRange::new(first, last).unwrap()
    }

    #[test]
    fn quick_answers_widen_it_and_a_queue_narrows_it() {
        let mut window = Window::new();
        window.answered(Duration::from_millis(200));
        window.answered(Duration::from_millis(300));
        assert_eq!(window.limit, MOST_BYTES);
        window.answered(Duration::from_millis(1300));
        assert_eq!(window.limit, MOST_BYTES / 2);
        (0..10).for_each(|_| window.answered(Duration::from_secs(9)));
        assert_eq!(window.limit, LEAST_BYTES);
    }

    /// A satellite's two seconds are no queue.
    #[test]
    fn a_long_way_alone_narrows_nothing() {
        let mut window = Window::new();
        (0..5).for_each(|_| window.answered(Duration::from_millis(2100)));
        assert_eq!(window.limit, MOST_BYTES);
    }

    #[test]
    fn what_is_settled_makes_room() {
        let mut window = Window::new();
        window.sent(range(0, 299), FIRST_BYTES / 2);
        assert!(window.is_half_full() && !window.is_full());
        window.sent(range(300, 599), FIRST_BYTES / 2);
        assert!(window.is_full());
        window.settle(&[range(250, 599)].into_iter().collect());
        assert!(window.is_full(), "not wholly acknowledged");
        window.settle(&[range(300, 599)].into_iter().collect());
        assert!(!window.is_full() && window.is_half_full());
    }
}
