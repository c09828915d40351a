//! Keeps the agent alive when its flash is not: full, read-only, broken, or away.
//!
//! sled takes no more writes after one has failed, so the store is closed then and opened anew, with growing pauses,
//! until it works. Meanwhile fixes wait in memory ([`Pending`]), without numbers; so nothing that is not on flash can
//! be sent. Whether the write that failed reached the flash after all is known when the store is open again: a
//! change is there whole or not at all, and its numbers tell.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet};

use super::outbox::{BufferError, Outbox, Status};
use super::pending::{Next, Pending, Unwritten};
use super::state::Losses;
use super::view::{FlashView, StoreState};

/// The first wait; each next one is twice as long. A cleaner that makes room needs about this long.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Opening costs a read of the whole store.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Opens the store. The error is for the log and the status.
pub(super) type Opener = Box<dyn FnMut() -> Result<Outbox, String> + Send>;

enum Store {
    Open(Box<Outbox>),
    Away { cause: String, since_ms: i64, try_at: Instant, pause: Duration },
}

pub(super) struct Keeper {
    store: Store,
    opener: Opener,
    pending: Pending,
    /// As of the last time that the store was open.
    known: Option<Status>,
    /// How many fixes were in the write that failed.
    attempted: u64,
}

impl Keeper {
    /// `opened`: what the first attempt gave. `now_ms`: UTC, for the status.
    pub(super) fn new(
        opened: Result<Outbox, String>,
        opener: Opener,
        memory_bytes: usize,
        now: Instant,
        now_ms: i64,
    ) -> Self {
        let store = match opened {
            Ok(outbox) => Store::Open(Box::new(outbox)),
            Err(cause) => {
                Store::Away { cause, since_ms: now_ms, try_at: now + FIRST_PAUSE, pause: FIRST_PAUSE }
            }
        };
        Self { store, opener, pending: Pending::new(memory_bytes), known: None, attempted: 0 }
    }

    pub(super) fn outbox(&mut self) -> Option<&mut Outbox> {
        match &mut self.store {
            Store::Open(outbox) => Some(outbox),
            Store::Away { .. } => None,
        }
    }

