//! The history beside the agent: blocks are written when they are full or old enough, and recalled on request.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avl_shared::fix::{Fix, UtcMillis};
use avl_shared::sequence::SequenceRange;
use serde::Serialize;
use tokio::time::Instant;

use super::recalled::Recalls;
use super::ring::{Block, Position, Ring, RingError};
use crate::buffer::{BLOCK_FIXES, Buffer, BufferError};

/// One write for so many fixes, unless they get too old before. The codec gains little beyond it.
const WRITE_FIXES: usize = 300;

#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    #[error(
        "this vehicle keeps no history (history.max_bytes is 0): every fix that it keeps is in the cloud or on its way"
    )]
    Off,
    #[error("the period is empty: its end lies before its beginning")]
    EmptyPeriod,
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error(transparent)]
    Buffer(#[from] BufferError),
    #[error("the buffer's flash takes no writes at the moment: ask again once it does")]
    FlashAway,
    #[error("the agent is ending")]
    Ending,
}

/// What a recall found that had not been recalled before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recalled {
    pub fixes: u64,
}

/// What the history shows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HistoryView {
    pub bytes: u64,
    pub fixes: u64,
    /// Blocks that could not be read.
    pub damaged_blocks: u64,
    /// Fixes that the disk did not take.
    pub lost_fixes: u64,
}

/// The writing side: there is one.
pub struct History {
    ring: Arc<Mutex<Ring>>,
    durability: Duration,
    waiting: Vec<Fix>,
    /// Since when the oldest of them waits.
    since: Option<Instant>,
    lost: u64,
    refused: bool,
    /// A replay that was taken up again offers once more what came behind its last kept fix.
    known_until: Option<UtcMillis>,
}

/// The reading side; clones share it.
#[derive(Clone)]
pub struct HistoryHandle(Option<Reading>);

#[derive(Clone)]
struct Reading {
    ring: Arc<Mutex<Ring>>,
    buffer: Buffer,
    /// Two at once would recall the same.
    one_at_a_time: Arc<tokio::sync::Mutex<()>>,
}

impl History {
    /// `resumed` says that the source repeats fixes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(
        state_dir: &Path,
        max_bytes: u64,
        durability: Duration,
        resumed: bool,
    ) -> Result<Self, RingError> {
        let mut ring = Ring::open(&state_dir.join("history"), max_bytes, rand::random())?;
        let known_until = if resumed { newest_time(&mut ring)? } else { None };
        Ok(Self {
            ring: Arc::new(Mutex::new(ring)),
            durability,
            waiting: Vec::new(),
            since: None,
            lost: 0,
            refused: false,
            known_until,
        })
    }

    #[must_use]
    pub fn handle(&self, buffer: &Buffer) -> HistoryHandle {
        HistoryHandle(Some(Reading {
            ring: Arc::clone(&self.ring),
            buffer: buffer.clone(),
            one_at_a_time: Arc::default(),
        }))
    }

    /// Takes a fix that was held back.
    pub async fn keep(&mut self, fix: Fix, now: Instant) {
        let known = fix.time.zip(self.known_until).is_some_and(|(time, known)| time <= known);
        if known {
            return;
        }
        self.known_until = None;
        self.since.get_or_insert(now);
        self.waiting.push(fix);
        if self.waiting.len() >= WRITE_FIXES {
            self.write().await;
        }
    }

    /// When [`History::write`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + self.durability)
    }

    /// Writes what waits. A disk that refuses costs these fixes, and is reported once until it takes some again.
    pub async fn write(&mut self) {
        self.since = None;
        let fixes = std::mem::take(&mut self.waiting);
        if fixes.is_empty() {
            return;
        }
        let count = fixes.len() as u64;
        let ring = Arc::clone(&self.ring);
        match tokio::task::spawn_blocking(move || lock(&ring).append(fixes)).await {
            Ok(Ok(())) => self.refused = false,
            Ok(Err(error)) => {
                self.lost += count;
                if !self.refused {
                    tracing::error!(fixes = count, "held-back fixes are not kept for recall: {error}");
                }
                self.refused = true;
            }
            Err(_) => self.lost += count,
        }
    }

    #[must_use]
    pub fn view(&self) -> HistoryView {
        let ring = lock(&self.ring);
        let (oldest, next) = ring.numbers();
        HistoryView {
            bytes: ring.bytes(),
            fixes: next - oldest,
            damaged_blocks: ring.damaged(),
            lost_fixes: self.lost,
        }
    }
}

impl HistoryHandle {
    /// Of a vehicle that keeps no history.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Gives every held-back fix of the period (both ends included) a number and puts it into the buffer, from where
    /// it travels as backlog. What was recalled before is not recalled again.
    ///
    /// # Errors
    /// [`RecallError`]; what was put into the buffer before the error stays there and counts as recalled.
    pub async fn recall(&self, from_ms: UtcMillis, to_ms: UtcMillis) -> Result<Recalled, RecallError> {
        let Reading { ring, buffer, one_at_a_time } = self.0.as_ref().ok_or(RecallError::Off)?;
        if to_ms < from_ms {
            return Err(RecallError::EmptyPeriod);
        }
        let _turn = one_at_a_time.lock().await;
        let remembered = buffer.recalls().await?.ok_or(RecallError::FlashAway)?;
        let mut recalls = Recalls::of(lock(ring).id(), &remembered);
        let (mut position, mut recalled) = (Position::default(), Recalled::default());
        loop {
            let source = Arc::clone(ring);
            let next = tokio::task::spawn_blocking(move || {
                let mut ring = lock(&source);
                let oldest = ring.numbers().0;
                ring.next_block(position, (from_ms, to_ms)).map(|found| (found, oldest))
            });
            let (found, oldest) = next.await.map_err(|_| RecallError::Ending)??;
            let Some((block, behind)) = found else { return Ok(recalled) };
            position = behind;
            let fixes = wanted(block, &recalls, (from_ms, to_ms));
            for chunk in fixes.chunks(BLOCK_FIXES) {
                let mut updated = recalls.clone();
                let numbers = chunk.iter().filter_map(|(number, _)| SequenceRange::new(*number, *number));
                numbers.for_each(|number| updated.add(number, oldest));
                let fixes = chunk.iter().map(|(_, fix)| fix.clone()).collect();
                // In one change: whatever happens, they are recalled and remembered, or neither.
                if !buffer.append_recalled(fixes, updated.encode()).await? {
                    return Err(RecallError::FlashAway);
                }
                recalled.fixes += chunk.len() as u64;
                recalls = updated;
            }
        }
    }
}

/// The fixes of the block that lie in the period and were not recalled, each with its number.
fn wanted(block: Block, recalls: &Recalls, (from, to): (i64, i64)) -> Vec<(u64, Fix)> {
    let inside = |fix: &Fix| fix.time.is_some_and(|time| (from..=to).contains(&time));
    (block.first..)
        .zip(block.fixes)
        .filter(|(number, fix)| inside(fix) && !recalls.numbers.contains(*number))
        .collect()
}

/// The newest time in the history.
fn newest_time(ring: &mut Ring) -> Result<Option<UtcMillis>, RingError> {
    let (mut newest, mut position) = (None, Position::default());
    while let Some((block, behind)) = ring.next_block(position, (i64::MIN, i64::MAX))? {
        newest = block.fixes.iter().filter_map(|fix| fix.time).max().max(newest);
        position = behind;
    }
    Ok(newest)
}

fn lock(ring: &Mutex<Ring>) -> std::sync::MutexGuard<'_, Ring> {
    // A panic while it was held left a file that the next opening repairs.
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
