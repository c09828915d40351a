//! Sets of numbers as PostgreSQL writes them: `{[0,60),[75,80)}` of type `int8multirange`.

use std::fmt::Write as _;

use avl_shared::sequence::{RangeSet, SequenceRange};

use crate::store::StoreError;

pub(super) fn to_multirange(set: &RangeSet) -> String {
    let mut text = String::from("{");
    for (index, range) in set.ranges().iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}[{},{})", range.first(), range.last() + 1);
    }
    text.push('}');
    text
}

pub(super) fn from_multirange(text: &str) -> Result<RangeSet, StoreError> {
    let read = || -> Option<RangeSet> {
        let inner = text.strip_prefix('{')?.strip_suffix('}')?;
        let mut set = RangeSet::new();
        for part in inner.split_terminator(')') {
            let (first, end) = part.trim_start_matches(',').strip_prefix('[')?.split_once(',')?;
            let last = end.parse::<u64>().ok()?.checked_sub(1)?;
            set.insert(SequenceRange::new(first.parse().ok()?, last)?);
        }
        Some(set)
    };
    read().ok_or_else(|| StoreError::Corrupt(format!("ranges of the ledger: {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MAX_SEQUENCE;

    #[test]
    fn sets_come_back_as_they_went() {
        let range = |first, last| SequenceRange::new(first, last).unwrap();
        let ranges = [range(0, 59), range(75, 75), range(100, MAX_SEQUENCE)];
        for count in 0..=ranges.len() {
            let set: RangeSet = ranges[..count].iter().copied().collect();
            assert_eq!(from_multirange(&to_multirange(&set)).unwrap(), set);
        }
        assert_eq!(to_multirange(&ranges[..2].iter().copied().collect()), "{[0,60),[75,76)}");
        assert!(from_multirange("{(,5)}").is_err() && from_multirange("").is_err());
    }
}
