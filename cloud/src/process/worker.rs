//! One partition of the journal: read, understand, commit, in order.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::sync::watch;

use super::plan::{Refusal, plan};
use super::publish::{Job, Publisher};
use super::{MAX_FIXES, READ, StartError};
use crate::journal::{Entry, Partition, PartitionReader, Stretch};
use crate::live::{LiveFeed, LiveUpdate};
use crate::meters;
use crate::outlet::Outlet;
use crate::store::{Claim, Commit, Published, Store};

/// How long one look for new entries takes when there are none.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Worker {
    pub(super) reader: Box<dyn PartitionReader>,
    pub(super) store: Arc<dyn Store>,
    pub(super) feed: LiveFeed,
    pub(super) outlet: Option<Arc<dyn Outlet>>,
    /// For operators who look into the store.
    pub(super) owner: String,
}

/// The partition, as long as it is ours.
struct Tenure {
    generation: u64,
    next_offset: u64,
    publisher: Option<Publisher>,
}

impl Tenure {
    /// Resolves when the partition must be claimed again.
    async fn interrupted(&self) {
        match &self.publisher {
            Some(publisher) => publisher.interrupted().await,
            None => std::future::pending().await,
        }
    }

    async fn publish(&self, job: Job) -> anyhow::Result<()> {
        if let Some(publisher) = &self.publisher {
            ensure!(publisher.publish(job).await, "publishing was interrupted");
        }
        Ok(())
    }

    async fn finish(self) {
        if let Some(publisher) = self.publisher {
            publisher.finish().await;
        }
    }
}

impl Worker {
    pub(super) fn partition(&self) -> Partition {
        self.reader.partition()
    }

    /// Follows the partition until `stop` becomes true; the transaction at work is finished first.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let partition = self.partition();
        let mut pause = FIRST_PAUSE;
        let mut tenure = None;
        while !*stop.borrow() {
            match self.step(&mut tenure, &mut stop).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    metrics::counter!(meters::PROCESS_ERRORS).increment(1);
                    tracing::error!(%partition, "processing stands still ({error:#}); trying again in {pause:?}");
                    // The failed transaction may have been applied all the same, and one that was refused shows that
                    // somebody else had the partition meanwhile: claim it again, and ask where it stands.
                    tenure = None;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stop.wait_for(|&stop| stop) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        if let Some(tenure) = tenure {
            tenure.finish().await;
        }
        self.show_lag(0);
    }

    /// Processes everything that is in the partition now.
    pub(super) async fn catch_up(&mut self) -> anyhow::Result<()> {
        let end = self.reader.bounds().await?.end;
        let (_go, mut stop) = watch::channel(false);
        let mut tenure = self.claim(&mut stop).await?;
        while tenure.as_ref().is_some_and(|tenure| tenure.next_offset < end) {
            self.step(&mut tenure, &mut stop).await?;
        }
        if let Some(tenure) = tenure {
            tenure.finish().await;
        }
        Ok(())
    }

    async fn step(
        &mut self,
        tenure: &mut Option<Tenure>,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let tenure = match tenure {
            Some(tenure) => tenure,
            None => match self.claim(stop).await? {
                Some(claimed) => tenure.insert(claimed),
                None => return Ok(()),
            },
        };
        let read = tokio::select! {
            read = self.reader.read(tenure.next_offset, READ, PATIENCE) => read?,
            () = tenure.interrupted() => bail!("publishing was interrupted"),
            _ = stop.wait_for(|&stop| stop) => return Ok(()),
        };
        self.process(tenure, read, stop).await
    }

    /// `None` when it is told to stop: before everything older is given to be published, nothing newer may be.
    ///
    /// # Errors
    /// When the journal ends before what was processed: what comes next would be taken for done.
    async fn claim(&mut self, stop: &mut watch::Receiver<bool>) -> anyhow::Result<Option<Tenure>> {
        let partition = self.partition();
        let claim = self.store.claim(partition, &self.owner).await?;
        let bounds = self.reader.bounds().await?;
        check(partition, claim.next_offset, &bounds)?;
        if claim.next_offset < bounds.start {
            let gone = claim.next_offset..bounds.start;
            tracing::warn!(%partition, ?gone, "entries were deleted from the journal before they were processed");
        }
        let Claim { generation, next_offset, published_offset, published_event } = claim;
        let publisher = self.outlet.clone().map(|outlet| {
            let store = Arc::clone(&self.store);
            let published = Published { offset: published_offset, event: published_event };
            Publisher::start(outlet, store, partition, generation, published)
        });
        let tenure = Tenure { generation, next_offset, publisher };
        if tenure.publisher.is_some() {
            tokio::select! {
                again = self.publish_again(&tenure, published_offset, bounds.start) => again?,
                _ = stop.wait_for(|&stop| stop) => return Ok(None),
            }
        }
        Ok(Some(tenure))
    }