    /// When [`Keeper::tick`] has something to do.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match &self.store {
            Store::Open(_) => None,
            Store::Away { try_at, .. } => Some(*try_at),
        }
    }

    pub(super) fn status(&self) -> Status {
        let mut status = match (&self.store, &self.known) {
            (Store::Open(outbox), _) => outbox.status(),
            (Store::Away { .. }, Some(known)) => known.clone(),
            (Store::Away { .. }, None) => Status {
                epoch: Epoch(0),
                next_sequence: 0,
                held: RangeSet::new(),
                lost: Losses::default(),
                bytes: 0,
                flash: FlashView::default(),
            },
        };
        status.flash.store = match &self.store {
            Store::Open(_) => StoreState::Open,
            Store::Away { cause, since_ms, .. } if self.known.is_some() => {
                StoreState::Away { cause: cause.clone(), since_ms: *since_ms }
            }
            Store::Away { cause, since_ms, .. } => {
                StoreState::Unopened { cause: cause.clone(), since_ms: *since_ms }
            }
        };
        status.flash.waiting_fixes = self.pending.fixes();
        status.flash.dropped_fixes = self.pending.gap();
        status
    }

    /// On flash when it returns, or in memory when the flash takes none.
    ///
    /// # Errors
    /// When the fixes cannot be encoded.
    pub(super) fn append(&mut self, block: Unwritten, now: Instant, now_ms: i64) -> Result<(), BufferError> {
        let fixes = block.fixes.len() as u64;
        if !self.pending.is_empty() || self.outbox().is_none() {
            self.pending.push(block)?;
            return Ok(());
        }
        let copy = block.clone();
        let written =
            self.attempt(now, now_ms, |outbox| outbox.append(block.fixes, block.boot_id, block.cursor))?;
        if written.is_none() {
            self.attempted = fixes;
            self.pending.push(copy)?;
        } else {
            tracing::debug!(fixes, "on flash");
        }
        Ok(())
    }

    /// Works on the store. `None` when it is away, or fails now: the agent goes on as if nothing were held.
    ///
    /// # Errors
    /// Only what no flash can cure.
    pub(super) fn attempt<R>(
        &mut self,
        now: Instant,
        now_ms: i64,
        work: impl FnOnce(&mut Outbox) -> Result<R, BufferError>,
    ) -> Result<Option<R>, BufferError> {
        let Store::Open(outbox) = &mut self.store else { return Ok(None) };
        let before = outbox.status();
        // Damage that nobody has noticed makes sled panic; what it had in hand is closed with it.
        let done = catch_unwind(AssertUnwindSafe(|| work(outbox)));
        let cause = match done {
            Ok(Ok(result)) => return Ok(Some(result)),
            Ok(Err(error @ (BufferError::Encode(_) | BufferError::Stopped))) => return Err(error),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store panicked".to_owned(),
        };
        self.close(before, cause, now, now_ms);
        Ok(None)
    }

    fn close(&mut self, known: Status, cause: String, now: Instant, now_ms: i64) {
        tracing::error!(
            cause,
            retry = ?FIRST_PAUSE,
            "the buffer's flash fails: fixes wait in memory, nothing is sent from flash, and opening it is tried again"
        );
        self.known = Some(known);
        let away = Store::Away { cause, since_ms: now_ms, try_at: now + FIRST_PAUSE, pause: FIRST_PAUSE };
        let broken = std::mem::replace(&mut self.store, away);
        // Closing writes what it can, and must not take the agent with it.
        if catch_unwind(AssertUnwindSafe(|| drop(broken))).is_err() {
            tracing::warn!("the store panicked while it was closed");
        }
    }

    /// Tries again what is due.
    ///
    /// # Errors
    /// Only what no flash can cure.
    pub(super) fn tick(&mut self, now: Instant, now_ms: i64) -> Result<(), BufferError> {
        let Store::Away { cause, try_at, pause, .. } = &mut self.store else { return Ok(()) };
        if *try_at > now {
            return Ok(());
        }
        let opened = catch_unwind(AssertUnwindSafe(|| (self.opener)()))
            .unwrap_or_else(|_| Err("the store panicked while it was opened".to_owned()));
        match opened {
            Err(trouble) => {
                *pause = (*pause * 2).min(LONGEST_PAUSE);
                *try_at = now + *pause;
                if *cause != trouble {
                    tracing::warn!(cause = trouble, retry = ?pause, "the buffer's flash still fails");
                    *cause = trouble;
                }
                Ok(())
            }
            Ok(outbox) => {
                let status = outbox.status();
                let known = self.known.take();
                if known.is_some_and(|known| {
                    known.epoch == status.epoch && status.next_sequence > known.next_sequence
                }) {
                    self.pending.found(self.attempted);
                }
                self.attempted = 0;
                self.store = Store::Open(Box::new(outbox));
                tracing::info!(
                    waiting = self.pending.fixes(),
                    dropped = self.pending.gap(),
                    "the buffer's flash is back"
                );
                self.drain(now, now_ms)
            }
        }
    }

    /// Writes what waits in memory.
    fn drain(&mut self, now: Instant, now_ms: i64) -> Result<(), BufferError> {
        while let Some(next) = self.pending.next() {
            let (count, done) = match next {
                Next::Gap(count) => {
                    let append = |outbox: &mut Outbox| outbox.append_gap(count, LossReason::Storage);
                    (count, self.attempt(now, now_ms, append)?)
                }
                Next::Block(Unwritten { fixes, boot_id, cursor }) => {
                    let count = fixes.len() as u64;
                    let append = |outbox: &mut Outbox| outbox.append(fixes, boot_id, cursor);
                    (count, self.attempt(now, now_ms, append)?)
                }
            };
            if done.is_none() {
                self.attempted = count;
                return Ok(());
            }
            self.pending.written();
            tracing::debug!(fixes = count, "on flash");
        }
        Ok(())
    }

    /// The agent ends: a last try for what waits in memory. Returns how many fixes are lost without a trace.
    pub(super) fn finish(&mut self, now: Instant, now_ms: i64) -> u64 {
        if let Store::Away { try_at, .. } = &mut self.store {
            *try_at = now;
            if let Err(error) = self.tick(now, now_ms) {
                tracing::error!(%error, "the last fixes cannot be written");
            }
        }
        if let Err(error) = self.attempt(now, now_ms, Outbox::record) {
            tracing::debug!(%error, "the next start has some blocks to catch up on");
        }
        self.pending.fixes() + self.pending.gap()
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
