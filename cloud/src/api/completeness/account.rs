//! The account of one epoch: the whole ledger, or what of it belongs, or may belong, to a period.

use avl_shared::fix::{UtcMillis, Verdict};
use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};

use crate::api::period::Period;
use crate::store::{EpochLedger, Position};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) epoch: Epoch,
    pub(super) next_sequence: u64,
    pub(super) received: RangeSet,
    pub(super) missing: RangeSet,
    pub(super) lost: Vec<(SequenceRange, LossReason)>,
}

impl Account {
    pub(super) fn of_all_time(ledger: &EpochLedger) -> Self {
        Self {
            epoch: ledger.epoch,
            next_sequence: ledger.next_sequence,
            received: ledger.received.clone(),
            missing: ledger.missing(),
            lost: lost(ledger),
        }
    }

    /// `touching` are the runs of [`absent`] numbers that may belong to the period.
    pub(super) fn of_period(ledger: &EpochLedger, received: RangeSet, touching: &[SequenceRange]) -> Self {
        let touched: RangeSet = touching.iter().copied().collect();
        let within = |range: SequenceRange| touched.covers(range);
        Self {
            epoch: ledger.epoch,
            next_sequence: ledger.next_sequence,
            received,
            missing: ledger.missing().ranges().iter().copied().filter(|range| within(*range)).collect(),
            lost: lost(ledger).into_iter().filter(|(range, _)| within(*range)).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.received.is_empty() && self.missing.is_empty() && self.lost.is_empty()
    }
}

/// What was declared lost and did not arrive after all.
fn lost(ledger: &EpochLedger) -> Vec<(SequenceRange, LossReason)> {
    let parts = |(range, reason): &(SequenceRange, LossReason)| {
        let reason = *reason;
        ledger.received.missing_within(*range).ranges().iter().map(|part| (*part, reason)).collect::<Vec<_>>()
    };
    ledger.lost.iter().flat_map(parts).collect()
}

/// Runs of numbers that did not arrive, missing or lost. Each run lies between two received numbers, or at an end.
pub(super) fn absent(ledger: &EpochLedger) -> RangeSet {
    let mut absent = ledger.missing();
    for (range, _) in lost(ledger) {
        absent.insert(range);
    }
    absent
}

/// The numbers beside the runs: when they happened bounds when the runs happened.
pub(super) fn neighbours(absent: &RangeSet) -> Vec<u64> {
    let beside = |run: &SequenceRange| [run.first().checked_sub(1), run.last().checked_add(1)];
    let mut numbers: Vec<u64> = absent.ranges().iter().flat_map(beside).flatten().collect();
    // Two runs can share a neighbour.
    numbers.dedup();
    numbers
}

/// The runs that may have happened in the period; `neighbours` are in ascending order of their numbers.
pub(super) fn touching(absent: &RangeSet, neighbours: &[Position], period: Period) -> Vec<SequenceRange> {
    let time_of = |sequence: Option<u64>| {
        let index = neighbours.binary_search_by_key(&sequence?, |position| position.sequence).ok()?;
        trusted_time(&neighbours[index])
    };
    let touches = |run: &SequenceRange| {
        let (before, after) = (time_of(run.first().checked_sub(1)), time_of(run.last().checked_add(1)));
        let (earliest, latest) = match (before, after) {
            // GNSS time can step back between two good fixes.
            (Some(before), Some(after)) => (before.min(after), before.max(after)),
            (before, after) => (before.unwrap_or(UtcMillis::MIN), after.unwrap_or(UtcMillis::MAX)),
        };
        period.from < latest.max(earliest.saturating_add(1)) && earliest < period.to
    };
    absent.ranges().iter().copied().filter(touches).collect()
}

/// A fix with no time, or a doubted one, bounds nothing.
fn trusted_time(position: &Position) -> Option<UtcMillis> {
    position.fix.time.filter(|_| !position.fix.verdict.intersects(Verdict::NO_TIME | Verdict::TIME_JUMP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::fix::Fix;

    const EPOCH: Epoch = Epoch(7);

    fn range(first: u64, last: u64) -> SequenceRange {
        SequenceRange::new(first, last).unwrap()
    }

    fn ledger(received: &[(u64, u64)], next_sequence: u64, lost: &[(u64, u64)]) -> EpochLedger {
        EpochLedger {
            epoch: EPOCH,
            next_sequence,
            received: received.iter().map(|(first, last)| range(*first, *last)).collect(),
            lost: lost.iter().map(|(first, last)| (range(*first, *last), LossReason::BufferFull)).collect(),
        }
    }

    /// A vehicle that records one fix a second: number n at n seconds.
    fn rows(numbers: &[u64]) -> Vec<Position> {
        let row = |n: &u64| {
            let fix = Fix { time: Some(i64::try_from(*n).unwrap() * 1000), ..Fix::default() };
            Position { epoch: EPOCH, sequence: *n, fix, received_at: 1_000_000 }
        };
        numbers.iter().map(row).collect()
    }

    fn seconds(from: i64, to: i64) -> Period {
        Period { from: from * 1000, to: to * 1000 }
    }

    fn touched(ledger: &EpochLedger, period: Period) -> Vec<SequenceRange> {
        let absent = absent(ledger);
        let received: Vec<u64> =
            neighbours(&absent).into_iter().filter(|n| ledger.received.contains(*n)).collect();
        touching(&absent, &rows(&received), period)
    }

    #[test]
    fn all_time_is_the_ledger_itself() {
        let account = Account::of_all_time(&ledger(&[(0, 9), (20, 29)], 40, &[(12, 14)]));
        assert_eq!(account.missing.to_string(), "10-11,15-19,30-39");
        assert_eq!(account.lost, [(range(12, 14), LossReason::BufferFull)]);
    }

    #[test]
    fn what_was_declared_lost_but_arrived_is_not_lost() {
        let account = Account::of_all_time(&ledger(&[(0, 12)], 20, &[(10, 19)]));
        assert_eq!(account.lost, [(range(13, 19), LossReason::BufferFull)]);
        assert!(account.missing.is_empty());
    }

    #[test]
    fn a_gap_touches_the_periods_that_overlap_the_time_between_its_neighbours() {
        let ledger = ledger(&[(0, 9), (20, 29)], 30, &[]);
        let gap = [range(10, 19)];
        for inside in [seconds(12, 13), seconds(0, 10), seconds(19, 100), seconds(0, 100)] {
            assert_eq!(touched(&ledger, inside), gap, "{inside:?}");
        }
        for outside in [seconds(0, 9), seconds(20, 30)] {
            assert!(touched(&ledger, outside).is_empty(), "{outside:?}");
        }
    }

    #[test]
    fn a_gap_at_an_end_is_open_there() {
        let ledger = ledger(&[(10, 19)], 30, &[]);
        assert_eq!(touched(&ledger, seconds(-1000, -999)), [range(0, 9)]);
        assert_eq!(touched(&ledger, seconds(5000, 5001)), [range(20, 29)]);
        assert!(touched(&ledger, seconds(12, 15)).is_empty());
        let nothing_came = self::ledger(&[], 5, &[]);
        assert_eq!(touched(&nothing_came, seconds(12, 15)), [range(0, 4)]);
    }

    #[test]
    fn missing_and_lost_numbers_of_one_gap_share_its_bounds() {
        let ledger = ledger(&[(0, 9), (20, 29)], 30, &[(13, 15)]);
        let touching = touched(&ledger, seconds(11, 12));
        let account = Account::of_period(&ledger, RangeSet::new(), &touching);
        assert_eq!(account.missing.to_string(), "10-12,16-19");
        assert_eq!(account.lost.len(), 1);
        assert!(Account::of_period(&ledger, RangeSet::new(), &[]).is_empty());
    }

    #[test]
    fn a_neighbour_with_a_doubted_time_bounds_nothing() {
        let ledger = ledger(&[(0, 9), (20, 29)], 30, &[]);
        let absent = absent(&ledger);
        for doubt in [Verdict::TIME_JUMP, Verdict::NO_TIME] {
            let mut rows = rows(&[9, 20]);
            rows[0].fix.verdict = doubt;
            assert_eq!(touching(&absent, &rows, seconds(-50, -40)), [range(10, 19)]);
            assert!(touching(&absent, &rows, seconds(21, 22)).is_empty());
        }
    }
}
