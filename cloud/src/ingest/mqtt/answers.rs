//! Which vehicles an acknowledgement is due to. Only those are in memory: a vehicle enters with its first durable batch
//! and leaves with its acknowledgement. No I/O, and the time comes from outside.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use avl_shared::identity::VehicleKey;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use tokio::time::Instant;

use crate::ingest::acks::AckPolicy;
use crate::ingest::greeting::MAX_RANGES;

pub(super) type Address = (VehicleKey, Epoch);

/// To be acknowledged now.
pub(super) type Due = (Address, RangeSet);

/// At most so many vehicles, each with what fits one acknowledgement.
#[derive(Debug)]
pub(super) struct Answers {
    interval: Duration,
    most: usize,
    waiting: HashMap<Address, AckPolicy>,
    by_deadline: BTreeSet<(Instant, Address)>,
}

impl Answers {
    /// At most `most` vehicles wait for at most `interval`.
    pub(super) fn new(interval: Duration, most: usize) -> Self {
        Self { interval, most: most.max(1), waiting: HashMap::new(), by_deadline: BTreeSet::new() }
    }

    /// These numbers have become durable. Returns what must be acknowledged now to keep the bounds.
    pub(super) fn durable(&mut self, address: &Address, ranges: &[SequenceRange], now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        if ranges.is_empty() {
            return due;
        }
        if !self.waiting.contains_key(address) && self.waiting.len() >= self.most {
            due.extend(self.take_oldest());
        }
        let policy = self.waiting.entry(address.clone()).or_insert_with(|| AckPolicy::new(self.interval));
        let before = policy.deadline();
        policy.durable(ranges, now);
        if before.is_none()
            && let Some(deadline) = policy.deadline()
        {
            self.by_deadline.insert((deadline, address.clone()));
        }
        if policy.fragments() >= MAX_RANGES {
            due.extend(self.take(address).map(|ranges| (address.clone(), ranges)));
        }
        due
    }

    /// What is durable and not acknowledged; it counts as acknowledged from now on.
    pub(super) fn take(&mut self, address: &Address) -> Option<RangeSet> {
        let mut policy = self.waiting.remove(address)?;
        if let Some(deadline) = policy.deadline() {
            self.by_deadline.remove(&(deadline, address.clone()));
        }
        policy.take()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// The next one whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        if self.next_deadline()? <= now { self.take_oldest() } else { None }
    }

    /// Whoever waits longest.
    pub(super) fn take_oldest(&mut self) -> Option<Due> {
        let address = self.by_deadline.first()?.1.clone();
        let ranges = self.take(&address)?;
        Some((address, ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn address(n: usize) -> Address {
        (format!("acme/van-{n}").parse().unwrap(), Epoch(7))
    }

    fn range(first: u64, last: u64) -> SequenceRange {
        SequenceRange::new(first, last).unwrap()
    }

    #[test]
    fn each_vehicle_waits_for_its_own_interval_and_is_forgotten_with_its_acknowledgement() {
        let (mut answers, start) = (Answers::new(INTERVAL, 10), Instant::now());
        answers.durable(&address(1), &[range(0, 9)], start);
        answers.durable(&address(2), &[range(5, 6)], start + INTERVAL / 2);
        answers.durable(&address(1), &[range(10, 19)], start + INTERVAL / 2);
        assert_eq!(answers.next_deadline(), Some(start + INTERVAL));
        let (who, what) = answers.take_due(start + INTERVAL).unwrap();
        assert_eq!((who, what.to_string().as_str()), (address(1), "0-19"));
        assert_eq!(answers.take_due(start + INTERVAL), None);
        assert_eq!(answers.waiting.len(), 1);
    }

    #[test]
    fn who_asks_gets_all_of_its_own_and_nothing_of_others() {
        let (mut answers, now) = (Answers::new(INTERVAL, 10), Instant::now());
        answers.durable(&address(1), &[range(0, 9)], now);
        answers.durable(&address(2), &[range(0, 4)], now);
        let other_epoch = (address(1).0, Epoch(8));
        assert_eq!(answers.take(&other_epoch), None);
        assert_eq!(answers.take(&address(1)).unwrap().to_string(), "0-9");
        assert_eq!(answers.take(&address(1)), None);
        assert_eq!(answers.next_deadline(), Some(now + INTERVAL), "the other one's");
    }

    #[test]
    fn when_too_many_wait_the_oldest_is_acknowledged_at_once() {
        let (mut answers, now) = (Answers::new(INTERVAL, 2), Instant::now());
        for n in 0..2 {
            let at = now + Duration::from_secs(n as u64);
            assert_eq!(answers.durable(&address(n), &[range(0, 0)], at), []);
        }
        let due = answers.durable(&address(2), &[range(0, 0)], now + INTERVAL / 2);
        assert_eq!(due.iter().map(|(who, _)| who.clone()).collect::<Vec<_>>(), [address(0)]);
        assert_eq!(answers.waiting.len(), 2);
    }

    #[test]
    fn a_set_too_torn_for_one_acknowledgement_goes_at_once() {
        let (mut answers, now) = (Answers::new(INTERVAL, 2), Instant::now());
        let torn: Vec<_> = (0..MAX_RANGES as u64).map(|n| range(n * 2, n * 2)).collect();
        let due = answers.durable(&address(0), &torn, now);
        assert_eq!(due.len(), 1);
        assert!(answers.waiting.is_empty() && answers.by_deadline.is_empty());
    }

    proptest! {
        /// Everything that became durable is acknowledged exactly once, in time, whoever asks and however many there are.
        #[test]
        fn nothing_is_acknowledged_late_twice_or_never(
            steps in prop::collection::vec((0_usize..6, 0_u8..3, 0_u64..200), 1..100),
        ) {
            let mut answers = Answers::new(INTERVAL, 3);
            let (start, mut now) = (Instant::now(), Instant::now());
            let mut owed: HashMap<Address, (RangeSet, Instant)> = HashMap::new();
            let mut next = 0;
            for (who, what, wait) in steps {
                now += Duration::from_secs(wait);
                while let Some((whom, ranges)) = answers.take_due(now) {
                    let (expected, _) = owed.remove(&whom).expect("acknowledged twice");
                    prop_assert_eq!(ranges, expected);
                }
                let mut due = Vec::new();
                match what {
                    0 => due.extend(answers.take(&address(who)).map(|ranges| (address(who), ranges))),
                    _ => {
                        owed.entry(address(who)).or_insert_with(|| (RangeSet::new(), now)).0.insert(range(next, next));
                        due.extend(answers.durable(&address(who), &[range(next, next)], now));
                        next += 2;
                    }
                }
                for (whom, ranges) in due {
                    let (expected, _) = owed.remove(&whom).expect("acknowledged twice");
                    prop_assert_eq!(ranges, expected);
                }
                prop_assert!(answers.waiting.len() <= 3);
                prop_assert_eq!(answers.waiting.len(), answers.by_deadline.len());
                prop_assert_eq!(owed.len(), answers.waiting.len());
                prop_assert!(owed.values().all(|(_, since)| now.duration_since(*since) < INTERVAL), "{:?}", start);
            }
        }
    }
}
