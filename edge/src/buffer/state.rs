//! The buffer's state record: what must be known whatever blocks are left, written with every change of them.

use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use bytes::{Buf, BufMut};

/// Layout of the record. A newer agent's record is refused rather than guessed at.
const VERSION: u8 = 1;

/// Numbers that the vehicle gave up and has to tell the cloud about, one set a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    sets: Vec<(LossReason, RangeSet)>,
}

impl Losses {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    #[must_use]
    pub fn sets(&self) -> &[(LossReason, RangeSet)] {
        &self.sets
    }

    /// Every lost number, whatever the reason.
    #[must_use]
    pub fn all(&self) -> RangeSet {
        self.sets.iter().flat_map(|(_, set)| set.ranges().iter().copied()).collect()
    }

    pub fn insert(&mut self, reason: LossReason, ranges: &RangeSet) {
        if ranges.is_empty() {
            return;
        }
        match self.sets.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, set)) => set.extend_from(ranges),
            None => self.sets.push((reason, ranges.clone())),
        }
    }

    pub fn remove(&mut self, range: SequenceRange) {
        for (_, set) in &mut self.sets {
            set.remove(range);
        }
        self.sets.retain(|(_, set)| !set.is_empty());
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub epoch: Epoch,
    /// The number that the next fix gets. Survives when every block is forgotten.
    pub next: u64,
    /// Numbers whose fixes are here and not yet acknowledged. A block may hold more than that.
    pub held: RangeSet,
    /// Bytes of all blocks.
    pub bytes: u64,
    /// Given up, and not yet acknowledged as such.
    pub lost: Losses,
    /// Where the source continues behind the newest fix, in the source's own words; empty for none.
    pub cursor: Vec<u8>,
}

impl State {
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, next: 0, held: RangeSet::new(), bytes: 0, lost: Losses::default(), cursor: Vec::new() }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.put_u8(VERSION);
        out.put_u32(self.epoch.0);
        out.put_u64(self.next);
        out.put_u64(self.bytes);
        put_ranges(&mut out, &self.held);
        put_count(&mut out, self.lost.sets.len());
        for (reason, set) in &self.lost.sets {
            out.put_i32(*reason as i32);
            put_ranges(&mut out, set);
        }
        put_count(&mut out, self.cursor.len());
        out.put_slice(&self.cursor);
        out
    }

    /// `None` for anything that [`State::encode`] did not write.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        if from.try_get_u8().ok()? != VERSION {
            return None;
        }
        let epoch = Epoch(from.try_get_u32().ok()?);
        let next = from.try_get_u64().ok()?;
        let stored = from.try_get_u64().ok()?;
        let held = take_ranges(from)?;
        let mut lost = Losses::default();
        for _ in 0..from.try_get_u32().ok()? {
            let reason = LossReason::try_from(from.try_get_i32().ok()?).ok()?;
            lost.insert(reason, &take_ranges(from)?);
        }
        let cursor_bytes = usize::try_from(from.try_get_u32().ok()?).ok()?;
        let cursor = from.get(..cursor_bytes)?.to_vec();
        let whole = from.len() == cursor_bytes && held.last().is_none_or(|last| last < next);
        whole.then_some(Self { epoch, next, held, bytes: stored, lost, cursor })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    debug_assert!(u32::try_from(count).is_ok(), "a state record stays far below 4 GiB");
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_ranges(out: &mut Vec<u8>, set: &RangeSet) {
    put_count(out, set.ranges().len());
    for range in set.ranges() {
        out.put_u64(range.first());
        out.put_u64(range.last());
    }
}

fn take_ranges(from: &mut &[u8]) -> Option<RangeSet> {
    let count = from.try_get_u32().ok()?;
    (0..count).map(|_| SequenceRange::new(from.try_get_u64().ok()?, from.try_get_u64().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u64, u64)]) -> RangeSet {
        ranges.iter().map(|&(first, last)| SequenceRange::new(first, last).unwrap()).collect()
    }

    fn full() -> State {
        let mut lost = Losses::default();
        lost.insert(LossReason::BufferFull, &set(&[(0, 9)]));
        lost.insert(LossReason::Rejected, &set(&[(20, 29), (40, 40)]));
        State {
            epoch: Epoch(7),
            next: 100,
            held: set(&[(10, 19), (50, 99)]),
            bytes: 1234,
            lost,
            cursor: vec![1, 2, 3],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for state in [State::new(Epoch(0xdead_beef)), full()] {
            assert_eq!(State::decode(&state.encode()), Some(state));
        }
    }

    #[test]
    fn a_record_cut_short_or_too_long_or_of_another_version_is_refused() {
        let whole = full().encode();
        for length in 0..whole.len() {
            assert_eq!(State::decode(&whole[..length]), None, "{length}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(State::decode(&longer), None);
        let mut newer = whole;
        newer[0] = VERSION + 1;
        assert_eq!(State::decode(&newer), None);
    }

    #[test]
    fn a_loss_is_gone_once_every_number_of_it_is_removed() {
        let mut lost = full().lost;
        lost.remove(SequenceRange::new(0, 30).unwrap());
        assert_eq!(lost.all(), set(&[(40, 40)]));
        lost.remove(SequenceRange::new(40, 40).unwrap());
        assert!(lost.is_empty());
    }
}
