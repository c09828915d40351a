//! From the journal to the store: each fix once, whatever happens in between.
//!
//! The place in the journal is kept by the store and moves in the same transaction as the rows, so a crash repeats
//! work and never data. An entry that cannot be decoded is counted, stays in the journal, and blocks nothing; a store
//! that does not answer blocks everything, and is asked again until it does.
//!
//! What was committed is published where there is an outlet, behind the commits and bounded: see `publish`.
//!
//! Each partition has a worker of its own. When a partition goes to another process, its worker ends first and the
//! journal is told then; should it be too slow for that, the store refuses what it still commits.

mod plan;
mod publish;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::journal::{Archive, Event, JournalError, Partition, PartitionReader, ReadLimit, Subscription};
use crate::live::LiveFeed;
use crate::outlet::Outlet;
use crate::store::{Store, StoreError};
use worker::Worker;

pub use plan::{Plan, Refusal, changes_of, plan};

/// One transaction: some tens of milliseconds of work, so that a vehicle on the map does not stand still behind a
/// backlog.
const READ: ReadLimit = ReadLimit { entries: 512, bytes: 4 * 1024 * 1024 };
/// Bytes do not bound fixes: a parked vehicle's 4096 fixes fit into a hundred.
const MAX_FIXES: usize = 20_000;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the store has processed partition {partition} of the journal up to entry {processed}, but it ends at {end}: the \
         journal was deleted, or restored from an older backup. Put the newer journal back (journal.sqlite), or move the \
         store away (store.sqlite) so that it is derived again (enrolment tokens that were not used yet go with it)"
    )]
    JournalBehind { partition: Partition, processed: u64, end: u64 },
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StartError {
    /// Whether it may be gone after a while: what does not answer, but not what answers wrongly.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Journal(JournalError::Unavailable(_)) | Self::Store(StoreError::Unavailable(_)))
    }
}

pub struct Processor {
    store: Arc<dyn Store>,
    feed: LiveFeed,
    outlet: Option<Arc<dyn Outlet>>,
    owner: String,
}

impl Processor {
    #[must_use]
    pub fn new(store: Arc<dyn Store>, feed: LiveFeed) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { store, feed, outlet: None, owner: format!("{host} process {}", std::process::id()) }
    }

    /// Publishes what was processed there too.
    #[must_use]
    pub fn publishing(self, outlet: Option<Arc<dyn Outlet>>) -> Self {
        Self { outlet, ..self }
    }

    /// Refuses a journal that ends before what the store has processed: its next entries would get offsets that the
    /// store takes for done, and would never become rows. Call it before anything is appended.
    ///
    /// # Errors
    /// [`StartError`] says what happened and what to do.
    pub async fn check_start(&self, archive: &dyn Archive) -> Result<(), StartError> {
        for mut reader in archive.readers().await? {
            worker::check_reader(&mut *reader, &*self.store).await?;
        }
        Ok(())
    }

    /// Follows the partitions that it is given, until `stop` becomes true or the subscription ends; transactions at
    /// work are finished first.
    pub async fn run(self, mut subscription: Box<dyn Subscription>, mut stop: watch::Receiver<bool>) {
        let mut workers = Workers::default();
        loop {
            let event = tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => break,
                event = subscription.next() => event,
                () = workers.fallen() => break,
            };
            match event {
                Ok(Event::Assigned(readers)) => {
                    for reader in readers {
                        workers.start(self.worker(reader)).await;
                    }
                }
                Ok(Event::Revoked { partitions, released }) => {
                    workers.stop(&partitions).await;
                    drop(released);
                }
                Err(error) => {
                    tracing::error!(%error, "the journal cannot be followed any more");
                    break;
                }
            }
        }
        workers.stop_all().await;
    }

    /// Processes everything that is in the journal now. For one process alone.
    ///
    /// # Errors
    /// When the journal or the store fails.
    pub async fn catch_up(&self, archive: &dyn Archive) -> anyhow::Result<()> {
        for reader in archive.readers().await? {
            self.worker(reader).catch_up().await?;
        }
        Ok(())
    }

    fn worker(&self, reader: Box<dyn PartitionReader>) -> Worker {
        let (store, feed, owner) = (Arc::clone(&self.store), self.feed.clone(), self.owner.clone());
        Worker { reader, store, feed, outlet: self.outlet.clone(), owner }
    }
}

/// The workers of the partitions that are ours.
#[derive(Default)]
struct Workers(HashMap<Partition, Running>);

struct Running {
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

impl Workers {
    async fn start(&mut self, worker: Worker) {
        let partition = worker.partition();
        // Two at once would only refuse each other's commits.
        self.stop(&[partition]).await;
        let (stop, stopped) = watch::channel(false);
        tracing::info!(%partition, "processing");
        self.0.insert(partition, Running { stop, handle: tokio::spawn(worker.run(stopped)) });
    }

    async fn stop(&mut self, partitions: &[Partition]) {
        let ending: Vec<_> = partitions
            .iter()
            .filter_map(|partition| Some((*partition, self.0.remove(partition)?)))
            .inspect(|(_, running)| _ = running.stop.send_replace(true))
            .collect();
        for (partition, Running { handle, .. }) in ending {
            // One that panicked has rolled its transaction back.
            let outcome = handle.await;
            tracing::info!(%partition, ?outcome, "no longer processing");
        }
    }

    async fn stop_all(&mut self) {
        let all: Vec<Partition> = self.0.keys().copied().collect();
        self.stop(&all).await;
    }

    /// Resolves when a worker ends that was not told to: it has panicked.
    async fn fallen(&mut self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let partitions: Vec<Partition> = self.0.keys().copied().collect();
        let (outcome, fallen, _) = select_all(self.0.values_mut().map(|running| &mut running.handle)).await;
        self.0.remove(&partitions[fallen]);
        tracing::error!(?outcome, "a partition's worker ended by itself");
    }
}

#[cfg(test)]
mod tests;
