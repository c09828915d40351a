//! The buffer's state record: what must be known whatever blocks are left. Written with every change of them but a plain
//! append, which says itself what it changes.

use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use bytes::{Buf, BufMut};
use crc::{CRC_32_ISCSI, Crc};

/// Makes a record findable in a damaged file.
pub(super) const MARK: [u8; 4] = *b"avlS";
/// Layout of the record. A newer agent's record is refused rather than guessed at.
const VERSION: u8 = 3;
/// Numbers are marked as sent in pieces of so many, so that the mark costs a write for each 4,096 fixes and not for
/// each batch. The others of the piece are kept from thinning for nothing: some 16 KB.
const SENT_PIECE: u64 = 1 << 12;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

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
    /// May have been sent: the cloud may have them whether it has said so or not. Whole pieces of [`SENT_PIECE`].
    pub sent: RangeSet,
    /// Where the source continues behind the newest fix, in the source's own words; empty for none.
    pub cursor: Vec<u8>,
    /// Which held-back fixes were given numbers, in the history's own words; empty for none.
    pub recalls: Vec<u8>,
    /// The largest odometer total of any fix ever recorded here, in metres.
    pub odometer_m: Option<u64>,
}

impl State {
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            next: 0,
            held: RangeSet::new(),
            bytes: 0,
            lost: Losses::default(),
            sent: RangeSet::new(),
            cursor: Vec::new(),
            recalls: Vec::new(),
            odometer_m: None,
        }
    }

    /// Whether the record has changed by it, and has to be durable before these numbers are sent.
    pub fn mark_sent(&mut self, range: SequenceRange) -> bool {
        if self.sent.covers(range) {
            return false;
        }
        let first = range.first() / SENT_PIECE * SENT_PIECE;
        let last = (range.last() / SENT_PIECE * SENT_PIECE).saturating_add(SENT_PIECE - 1);
        let Some(pieces) = SequenceRange::new(first, last) else { return false };
        !self.sent.insert(pieces).is_empty()
    }

    /// Numbers that are not held any more cannot be thinned, sent or not.
    pub fn prune_sent(&mut self) {
        let oldest = self.held.first().unwrap_or(self.next) / SENT_PIECE * SENT_PIECE;
        if let Some(gone) = oldest.checked_sub(1).and_then(|last| SequenceRange::new(0, last)) {
            self.sent.remove(gone);
        }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.put_slice(&MARK);
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
        put_ranges(&mut out, &self.sent);
        put_bytes(&mut out, &self.cursor);
        put_bytes(&mut out, &self.recalls);
        out.put_u8(u8::from(self.odometer_m.is_some()));
        out.put_u64(self.odometer_m.unwrap_or(0));
        let checksum = CRC.checksum(&out);
        out.put_u32(checksum);
        out
    }

    /// `None` for anything that [`State::encode`] did not write.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::prefix(bytes).filter(|(_, length)| *length == bytes.len()).map(|(state, _)| state)
    }

    /// The record at the front of `bytes`, and how many bytes it takes.
    #[must_use]
    pub fn prefix(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut rest = bytes.strip_prefix(&MARK)?;
        let from = &mut rest;
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
        let sent = take_ranges(from)?;
        let cursor = take_bytes(from)?;
        let recalls = take_bytes(from)?;
        let has_odometer = from.try_get_u8().ok()? != 0;
        let odometer_m = Some(from.try_get_u64().ok()?).filter(|_| has_odometer);
        let checksum = CRC.checksum(bytes.get(..bytes.len() - from.len())?);
        let whole = from.try_get_u32().ok()? == checksum && held.last().is_none_or(|last| last < next);
        let length = bytes.len() - from.len();
        whole.then_some((
            Self { epoch, next, held, bytes: stored, lost, sent, cursor, recalls, odometer_m },
            length,
        ))
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    debug_assert!(u32::try_from(count).is_ok(), "a state record stays far below 4 GiB");
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

fn take_bytes(from: &mut &[u8]) -> Option<Vec<u8>> {
    let count = usize::try_from(from.try_get_u32().ok()?).ok()?;
    let bytes = from.get(..count)?.to_vec();
    from.advance(count);
    Some(bytes)
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
    let mut set = RangeSet::new();
    for _ in 0..count {
        set.insert(SequenceRange::new(from.try_get_u64().ok()?, from.try_get_u64().ok()?)?);
    }
    Some(set)
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
            sent: set(&[(0, 4095)]),
            cursor: vec![1, 2, 3],
            recalls: vec![4, 5],
            odometer_m: Some(123_456),
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
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert_eq!(State::decode(&damaged), None, "{at}");
        }
    }

    #[test]
    fn a_record_is_read_whatever_follows_it() {
        let mut file = full().encode();
        let length = file.len();
        file.extend(b"avlS and more");
        assert_eq!(State::prefix(&file), Some((full(), length)));
        assert_eq!(State::prefix(&file[length..]), None);
    }

    #[test]
    fn sent_numbers_are_marked_seldom_and_pruned_when_they_are_gone() {
        let mut state = State::new(Epoch(1));
        state.next = 10_000;
        state.held = set(&[(0, 9_999)]);
        assert!(state.mark_sent(SequenceRange::new(100, 159).unwrap()));
        assert!(!state.mark_sent(SequenceRange::new(160, 459).unwrap()));
        assert!(state.mark_sent(SequenceRange::new(4_000, 4_200).unwrap()));
        assert_eq!(state.sent, set(&[(0, 8_191)]));
        state.held = set(&[(5_000, 9_999)]);
        state.prune_sent();
        assert_eq!(state.sent, set(&[(4_096, 8_191)]));
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
