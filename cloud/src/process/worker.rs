//! One partition of the journal: read, understand, commit, in order.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::plan::plan;
use super::{MAX_FIXES, READ, StartError};
use crate::journal::{Partition, PartitionReader, Stretch};
use crate::live::{LiveFeed, LiveUpdate};
use crate::meters;
use crate::store::{Claim, Commit, Store};

/// How long one look for new entries takes when there are none.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Worker {
    pub(super) reader: Box<dyn PartitionReader>,
    pub(super) store: Arc<dyn Store>,
    pub(super) feed: LiveFeed,
    /// For operators who look into the store.
    pub(super) owner: String,
}

impl Worker {
    pub(super) fn partition(&self) -> Partition {
        self.reader.partition()
    }

    /// Follows the partition until `stop` becomes true; the transaction at work is finished first.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let partition = self.partition();
        let mut pause = FIRST_PAUSE;
        let mut claim = None;
        while !*stop.borrow() {
            match self.step(claim, &mut stop).await {
                Ok(next) => {
                    claim = Some(next);
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    metrics::counter!(meters::PROCESS_ERRORS).increment(1);
                    tracing::error!(%partition, "processing stands still ({error:#}); trying again in {pause:?}");
                    // The failed transaction may have been applied all the same, and one that was refused shows that
                    // somebody else had the partition meanwhile: claim it again, and ask where it stands.
                    claim = None;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stop.wait_for(|&stop| stop) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        self.show_lag(0);
    }

    /// Processes everything that is in the partition now.
    pub(super) async fn catch_up(&mut self) -> anyhow::Result<()> {
        let end = self.reader.bounds().await?.end;
        let mut claim = self.claim().await?;
        let (_go, mut stop) = watch::channel(false);
        while claim.next_offset < end {
            claim = self.step(Some(claim), &mut stop).await?;
        }
        Ok(())
    }

    async fn step(
        &mut self,
        claim: Option<Claim>,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<Claim> {
        let claim = match claim {
            Some(claim) => claim,
            None => self.claim().await?,
        };
        let read = tokio::select! {
            read = self.reader.read(claim.next_offset, READ, PATIENCE) => read?,
            _ = stop.wait_for(|&stop| stop) => return Ok(claim),
        };
        self.process(claim, read).await
    }

    /// # Errors
    /// When the journal ends before what was processed: what comes next would be taken for done.
    async fn claim(&mut self) -> anyhow::Result<Claim> {
        let claim = self.store.claim(self.partition(), &self.owner).await?;
        let bounds = self.reader.bounds().await?;
        check(self.partition(), claim.next_offset, &bounds)?;
        if claim.next_offset < bounds.start {
            let gone = claim.next_offset..bounds.start;
            tracing::warn!(partition = %self.partition(), ?gone, "entries were deleted from the journal before they were processed");
        }
        Ok(claim)
    }

    async fn process(&mut self, claim: Claim, read: Stretch) -> anyhow::Result<Claim> {
        let Stretch { entries, end } = read;
        if entries.is_empty() {
            self.show_lag(0);
            return Ok(claim);
        }
        let plan = tokio::task::spawn_blocking(move || plan(&entries, MAX_FIXES)).await?;
        let partition = self.partition();
        for refused in &plan.refused {
            metrics::counter!(meters::PROCESS_REFUSED).increment(1);
            tracing::error!(
                %partition,
                offset = refused.offset,
                reason = refused.reason,
                "journal entry cannot be processed; it is kept"
            );
        }
        let next_offset = plan.next_offset;
        let commit = Commit { partition, generation: claim.generation, changes: plan.changes, next_offset };
        let committed = self.store.commit(commit).await?;
        metrics::counter!(meters::PROCESS_STORED).increment(committed.stored);
        metrics::counter!(meters::PROCESS_DUPLICATES).increment(committed.duplicates);
        self.show_lag(end.saturating_sub(next_offset));
        let updates =
            committed.newest.into_iter().map(|(vehicle, position)| LiveUpdate { vehicle, position });
        self.feed.publish(updates.collect());
        Ok(Claim { next_offset, ..claim })
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
