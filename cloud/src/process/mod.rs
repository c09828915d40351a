//! From the journal to the store: each fix once, whatever happens in between.
//!
//! The place in the journal is kept by the store and moves in the same transaction as the rows, so a crash repeats
//! work and never data. An entry that cannot be decoded is counted, stays in the journal, and blocks nothing; a store
//! that does not answer blocks everything, and is asked again until it does.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::journal::{Journal, ReadLimit};
use crate::live::{LiveFeed, LiveUpdate};
use crate::meters;
use crate::store::{Commit, Store, StoreError};

pub use plan::{Plan, Refusal, changes_of, plan};

/// One transaction: some tens of milliseconds of work, so that a vehicle on the map does not stand still behind a
/// backlog.
const READ: ReadLimit = ReadLimit { entries: 512, bytes: 4 * 1024 * 1024 };
/// Bytes do not bound fixes: a parked vehicle's 4096 fixes fit into a hundred.
const MAX_FIXES: usize = 20_000;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the store has processed the journal up to entry {processed}, but the journal ends at {end}: it was deleted, or \
         restored from an older backup. Put the newer journal.sqlite back, or move store.sqlite away so that it is \
         derived again (enrolment tokens that were not used yet go with it)"
    )]
    JournalBehind { processed: u64, end: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub struct Processor {
    journal: Arc<dyn Journal>,
    store: Arc<dyn Store>,
    feed: LiveFeed,
}

impl Processor {
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, store: Arc<dyn Store>, feed: LiveFeed) -> Self {
        Self { journal, store, feed }
    }

    /// Refuses a journal that ends before what the store has processed: its next entries would get offsets that the
    /// store takes for done, and would never become rows. Call it before anything is appended.
    ///
    /// # Errors
    /// [`StartError`] says what happened and what to do.
    pub async fn check_start(&self) -> Result<(), StartError> {
        let (processed, end) = (self.store.next_offset().await?, *self.journal.end().borrow());
        if processed > end { Err(StartError::JournalBehind { processed, end }) } else { Ok(()) }
    }

    /// Follows the journal until `stop` becomes true; the transaction at work is finished first.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut end = self.journal.end();
        let mut pause = FIRST_PAUSE;
        let mut next = None;
        while !*stop.borrow() {
            match self.step(next).await {
                Ok(Step::Advanced(offset)) => {
                    next = Some(offset);
                    pause = FIRST_PAUSE;
                }
                Ok(Step::AtEnd(offset)) => {
                    next = Some(offset);
                    pause = FIRST_PAUSE;
                    tokio::select! {
                        _ = end.wait_for(|&end| end > offset) => {}
                        _ = stop.wait_for(|&stop| stop) => {}
                    }
                }
                Err(error) => {
                    metrics::counter!(meters::PROCESS_ERRORS).increment(1);
                    tracing::error!(%error, "processing stands still; trying again in {pause:?}");
                    // The failed transaction may have been applied all the same: ask the store where it stands.
                    next = None;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stop.wait_for(|&stop| stop) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Processes everything that is in the journal now.
    ///
    /// # Errors
    /// When the journal or the store fails.
    pub async fn catch_up(&self) -> anyhow::Result<()> {
        let mut next = None;
        while let Step::Advanced(offset) = self.step(next).await? {
            next = Some(offset);
        }
        Ok(())
    }

    async fn step(&self, next: Option<u64>) -> anyhow::Result<Step> {
        let offset = match next {
            Some(offset) => offset,
            None => self.store.next_offset().await?,
        };
        let entries = self.journal.read(offset, READ).await?;
        if entries.is_empty() {
            metrics::gauge!(meters::PROCESS_LAG).set(0.0);
            return Ok(Step::AtEnd(offset));
        }
        let plan = tokio::task::spawn_blocking(move || plan(&entries, MAX_FIXES)).await?;
        for refused in &plan.refused {
            metrics::counter!(meters::PROCESS_REFUSED).increment(1);
            tracing::error!(
                offset = refused.offset,
                reason = refused.reason,
                "journal entry cannot be processed; it is kept"
            );
        }
        let next_offset = plan.next_offset;
        let committed = self.store.commit(Commit { changes: plan.changes, next_offset }).await?;
        metrics::counter!(meters::PROCESS_STORED).increment(committed.stored);
        metrics::counter!(meters::PROCESS_DUPLICATES).increment(committed.duplicates);
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!(meters::PROCESS_LAG)
            .set(self.journal.end().borrow().saturating_sub(next_offset) as f64);
        let updates =
            committed.newest.into_iter().map(|(vehicle, position)| LiveUpdate { vehicle, position });
        self.feed.publish(updates.collect());
        Ok(Step::Advanced(next_offset))
    }
}

enum Step {
    Advanced(u64),
    AtEnd(u64),
}

#[cfg(test)]
mod tests;
