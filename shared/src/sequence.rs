//! Sequence numbers, ranges of them, and exact sets of ranges.
//!
//! A fix is named by (vehicle, epoch, sequence). [`RangeSet`] is the ledger's arithmetic: what arrived is
//! a set, what is missing is its complement, and a set costs memory by its gaps, not by its fixes.

use std::fmt;

/// The random number a buffer is born with. A reflashed gateway starts at sequence 0 under another epoch,
/// so it never reuses an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Sequence numbers `first..=last`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceRange {
    first: u64,
    last: u64,
}

impl SequenceRange {
    /// `None` when `last < first`.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if last < first { None } else { Some(Self { first, last }) }
    }

    /// `count` numbers from `first`; `None` for a count of zero or a range past `u64::MAX`.
    #[must_use]
    pub const fn starting_at(first: u64, count: u64) -> Option<Self> {
        if count == 0 {
            return None;
        }
        match first.checked_add(count - 1) {
            Some(last) => Some(Self { first, last }),
            None => None,
        }
    }

    #[must_use]
    pub const fn first(self) -> u64 {
        self.first
    }

    #[must_use]
    pub const fn last(self) -> u64 {
        self.last
    }

    /// How many numbers it holds, at most `u64::MAX`.
    #[must_use]
    pub const fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    #[must_use]
    pub const fn contains(self, sequence: u64) -> bool {
        self.first <= sequence && sequence <= self.last
    }
}

impl fmt::Display for SequenceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A set of sequence numbers, held as sorted ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<SequenceRange>,
}

impl RangeSet {
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers it holds, at most `u64::MAX`.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.count()))
    }

    #[must_use]
    pub fn ranges(&self) -> &[SequenceRange] {
        &self.ranges
    }

    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.ranges.first().map(|range| range.first)
    }

    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.ranges.last().map(|range| range.last)
    }

    #[must_use]
    pub fn contains(&self, sequence: u64) -> bool {
        let next = self.ranges.partition_point(|range| range.last < sequence);
        self.ranges.get(next).is_some_and(|range| range.contains(sequence))
    }

    /// Whether every number of `range` is in the set.
    #[must_use]
    pub fn covers(&self, range: SequenceRange) -> bool {
        let next = self.ranges.partition_point(|held| held.last < range.first);
        self.ranges.get(next).is_some_and(|held| held.first <= range.first && range.last <= held.last)
    }

    /// Adds `range` and returns the part of it that was not there before: what a receiver of duplicates may count.
    pub fn insert(&mut self, range: SequenceRange) -> RangeSet {
        let fresh = self.missing_within(range);
        // Everything that overlaps or touches the new range melts into it.
        let from = self.ranges.partition_point(|held| held.last < range.first.saturating_sub(1));
        let to = self.ranges.partition_point(|held| held.first <= range.last.saturating_add(1));
        let merged = self.ranges[from..to].iter().fold(range, |all, held| SequenceRange {
            first: all.first.min(held.first),
            last: all.last.max(held.last),
        });
        self.ranges.splice(from..to, [merged]);
        fresh
    }

    pub fn remove(&mut self, range: SequenceRange) {
        let from = self.ranges.partition_point(|held| held.last < range.first);
        let to = self.ranges.partition_point(|held| held.first <= range.last);
        if from >= to {
            return;
        }
        let left =
            range.first.checked_sub(1).and_then(|last| SequenceRange::new(self.ranges[from].first, last));
        let right =
            range.last.checked_add(1).and_then(|first| SequenceRange::new(first, self.ranges[to - 1].last));
        self.ranges.splice(from..to, left.into_iter().chain(right));
    }

    pub fn extend_from(&mut self, other: &RangeSet) {
        for &range in &other.ranges {
            self.insert(range);
        }
    }

    /// The numbers of `range` that are not in the set.
    #[must_use]
    pub fn missing_within(&self, range: SequenceRange) -> RangeSet {
        let mut missing = Vec::new();
        let mut next = Some(range.first);
        let from = self.ranges.partition_point(|held| held.last < range.first);
        for held in self.ranges[from..].iter().take_while(|held| held.first <= range.last) {
            if let Some(gap) =
                next.zip(held.first.checked_sub(1)).and_then(|(first, last)| SequenceRange::new(first, last))
            {
                missing.push(gap);
            }
            next = held.last.checked_add(1);
        }
        missing.extend(next.and_then(|first| SequenceRange::new(first, range.last)));
        RangeSet { ranges: missing }
    }

    /// The numbers of `range` that are in the set.
    #[must_use]
    pub fn within(&self, range: SequenceRange) -> RangeSet {
        let from = self.ranges.partition_point(|held| held.last < range.first);
        let to = self.ranges.partition_point(|held| held.first <= range.last);
        let clipped = self.ranges.get(from..to).unwrap_or_default().iter();
        RangeSet {
            ranges: clipped
                .map(|held| SequenceRange {
                    first: held.first.max(range.first),
                    last: held.last.min(range.last),
                })
                .collect(),
        }
    }
}

