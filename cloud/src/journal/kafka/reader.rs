//! Reads one partition, wherever it is told to go on.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::client::unavailable;
use super::group::Member;
use super::record;
use crate::journal::{Entry, JournalError, Partition, PartitionReader, ReadLimit, Stretch};

const PATIENCE: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Ends of partitions, as the client has heard of them last.
#[derive(Default)]
pub(super) struct Ends(Mutex<HashMap<u32, u64>>);

impl Ends {
    pub(super) fn heard(&self, partition: u32, end: u64) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ends.entry(partition).or_default();
        *known = end.max(*known);
    }

    fn of(&self, partition: u32) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&partition).copied().unwrap_or(0)
    }
}

/// A partition of a consumer that has it assigned and paused: the first read seeks and resumes.
pub(super) struct KafkaReader {
    consumer: Arc<BaseConsumer<Member>>,
    queue: PartitionQueue<Member>,
    ready: Arc<Notify>,
    topic: String,
    partition: Partition,
    /// Offset of the next message that the queue gives; `None` when that is not known.
    position: Option<u64>,
    /// A jump that was seen once: from, to. It is believed when it is seen again after seeking.
    jump: Option<(u64, u64)>,
}

impl KafkaReader {
    pub(super) fn new(
        consumer: &Arc<BaseConsumer<Member>>,
        topic: &str,
        partition: i32,
    ) -> Result<Self, JournalError> {
        let queue = consumer.split_partition_queue(topic, partition);
        let missing = || JournalError::Unavailable(format!("topic {topic} has no partition {partition}"));
        let mut queue = queue.ok_or_else(missing)?;
        let ready = Arc::new(Notify::new());
        let waker = Arc::clone(&ready);
        queue.set_nonempty_callback(move || waker.notify_one());
        Ok(Self {
            consumer: Arc::clone(consumer),
            queue,
            ready,
            topic: topic.to_owned(),
            partition: Partition(partition.cast_unsigned()),
            position: None,
            jump: None,
        })
    }

    fn number(&self) -> i32 {
        self.partition.0.cast_signed()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BaseConsumer<Member>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let consumer = Arc::clone(&self.consumer);
        let answer = tokio::task::spawn_blocking(move || work(&consumer)).await;
        answer.map_err(|error| JournalError::Unavailable(error.to_string()))?
    }

    async fn seek(&mut self, offset: u64) -> Result<(), JournalError> {
        self.position = None;
        let (topic, number) = (self.topic.clone(), self.number());
        self.blocking(move |consumer| {
            patiently(|| consumer.seek(&topic, number, Offset::Offset(offset.cast_signed()), PATIENCE))?;
            let mut partitions = TopicPartitionList::new();
            partitions.add_partition(&topic, number);
            consumer.resume(&partitions).map_err(|error| unavailable(&error))
        })
        .await?;
        self.position = Some(offset);
        Ok(())
    }

    /// The next entry that is there already. Messages from before a seek may still lie in the queue.
    fn take(&mut self) -> Result<Option<Taken>, JournalError> {
        let Some(expected) = self.position else { return Ok(Some(Taken::Elsewhere)) };
        while let Some(message) = self.queue.poll(Duration::ZERO) {
            let message = message.map_err(|error| unavailable(&error))?;
            let offset = message.offset().cast_unsigned();
            if offset < expected {
                continue;
            }
            if offset > expected && self.jump != Some((expected, offset)) {
                self.jump = Some((expected, offset));
                self.position = None;
                return Ok(Some(Taken::Elsewhere));
            }
            self.position = Some(offset + 1);
            let entry = Entry { offset, record: record::read(&message) };
            return Ok(Some(Taken::Entry(entry, message.payload_len())));
        }
        Ok(None)
    }
}

/// A partition that was assigned a moment ago cannot be sought in yet, and one that was made a moment ago, or whose broker
/// has gone, has no leader for a while.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, JournalError> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if std::time::Instant::now() > deadline => return Err(unavailable(&error)),
            Err(_) => std::thread::sleep(ASK_AGAIN),
        }
    }
}

enum Taken {
    Entry(Entry, usize),
    /// The queue is not where we want to read.
    Elsewhere,
}

#[async_trait]
impl PartitionReader for KafkaReader {
    fn partition(&self) -> Partition {
        self.partition
    }

    async fn bounds(&mut self) -> Result<Range<u64>, JournalError> {
        let (topic, number) = (self.topic.clone(), self.number());
        let (oldest, next) = self
            .blocking(move |consumer| patiently(|| consumer.fetch_watermarks(&topic, number, PATIENCE)))
            .await?;
        let bounds = oldest.max(0).cast_unsigned()..next.max(0).cast_unsigned();
        self.consumer.context().ends().heard(self.partition.0, bounds.end);
        Ok(bounds)
    }

    async fn read(
        &mut self,
        offset: u64,
        limit: ReadLimit,
        patience: Duration,
    ) -> Result<Stretch, JournalError> {
        let deadline = Instant::now() + patience;
        let mut entries = Vec::new();
        let mut bytes = 0;
        if self.position != Some(offset) {
            self.seek(offset).await?;
        }
        // Waits only while nothing is taken yet: dropped then, it has lost nothing.
        loop {
            match self.take()? {
                Some(Taken::Entry(entry, size)) => {
                    entries.push(entry);
                    bytes += size;
                    if entries.len() >= limit.entries || bytes >= limit.bytes {
                        break;
                    }
                }
                _ if !entries.is_empty() => break,
                Some(Taken::Elsewhere) => self.seek(offset).await?,
                None => tokio::select! {
                    () = self.ready.notified() => {}
                    () = sleep_until(deadline) => break,
                },
            }
        }
        let behind = entries.last().map_or(0, |last: &Entry| last.offset + 1);
        let end = behind.max(self.consumer.context().ends().of(self.partition.0));
        Ok(Stretch { entries, end })
    }
}
