//! What a partition's processing brought, published in order behind the commits.
//!
//! The journal is the outbox: nothing is kept twice. A job is published after its commit, several are on their way at one
//! time, and the store notes now and then up to which entry everything is durable at the readers' side. Whoever claims
//! the partition next publishes again what lies between that and what was processed. So each fix is published at least
//! once; (vehicle, epoch, sequence) tells its copies. Events wait in the store, and leave in the order of their commits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use avl_shared::sequence::{RangeSet, SequenceRange};
use bytes::BytesMut;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, timeout};

use super::plan::Refusal;
use crate::journal::{Partition, Place};
use crate::meters;
use crate::outlet::{Message, Outlet, OutletError, Receipt, Stream, position_message, reject_message};
use crate::store::{Change, Published, Store, StoreError};

/// Commits that wait to be published; beyond it processing waits.
const QUEUE: usize = 2;
/// Commits that are on their way. Their bytes are bounded by the outlet.
const ON_THEIR_WAY: usize = 16;
/// Events that are read at once.
const EVENTS: usize = 1000;
/// How often the store hears how far publishing is: what a crash repeats.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// For what is on its way when the partition goes to another, who would publish it again.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// What one commit brought.
pub(super) struct Job {
    /// The first offset that it does not cover.
    pub(super) end: u64,
    pub(super) changes: Arc<[Change]>,
    /// For each change the numbers that are new; `None` where that is not known any more: all of them.
    pub(super) fresh: Option<Vec<RangeSet>>,
    pub(super) refused: Vec<Refusal>,
    /// Whether there are new events in the store.
    pub(super) events: bool,
}

/// Publishes for one claim of one partition.
pub(super) struct Publisher {
    jobs: mpsc::Sender<Job>,
    /// Nobody sends: it closes when the task has ended, which it does by itself only when it cannot go on.
    alive: watch::Receiver<()>,
    task: JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Outlet(#[from] OutletError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Panic(#[from] tokio::task::JoinError),
}

impl Publisher {
    pub(super) fn start(
        outlet: Arc<dyn Outlet>,
        store: Arc<dyn Store>,
        partition: Partition,
        generation: u64,
        published: Published,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (living, alive) = watch::channel(());
        let sent = published.event;
        let run = Run {
            outlet,
            store,
            partition,
            generation,
            published,
            noted: published,
            sent,
            on_way: VecDeque::new(),
        };
        let task = tokio::spawn(async move {
            if let Err(error) = run.run(waiting).await {
                metrics::counter!(meters::PUBLISH_ERRORS).increment(1);
                tracing::error!(%partition, %error, "publishing is interrupted; it goes on where it is not known to be durable");
            }
            drop(living);
        });
        Self { jobs, alive, task }
    }

    /// Waits for room. False when publishing was interrupted: claim the partition again.
    pub(super) async fn publish(&self, job: Job) -> bool {
        self.jobs.send(job).await.is_ok()
    }

    /// Resolves when publishing is interrupted.
    pub(super) async fn interrupted(&self) {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
    }

    /// Waits a little for what is on its way.
    pub(super) async fn finish(mut self) {
        // Closes the queue: nobody else has it.
        self.jobs = mpsc::channel(1).0;
        if timeout(2 * LAST_PATIENCE, &mut self.task).await.is_err() {
            tracing::info!("the brokers are away; what was not published is left to the next owner");
        }
    }
}

impl Drop for Publisher {
    /// What is on its way may still arrive: copies of what the next owner publishes.
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Run {
    outlet: Arc<dyn Outlet>,
    store: Arc<dyn Store>,
    partition: Partition,
    generation: u64,
    published: Published,
    noted: Published,
    /// The newest event that was given to the outlet.
    sent: u64,
    on_way: VecDeque<(Published, Vec<Receipt>)>,
}

impl Run {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> Result<(), Failure> {
        // What an earlier owner has left.
        self.send_events(self.published.offset).await?;
        let mut note = interval_at(Instant::now() + NOTE_EVERY, NOTE_EVERY);
        loop {
            tokio::select! {
                settled = settle(self.on_way.front_mut()), if !self.on_way.is_empty() => self.advance(settled?),
                job = jobs.recv(), if self.on_way.len() < ON_THEIR_WAY => match job {
                    Some(job) => self.send(job).await?,
                    None => break,
                },
                _ = note.tick(), if self.published != self.noted => self.note().await?,
            }
        }
        let rest = async {
            while !self.on_way.is_empty() {
                let settled = settle(self.on_way.front_mut()).await?;
                self.advance(settled);
            }
            Ok::<_, Failure>(())
        };
        match timeout(LAST_PATIENCE, rest).await {
            Ok(outcome) => outcome?,
            Err(_) => {
                tracing::info!(partition = %self.partition, "the last messages are left to the next owner");
            }
        }
        if self.published != self.noted { self.note().await } else { Ok(()) }
    }

