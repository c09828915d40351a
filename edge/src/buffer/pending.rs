//! Fixes that wait in memory while the flash takes none. Bounded in bytes; what does not fit becomes a known gap.

use std::collections::VecDeque;

use avl_shared::batch::{self, Batch};
use avl_shared::fix::Fix;
use avl_shared::sequence::Epoch;

/// Encoded like this a fix takes some five bytes: fourteen hours at one fix a second.
pub(super) const MEMORY_BYTES: usize = 256 << 10;
/// What a block costs beside its bytes.
const OVERHEAD: usize = 64;

/// Fixes as they were given to the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unwritten {
    pub fixes: Vec<Fix>,
    pub boot_id: u32,
    pub cursor: Option<Vec<u8>>,
}

/// What comes next on flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// So many fixes did not fit into memory: they get numbers, and those are lost.
    Gap(u64),
    Block(Unwritten),
}

#[derive(Clone, Debug)]
struct Packed {
    batch: Vec<u8>,
    count: u64,
    boot_id: u32,
    cursor: Option<Vec<u8>>,
}

impl Packed {
    fn bytes(&self) -> usize {
        OVERHEAD + self.batch.len() + self.cursor.as_ref().map_or(0, Vec::len)
    }
}

/// In the order of recording: the gap first, because the oldest go first.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    gap: u64,
    blocks: VecDeque<Packed>,
    bytes: usize,
    max_bytes: usize,
}

impl Pending {
    #[must_use]
    pub(super) const fn new(max_bytes: usize) -> Self {
        Self { gap: 0, blocks: VecDeque::new(), bytes: 0, max_bytes }
    }

    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.gap == 0 && self.blocks.is_empty()
    }

    /// Fixes that wait, those of the gap not counted.
    #[must_use]
    pub(super) fn fixes(&self) -> u64 {
        self.blocks.iter().map(|block| block.count).sum()
    }

    /// Fixes that did not fit.
    #[must_use]
    pub(super) const fn gap(&self) -> u64 {
        self.gap
    }

    /// # Errors
    /// When the fixes cannot be encoded.
    pub(super) fn push(&mut self, block: Unwritten) -> Result<(), batch::EncodeError> {
        let count = block.fixes.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let Unwritten { fixes, boot_id, cursor } = block;
        // Its number is not known yet: the flash may hold more than we heard of.
        let batch = batch::encode(&Batch { epoch: Epoch(0), first: 0, boot_id: Some(boot_id), fixes })?;
        let packed = Packed { batch, count, boot_id, cursor };
        self.bytes += packed.bytes();
        self.blocks.push_back(packed);
        // The newest stays even when it alone is too much: there is always something to show for.
        while self.bytes > self.max_bytes && self.blocks.len() > 1 {
            if let Some(oldest) = self.blocks.pop_front() {
                self.bytes -= oldest.bytes();
                self.gap += oldest.count;
            }
        }
        Ok(())
    }

    #[must_use]
    pub(super) fn next(&self) -> Option<Next> {
        if self.gap > 0 {
            return Some(Next::Gap(self.gap));
        }
        let Packed { batch, boot_id, cursor, .. } = self.blocks.front()?;
        // It was encoded here and has only been in memory since.
        let fixes = batch::decode(batch).ok()?.fixes;
        Some(Next::Block(Unwritten { fixes, boot_id: *boot_id, cursor: cursor.clone() }))
    }

    /// What [`Pending::next`] gave is on flash.
    pub(super) fn written(&mut self) {
        if self.gap > 0 {
            self.gap = 0;
        } else if let Some(block) = self.blocks.pop_front() {
            self.bytes -= block.bytes();
        }
    }

    /// So many of the oldest fixes turn out to be on flash already.
    pub(super) fn found(&mut self, mut count: u64) {
        let from_gap = count.min(self.gap);
        self.gap -= from_gap;
        count -= from_gap;
        while let Some(front) = self.blocks.front().filter(|front| count > 0 && front.count <= count) {
            count -= front.count;
            self.bytes -= front.bytes();
            self.blocks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: i64, count: i64) -> Unwritten {
        let fixes = (first..first + count).map(|n| Fix { time: Some(n * 1000), ..Fix::default() }).collect();
        Unwritten { fixes, boot_id: 7, cursor: Some(vec![1, 2]) }
    }

    #[test]
    fn comes_back_in_order_and_equal() {
        let mut pending = Pending::new(MEMORY_BYTES);
        pending.push(block(0, 5)).unwrap();
        pending.push(block(5, 60)).unwrap();
        assert_eq!(pending.fixes(), 65);
        assert_eq!(pending.next(), Some(Next::Block(block(0, 5))));
        pending.written();
        assert_eq!(pending.next(), Some(Next::Block(block(5, 60))));
        pending.written();
        assert!(pending.is_empty() && pending.bytes == 0);
    }

    #[test]
    fn the_oldest_become_a_gap_of_known_length_and_memory_stays_bounded() {
        let mut pending = Pending::new(2000);
        for n in 0..200 {
            pending.push(block(n * 5, 5)).unwrap();
            assert!(pending.bytes <= 2000);
        }
        assert_eq!(pending.gap() + pending.fixes(), 1000);
        assert_eq!(pending.next(), Some(Next::Gap(pending.gap())));
        let lost = i64::try_from(pending.gap()).unwrap();
        pending.written();
        assert_eq!(pending.next(), Some(Next::Block(block(lost, 5))));
    }

    #[test]
    fn what_is_found_on_flash_is_taken_from_the_front() {
        let mut pending = Pending::new(MEMORY_BYTES);
        pending.push(block(0, 5)).unwrap();
        pending.push(block(5, 5)).unwrap();
        pending.found(5);
        assert_eq!(pending.next(), Some(Next::Block(block(5, 5))));
        let mut full = Pending::new(1);
        (0..3).for_each(|n| full.push(block(n * 5, 5)).unwrap());
        full.found(5);
        assert_eq!((full.gap(), full.fixes()), (5, 5));
    }
}
