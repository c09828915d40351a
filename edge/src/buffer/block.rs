//! How a block lies on flash: a wire batch behind six bytes that make it findable in a damaged file.
//!
//! A wire batch cannot be told from what follows it without knowing its length, so the length stands before it. The
//! batch's own CRC says whether what was found is whole.

use avl_shared::batch;
use avl_shared::sequence::SequenceRange;

/// No wire batch (first nibble A) and no state record begins so.
pub(super) const MARK: [u8; 2] = [0xB7, 0x4B];
const HEAD: usize = 6;
/// First and last number of what a thinned block stands for.
const REPLACED: usize = 16;

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
    /// The wire batch.
    pub batch: &'a [u8],
}

/// The bytes of a block.
#[must_use]
pub(super) fn wrap(kind: Kind, batch: &[u8]) -> Vec<u8> {
    // A batch has at most 256 KiB, so three bytes tell its length.
    let length = u32::try_from(batch.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = Vec::with_capacity(HEAD + REPLACED + batch.len());
    out.extend(MARK);
    out.push(if kind == Kind::Plain { 1 } else { 2 });
    out.extend_from_slice(&length[1..]);
    if let Kind::Thinned(replaced) = kind {
        out.extend(replaced.first().to_be_bytes());
        out.extend(replaced.last().to_be_bytes());
    }
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
    let (kind, from) = match head[2] {
        1 => (Kind::Plain, HEAD),
        2 => {
            let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
            let replaced = SequenceRange::new(number(HEAD)?, number(HEAD + 8)?)?;
            (Kind::Thinned(replaced), HEAD + REPLACED)
        }
        _ => return None,
    };
    let batch = bytes.get(from..from + length).filter(|_| length <= batch::MAX_BYTES)?;
    Some((Block { kind, batch }, from + length))
}

/// The longest block.
pub(super) const MAX_BLOCK_BYTES: usize = HEAD + REPLACED + batch::MAX_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_back_whatever_follows_it() {
        let kind = Kind::Thinned(SequenceRange::new(7, 1300).unwrap());
        let block = wrap(kind, b"a batch");
        assert_eq!(unwrap(&block), Some(Block { kind, batch: b"a batch" }));
        let mut file = block.clone();
        file.extend(b"others");
        assert_eq!(prefix(&file), Some((Block { kind, batch: b"a batch" }, block.len())));
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
