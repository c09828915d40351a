//! What leaves the processor, into topics beside `avl.batches`: the same partitions by number, so a vehicle's positions lie
//! where its batches lie.
//!
//! A message never fails alone while those behind it are delivered: it waits for the brokers as long as they are away, and an
//! error that would leave a hole ends the producer (`enable.gapless.guarantee`).

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::KafkaSettings;
use super::client::{SetupError, configure, log};
use super::producer::MAX_BYTES;
use super::renewable::Renewable;
use crate::journal::Partition;
use crate::meters;
use crate::outlet::{Message, Outlet, OutletError, Receipt, Stream};

/// Waiting for the brokers: a quarter of a second at a million positions a second.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// What a message occupies beside its value.
const OVERHEAD: usize = 256;
/// Never less than our own queue holds, so that ours is the bound.
const QUEUE_MESSAGES: usize = QUEUE_BYTES / OVERHEAD;
const FULL: Duration = Duration::from_millis(1);

/// The messages of one call; the last one that is answered answers the call.
struct Group {
    topic: Arc<str>,
    messages: u64,
    answer: Mutex<Option<oneshot::Sender<Result<(), OutletError>>>>,
    failed: OnceLock<String>,
    _room: OwnedSemaphorePermit,
}

impl Drop for Group {
    fn drop(&mut self) {
        let outcome = match self.failed.take() {
            None => {
                let topic = Arc::clone(&self.topic);
                metrics::counter!(meters::PUBLISHED, "topic" => topic).increment(self.messages);
                Ok(())
            }
            Some(error) => Err(OutletError::Unavailable(error)),
        };
        if let Some(answer) = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = answer.send(outcome);
        }
    }
}

#[derive(Default)]
struct Answers;

impl ClientContext for Answers {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = Arc<Group>;

    fn delivery(&self, result: &DeliveryResult<'_>, group: Arc<Group>) {
        if let Err((error, _)) = result {
            let _ = group.failed.set(error.to_string());
        }
    }
}

/// The [`Outlet`] on Kafka.
pub struct KafkaOutlet {
    producer: Arc<Renewable<Answers>>,
    source: String,
    positions: Option<Arc<str>>,
    events: Arc<str>,
    rejects: Arc<str>,
    room: Arc<Semaphore>,
}

impl KafkaOutlet {
    /// Connects in the background: brokers may be away.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn open(settings: &KafkaSettings) -> Result<Self, SetupError> {
        let config = configure(
            settings,
            &[
                ("enable.idempotence", "true"),
                ("enable.gapless.guarantee", "true"),
                ("acks", "all"),
                ("message.timeout.ms", "0"),
                ("partitioner", "murmur2"),
                ("compression.type", settings.compression.name()),
                ("message.max.bytes", &(MAX_BYTES + 64 * 1024).to_string()),
                ("queue.buffering.max.messages", &QUEUE_MESSAGES.to_string()),
                ("queue.buffering.max.kbytes", &(2 * QUEUE_BYTES / 1024).to_string()),
            ],
        )?;
        let topic = |stream| settings.topic(stream).into();
        Ok(Self {
            producer: Arc::new(Renewable::new(config)?),
            source: settings.batches(),
            positions: settings.positions.then(|| topic(Stream::Positions)),
            events: topic(Stream::Events),
            rejects: topic(Stream::Rejects),
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
        })
    }

    fn topic(&self, stream: Stream) -> Option<&Arc<str>> {
        match stream {
            Stream::Positions => self.positions.as_ref(),
            Stream::Events => Some(&self.events),
            Stream::Rejects => Some(&self.rejects),
        }
    }
}

#[async_trait]
impl Outlet for KafkaOutlet {
    fn source(&self) -> &str {
        &self.source
    }

    fn carries(&self, stream: Stream) -> bool {
        self.topic(stream).is_some()
    }

    async fn publish(
        &self,
        stream: Stream,
        partition: Option<Partition>,
        messages: Vec<Message>,
    ) -> Result<Receipt, OutletError> {
        let topic = self.topic(stream).cloned();
        let Some(topic) = topic.filter(|_| !messages.is_empty()) else {
            return Ok(Box::pin(async { Ok(()) }));
        };
        let bytes: usize = messages.iter().map(|message| message.value.len() + OVERHEAD).sum();
        // What is larger than all room takes all of it.
        let permits = u32::try_from(bytes.min(QUEUE_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        let room = room.map_err(|_| OutletError::Closed)?;
        let (answer, receipt) = oneshot::channel();
        let answer = Mutex::new(Some(answer));
        let count = messages.len() as u64;
        let group = Arc::new(Group { topic, messages: count, answer, failed: OnceLock::new(), _room: room });
        let producers = Arc::clone(&self.producer);
        // Some thousands of messages are some milliseconds of work.
        let sent = tokio::task::spawn_blocking(move || {
            let producer = producers.get();
            messages.iter().try_for_each(|message| send(&producer, &group, partition, message))
        });
        match sent.await {
            Ok(Ok(())) => Ok(Box::pin(async move { receipt.await.unwrap_or(Err(OutletError::Closed)) })),
            Ok(Err(error)) => Err(OutletError::Unavailable(error.to_string())),
            Err(error) => Err(OutletError::Unavailable(error.to_string())),
        }
    }
}

fn send(
    producer: &ThreadedProducer<Answers>,
    group: &Arc<Group>,
    partition: Option<Partition>,
    message: &Message,
) -> Result<(), KafkaError> {
    loop {
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&group.topic, Arc::clone(group))
            .payload(&message.value[..]);
        if let Some(Partition(number)) = partition {
            record = record.partition(number.cast_signed());
        }
        if let Some(key) = &message.key {
            record = record.key(&key[..]);
        }
        if !message.headers.is_empty() {
            record = record.headers(headers(message));
        }
        match producer.send(record) {
            Ok(()) => return Ok(()),
            // The client frees a message a moment after it has answered.
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                std::thread::sleep(FULL);
            }
            Err((error, _)) => return Err(error),
        }
    }
}

fn headers(message: &Message) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(message.headers.len());
    message
        .headers
        .iter()
        .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_str()) }))
}
