//! How a block lies on flash: a wire batch behind six bytes that make it findable in a damaged file.
//!
//! A wire batch cannot be told from what follows it without knowing its length, so the length stands before it. The
//! batch's own CRC says whether what was found is whole. Where a replay's source continues stands between them, with a
//! CRC of its own.

use avl_shared::batch;
use avl_shared::sequence::SequenceRange;
use crc::{CRC_32_ISCSI, Crc};

/// No wire batch (first nibble A) and no state record begins so.
pub(super) const MARK: [u8; 2] = [0xB7, 0x4B];
const HEAD: usize = 6;
/// First and last number of what a thinned block stands for.
const REPLACED: usize = 16;
/// Length and CRC of a cursor.
const CURSOR_FRAME: usize = 2 + 4;
/// The longest cursor that a block takes.
pub(super) const MAX_CURSOR_BYTES: usize = 1024;

const PLAIN: u8 = 1;
const THINNED: u8 = 2;
const PLAIN_WITH_CURSOR: u8 = 3;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As the receiver gave them.
    Plain,
    /// What thinning left of older blocks, under new numbers; with the range in which the old ones lie. Never thinned
    /// again: the errors would add up.
    Thinned(SequenceRange),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub kind: Kind,
    /// Where the source continues behind its fixes, in the source's own words.
    pub cursor: Option<&'a [u8]>,
    /// The wire batch.
    pub batch: &'a [u8],
}

/// The bytes of a block.
#[must_use]
pub(super) fn wrap(kind: Kind, batch: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Plain => framed(PLAIN, &[], batch),
        Kind::Thinned(replaced) => {
            framed(THINNED, &[replaced.first().to_be_bytes(), replaced.last().to_be_bytes()].concat(), batch)
        }
    }
}

/// The bytes of a plain block that says where its source continues. `cursor`: at most [`MAX_CURSOR_BYTES`].
#[must_use]
pub(super) fn wrap_with_cursor(cursor: &[u8], batch: &[u8]) -> Vec<u8> {
    debug_assert!(cursor.len() <= MAX_CURSOR_BYTES, "longer ones stand in the state record");
    let length = u16::try_from(cursor.len()).unwrap_or(u16::MAX).to_be_bytes();
    let checksum = CRC.checksum(cursor).to_be_bytes();
    framed(PLAIN_WITH_CURSOR, &[&length[..], cursor, &checksum].concat(), batch)
}

fn framed(kind: u8, between: &[u8], batch: &[u8]) -> Vec<u8> {
    // A batch has at most 256 KiB, so three bytes tell its length.
    let length = u32::try_from(batch.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = Vec::with_capacity(HEAD + between.len() + batch.len());
    out.extend(MARK);
    out.push(kind);
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(between);
    out.extend_from_slice(batch);
    out
}

/// `None` for anything that [`wrap`] did not write.
#[must_use]
pub(super) fn unwrap(bytes: &[u8]) -> Option<Block<'_>> {
    let (block, length) = prefix(bytes)?;
    (length == bytes.len()).then_some(block)
}

/// The block at the front of `bytes`, and how many bytes it takes.
#[must_use]
pub(super) fn prefix(bytes: &[u8]) -> Option<(Block<'_>, usize)> {
    let head = bytes.get(..HEAD)?;
    if !head.starts_with(&MARK) {
        return None;
    }
    let length = usize::from(head[3]) << 16 | usize::from(head[4]) << 8 | usize::from(head[5]);
    let behind = bytes.get(HEAD..)?;
    let (kind, cursor, between) = match head[2] {
        PLAIN => (Kind::Plain, None, 0),
        THINNED => {
            let number = |at: usize| Some(u64::from_be_bytes(behind.get(at..at + 8)?.try_into().ok()?));
            (Kind::Thinned(SequenceRange::new(number(0)?, number(8)?)?), None, REPLACED)
        }
        PLAIN_WITH_CURSOR => {
            let cursor = whole_cursor(behind)?;
            (Kind::Plain, Some(cursor), cursor.len() + CURSOR_FRAME)
        }
        _ => return None,
    };
    let batch = behind.get(between..between + length).filter(|_| length <= batch::MAX_BYTES)?;
    Some((Block { kind, cursor, batch }, HEAD + between + length))
}

fn whole_cursor(framed: &[u8]) -> Option<&[u8]> {
    let (length, rest) = framed.split_first_chunk()?;
    let (cursor, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let checksum = u32::from_be_bytes(*rest.first_chunk()?);
    (cursor.len() <= MAX_CURSOR_BYTES && checksum == CRC.checksum(cursor)).then_some(cursor)
}

/// The longest block.
pub(super) const MAX_BLOCK_BYTES: usize = HEAD + CURSOR_FRAME + MAX_CURSOR_BYTES + batch::MAX_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_back_whatever_follows_it() {
        let kind = Kind::Thinned(SequenceRange::new(7, 1300).unwrap());
        let block = wrap(kind, b"a batch");
        assert_eq!(unwrap(&block), Some(Block { kind, cursor: None, batch: b"a batch" }));
        let mut file = block.clone();
        file.extend(b"others");
        assert_eq!(prefix(&file), Some((Block { kind, cursor: None, batch: b"a batch" }, block.len())));
    }

    #[test]
    fn a_cursor_comes_back_with_its_block_or_not_at_all() {
        for cursor in [&b""[..], b"line 7", &[0xB7; MAX_CURSOR_BYTES]] {
            let block = wrap_with_cursor(cursor, b"a batch");
            let found = Block { kind: Kind::Plain, cursor: Some(cursor), batch: b"a batch" };
            assert_eq!(unwrap(&block), Some(found));
            for at in HEAD..HEAD + CURSOR_FRAME + cursor.len() {
                let mut damaged = block.clone();
                damaged[at] ^= 0x10;
                assert_eq!(unwrap(&damaged), None, "{at}");
            }
        }
    }

    #[test]
    fn what_is_cut_or_longer_or_of_another_kind_is_none() {
        let block = wrap(Kind::Plain, b"a batch");
        for length in 0..block.len() {
            assert_eq!(unwrap(&block[..length]), None, "{length}");
        }
        let mut longer = block.clone();
        longer.push(0);
        assert_eq!(unwrap(&longer), None);
        let mut other = block;
        other[2] = 9;
        assert_eq!(unwrap(&other), None);
    }
}
