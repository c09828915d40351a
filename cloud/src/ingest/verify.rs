//! Whether a batch is taken: a pure function of its bytes and the session's epoch.

use avl_shared::batch::{self, Header};
use avl_shared::link::{DeclareLost, Hello, Reject, ranges_from_message};
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use bytes::Bytes;
use prost::Message;

use super::close::CloseReason;
use crate::store::MAX_SEQUENCE;

#[derive(Debug, PartialEq)]
pub(super) enum Verified {
    Batch(SequenceRange),
    /// Can never be accepted; the vehicle sets it aside and goes on.
    Reject(Reject),
    /// The vehicle itself is confused. Its data stays on it until somebody has looked.
    Close(CloseReason),
}

/// Decodes the whole batch, so that its checksum is known to be right before anybody relies on it.
pub(super) fn verify(bytes: &[u8], epoch: Epoch) -> Verified {
    let reject = |header: Option<Header>, reason: String| {
        let first = header.map_or(0, |header| header.range.first());
        let count = header.map_or(0, |header| u32::try_from(header.range.count()).unwrap_or(u32::MAX));
        Verified::Reject(Reject { epoch: epoch.0, first, count, reason })
    };
    let header = match batch::peek(bytes) {
        Ok(header) => header,
        Err(error) => return reject(None, error.to_string()),
    };
    let decoded = match batch::decode(bytes) {
        Ok(decoded) => decoded,
        // A damaged header may name anything: only numbers of this epoch are given back.
        Err(error) => return reject(Some(header).filter(|header| header.epoch == epoch), error.to_string()),
    };
    let Some(range) = SequenceRange::starting_at(decoded.first, decoded.fixes.len() as u64) else {
        return reject(None, "the batch is empty or its numbers overflow".to_owned());
    };
    if decoded.epoch != epoch {
        return Verified::Close(CloseReason::OtherEpoch { expected: epoch, found: decoded.epoch });
    }
    if range.last() > MAX_SEQUENCE {
        return Verified::Close(CloseReason::SequenceOverflow);
    }
    Verified::Batch(range)
}

/// The numbers that a vehicle gives up.
pub(super) fn lost_ranges(lost: &DeclareLost) -> Result<RangeSet, CloseReason> {
    let ranges = ranges_from_message(&lost.ranges)?;
    if ranges.last().is_some_and(|last| last > MAX_SEQUENCE) {
        return Err(CloseReason::SequenceOverflow);
    }
    Ok(ranges)
}

/// What the journal keeps of a hello: every number below its next one was given to a fix.
pub(super) fn known(hello: &Hello) -> Bytes {
    let kept = Hello { epoch: hello.epoch, next_sequence: hello.next_sequence, ..Hello::default() };
    kept.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::batch::{Batch, encode};

    const EPOCH: Epoch = Epoch(7);

    fn bytes(epoch: Epoch, first: u64) -> Vec<u8> {
        let fixes = (0..5).map(crate::store::conformance::fix).collect();
        encode(&Batch { epoch, first, boot_id: None, fixes }).unwrap()
    }

    #[test]
    fn a_sound_batch_is_taken_and_a_damaged_one_is_given_back_by_its_numbers() {
        let good = bytes(EPOCH, 100);
        assert_eq!(verify(&good, EPOCH), Verified::Batch(SequenceRange::new(100, 104).unwrap()));
        let mut damaged = good.clone();
        let last = damaged.len() - 1;
        damaged[last] ^= 0x40;
        match verify(&damaged, EPOCH) {
            Verified::Reject(reject) => assert_eq!((reject.epoch, reject.first, reject.count), (7, 100, 5)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_batch_at_all_gives_no_numbers_back() {
        match verify(b"garbage", EPOCH) {
            Verified::Reject(reject) => assert_eq!((reject.first, reject.count), (0, 0)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_epoch_is_a_reason_to_close_not_to_discard() {
        let expected = CloseReason::OtherEpoch { expected: EPOCH, found: Epoch(8) };
        assert_eq!(verify(&bytes(Epoch(8), 0), EPOCH), Verified::Close(expected));
    }
}