    fn advance(&mut self, settled: Published) {
        self.on_way.pop_front();
        self.published = settled;
        self.show_lag();
    }

    #[allow(clippy::cast_precision_loss)]
    fn show_lag(&self) {
        let last = self.on_way.back().map_or(self.published.offset, |(end, _)| end.offset);
        let partition = self.partition.to_string();
        metrics::gauge!(meters::PUBLISH_LAG, "partition" => partition)
            .set((last - self.published.offset) as f64);
    }

    async fn note(&mut self) -> Result<(), Failure> {
        self.store.published(self.partition, self.generation, self.published).await?;
        self.noted = self.published;
        Ok(())
    }

    async fn send(&mut self, job: Job) -> Result<(), Failure> {
        let Job { end, changes, fresh, refused, events } = job;
        let mut receipts = Vec::new();
        if !refused.is_empty() {
            let source = self.outlet.source();
            let messages = refused.iter().map(|Refusal { offset, reject }| {
                let place = Place { partition: self.partition, offset: *offset };
                reject_message(reject, Some((source, place)))
            });
            let messages = messages.collect();
            receipts.push(self.outlet.publish(Stream::Rejects, Some(self.partition), messages).await?);
        }
        if self.outlet.carries(Stream::Positions) {
            let work = tokio::task::spawn_blocking(move || positions(&changes, fresh.as_deref()));
            let messages = work.await?;
            receipts.push(self.outlet.publish(Stream::Positions, Some(self.partition), messages).await?);
        }
        self.on_way.push_back((Published { offset: end, event: self.sent }, receipts));
        self.show_lag();
        if events { self.send_events(end).await } else { Ok(()) }
    }

    /// From the outbox in the store, in its order; `offset` is what was given to the outlet before.
    async fn send_events(&mut self, offset: u64) -> Result<(), Failure> {
        loop {
            let events = self.store.events(self.partition, self.sent, EVENTS).await?;
            let Some(last) = events.last() else { return Ok(()) };
            self.sent = last.place;
            let messages = events.into_iter().map(|event| Message {
                key: Some(event.vehicle.to_string().into()),
                headers: Vec::new(),
                value: event.message.into(),
            });
            let messages = messages.collect();
            let receipt = self.outlet.publish(Stream::Events, Some(self.partition), messages).await?;
            self.on_way.push_back((Published { offset, event: self.sent }, vec![receipt]));
        }
    }
}

/// Waits until a commit's messages are durable, and says where it ends. May be dropped while it waits.
async fn settle(front: Option<&mut (Published, Vec<Receipt>)>) -> Result<Published, OutletError> {
    let Some((end, receipts)) = front else { return std::future::pending().await };
    while let Some(receipt) = receipts.last_mut() {
        receipt.await?;
        receipts.pop();
    }
    Ok(*end)
}

/// One message a new fix, in the order of the journal.
fn positions(changes: &[Change], fresh: Option<&[RangeSet]>) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut buffer = BytesMut::new();
    for (number, change) in changes.iter().enumerate() {
        let Change::Fixes { vehicle, epoch, first, fixes, received_at } = change else { continue };
        let all = || SequenceRange::starting_at(*first, fixes.len() as u64).into_iter().collect();
        let new = match fresh {
            Some(fresh) => fresh.get(number).cloned().unwrap_or_default(),
            None => all(),
        };
        let key: bytes::Bytes = vehicle.to_string().into();
        for sequence in new.ranges().iter().flat_map(|range| range.first()..=range.last()) {
            let fix = usize::try_from(sequence - first).ok().and_then(|index| fixes.get(index));
            let Some(fix) = fix else { continue };
            let position = position_message(vehicle, *epoch, sequence, fix, *received_at);
            buffer.reserve(position.encoded_len());
            // Growing memory takes everything.
            let _ = position.encode(&mut buffer);
            messages.push(Message {
                key: Some(key.clone()),
                headers: Vec::new(),
                value: buffer.split().freeze(),
            });
        }
    }
    messages
}