    /// What was processed and is not known to be published: the journal tells it again.
    async fn publish_again(&mut self, tenure: &Tenure, published: u64, oldest: u64) -> anyhow::Result<()> {
        let (partition, goal) = (self.partition(), tenure.next_offset);
        if published < oldest.min(goal) {
            let gone = published..oldest.min(goal);
            tracing::warn!(%partition, ?gone, "entries were deleted from the journal before they were published");
        }
        let mut next = published;
        while next < goal {
            let read = tokio::select! {
                read = self.reader.read(next, READ, PATIENCE) => read?,
                () = tenure.interrupted() => bail!("publishing was interrupted"),
            };
            let entries: Vec<Entry> = read.entries.into_iter().filter(|entry| entry.offset < goal).collect();
            if entries.is_empty() {
                // A hole up to the end of what was processed.
                break;
            }
            let plan = tokio::task::spawn_blocking(move || plan(&entries, MAX_FIXES)).await?;
            next = plan.next_offset;
            let (changes, refused) = (plan.changes.into(), plan.refused);
            tenure.publish(Job { end: next, changes, fresh: None, refused, events: false }).await?;
        }
        if published < goal {
            tracing::info!(%partition, again = ?(published..goal), "what a stop has left open is published again");
        }
        Ok(())
    }

    async fn process(
        &mut self,
        tenure: &mut Tenure,
        read: Stretch,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let Stretch { entries, end } = read;
        if entries.is_empty() {
            self.show_lag(0);
            return Ok(());
        }
        let plan = tokio::task::spawn_blocking(move || plan(&entries, MAX_FIXES)).await?;
        let partition = self.partition();
        for Refusal { offset, reject } in &plan.refused {
            metrics::counter!(meters::PROCESS_REFUSED).increment(1);
            let reason = &reject.reason;
            tracing::error!(%partition, offset, reason, "journal entry cannot be processed; it is kept");
        }
        let (next_offset, changes) = (plan.next_offset, Arc::from(plan.changes));
        let committed = self
            .store
            .commit(Commit {
                partition,
                generation: tenure.generation,
                changes: Arc::clone(&changes),
                refused: plan.refused.iter().map(Refusal::refused).collect(),
                next_offset,
            })
            .await?;
        tenure.next_offset = next_offset;
        metrics::counter!(meters::PROCESS_STORED).increment(committed.stored);
        metrics::counter!(meters::PROCESS_DUPLICATES).increment(committed.duplicates);
        self.show_lag(end.saturating_sub(next_offset));
        let updates =
            committed.newest.into_iter().map(|(vehicle, position)| LiveUpdate { vehicle, position });
        self.feed.publish(updates.collect());
        let (fresh, refused, events) = (Some(committed.fresh), plan.refused, committed.events > 0);
        let job = Job { end: next_offset, changes, fresh, refused, events };
        // Brokers that are away must not keep us from stopping: the next owner publishes it.
        tokio::select! {
            published = tenure.publish(job) => published,
            _ = stop.wait_for(|&stop| stop) => Ok(()),
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn show_lag(&self, entries: u64) {
        let partition = self.partition().to_string();
        metrics::gauge!(meters::PROCESS_LAG, "partition" => partition).set(entries as f64);
    }
}

pub(super) async fn check_reader(
    reader: &mut dyn PartitionReader,
    store: &dyn Store,
) -> Result<(), StartError> {
    let processed = store.next_offset(reader.partition()).await?;
    let bounds = reader.bounds().await?;
    check(reader.partition(), processed, &bounds)
}

fn check(partition: Partition, processed: u64, bounds: &Range<u64>) -> Result<(), StartError> {
    let end = bounds.end;
    if processed > end { Err(StartError::JournalBehind { partition, processed, end }) } else { Ok(()) }
}
