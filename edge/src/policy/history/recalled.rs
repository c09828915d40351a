//! Which held-back fixes already have a number: each is recalled once.

use avl_shared::sequence::{RangeSet, SequenceRange};
use bytes::{Buf, BufMut};

/// Travels in the buffer's state record, and so changes together with the fixes it speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recalls {
    /// Of the history that the numbers belong to.
    pub id: u32,
    pub numbers: RangeSet,
}

/// The record is written with every change of the buffer: it must stay small. The oldest ranges are joined beyond it,
/// so that between them something may never be recalled, and nothing twice.
const MAX_RANGES: usize = 64;

impl Recalls {
    /// What is remembered for this history; of another one nothing is.
    #[must_use]
    pub fn of(id: u32, bytes: &[u8]) -> Self {
        Self::decode(bytes)
            .filter(|recalls| recalls.id == id)
            .unwrap_or(Self { id, numbers: RangeSet::new() })
    }

    /// Adds numbers, and forgets those before `oldest`, which are gone.
    pub fn add(&mut self, range: SequenceRange, oldest: u64) {
        if let Some(gone) = oldest.checked_sub(1).and_then(|last| SequenceRange::new(0, last)) {
            self.numbers.remove(gone);
        }
        self.numbers.insert(range);
        while self.numbers.ranges().len() > MAX_RANGES {
            let (first, second) = (self.numbers.ranges()[0], self.numbers.ranges()[1]);
            if let Some(joined) = SequenceRange::new(first.first(), second.last()) {
                self.numbers.insert(joined);
            }
        }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + 16 * self.numbers.ranges().len());
        out.put_u32(self.id);
        for range in self.numbers.ranges() {
            out.put_u64(range.first());
            out.put_u64(range.last());
        }
        out
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let id = from.try_get_u32().ok()?;
        let mut numbers = RangeSet::new();
        while !from.is_empty() {
            numbers.insert(SequenceRange::new(from.try_get_u64().ok()?, from.try_get_u64().ok()?)?);
        }
        Some(Self { id, numbers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SequenceRange {
        SequenceRange::new(first, last).unwrap()
    }

    #[test]
    fn it_is_read_back_for_its_own_history_only() {
        let mut recalls = Recalls::of(7, &[]);
        recalls.add(range(3, 9), 0);
        recalls.add(range(20, 29), 5);
        assert_eq!(recalls.numbers.ranges(), [range(5, 9), range(20, 29)]);
        assert_eq!(Recalls::of(7, &recalls.encode()), recalls);
        assert!(Recalls::of(8, &recalls.encode()).numbers.is_empty());
        for length in 0..4 {
            assert!(Recalls::of(7, &recalls.encode()[..length]).numbers.is_empty());
        }
    }

    #[test]
    fn however_often_it_is_asked_it_stays_small_and_forgets_nothing() {
        let mut recalls = Recalls::of(7, &[]);
        for index in 0..1000 {
            recalls.add(range(10 * index, 10 * index + 4), 0);
        }
        assert!(recalls.encode().len() <= 4 + 16 * MAX_RANGES);
        for index in 0..1000 {
            assert!(recalls.numbers.contains(10 * index + 2));
        }
    }
}