impl FromIterator<SequenceRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = SequenceRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{range}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(first: u64, last: u64) -> SequenceRange {
        SequenceRange::new(first, last).unwrap()
    }

    #[test]
    fn touching_ranges_melt_together() {
        let set: RangeSet = [range(0, 4), range(10, 12), range(5, 9)].into_iter().collect();
        assert_eq!(set.to_string(), "0-12");
    }

    #[test]
    fn insert_returns_only_what_is_new() {
        let mut set: RangeSet = [range(5, 9), range(20, 29)].into_iter().collect();
        assert_eq!(set.insert(range(0, 24)).to_string(), "0-4,10-19");
        assert!(set.insert(range(3, 28)).is_empty());
    }

    #[test]
    fn holds_the_whole_of_u64() {
        let mut set = RangeSet::new();
        set.insert(range(0, u64::MAX));
        assert!(set.contains(u64::MAX));
        assert!(set.missing_within(range(0, u64::MAX)).is_empty());
        set.remove(range(u64::MAX, u64::MAX));
        assert_eq!(set.missing_within(range(5, u64::MAX)).ranges(), [range(u64::MAX, u64::MAX)]);
    }

    fn operations() -> impl Strategy<Value = Vec<(bool, u64, u64)>> {
        prop::collection::vec((any::<bool>(), 0_u64..120, 0_u64..12), 0..60)
    }

    proptest! {
        /// A plain set of numbers is the model.
        #[test]
        fn behaves_as_a_set_of_numbers(operations in operations(), probe_first in 0_u64..140, probe_len in 0_u64..40) {
            let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
            for (insert, first, length) in operations {
                let range = range(first, first + length);
                if insert {
                    let fresh = set.insert(range);
                    let expected: Vec<u64> = (first..=first + length).filter(|n| model.insert(*n)).collect();
                    let got: Vec<u64> = fresh.ranges().iter().flat_map(|r| r.first()..=r.last()).collect();
                    prop_assert_eq!(got, expected);
                } else {
                    set.remove(range);
                    model.retain(|n| !range.contains(*n));
                }
                prop_assert_eq!(set.count(), model.len() as u64);
                prop_assert!(set.ranges().windows(2).all(|pair| pair[0].last() + 1 < pair[1].first()));
            }
            let probe = range(probe_first, probe_first + probe_len);
            let missing: Vec<u64> =
                set.missing_within(probe).ranges().iter().flat_map(|r| r.first()..=r.last()).collect();
            let expected: Vec<u64> = (probe.first()..=probe.last()).filter(|n| !model.contains(n)).collect();
            prop_assert_eq!(set.covers(probe), expected.is_empty());
            prop_assert_eq!(missing, expected);
            let present: Vec<u64> = set.within(probe).ranges().iter().flat_map(|r| r.first()..=r.last()).collect();
            let expected: Vec<u64> = (probe.first()..=probe.last()).filter(|n| model.contains(n)).collect();
            prop_assert_eq!(present, expected);
            for n in 0..140 {
                prop_assert_eq!(set.contains(n), model.contains(&n));
            }
        }
    }
}
