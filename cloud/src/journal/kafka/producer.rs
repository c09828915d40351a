//! Entries into Kafka, each answered when all in-sync replicas have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::client::{SetupError, configure, log, unavailable};
use super::renewable::Renewable;
use super::{KafkaSettings, record};
use crate::journal::{Journal, JournalError, Partition, Place, Receipt, Record};
use crate::meters;

/// Waiting for the brokers: some seconds of a large fleet. Beyond it callers wait, and through them vehicles.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// What an entry occupies beside its value: key, headers, the library's own record of it.
const OVERHEAD: usize = 512;
/// Topics are made with this limit (`max.message.bytes`); a batch has some kilobytes.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Messages of the library's own queue: never less than ours holds, so that ours is the bound.
const QUEUE_MESSAGES: usize = QUEUE_BYTES / OVERHEAD;
/// For what is on its way when the journal is dropped. What waited for its answer has waited already.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// What goes with a message and comes back with Kafka's answer.
struct Waiting {
    answer: oneshot::Sender<Result<Place, JournalError>>,
    begun: Instant,
    /// Given back only now: a caller that has gone does not make room for another while its message still waits.
    _room: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Answers {
    /// So that an outage is said once, and its end too.
    failing: AtomicBool,
}

impl ClientContext for Answers {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, reason, "Kafka is in trouble; nothing is acknowledged until it takes entries again");
        }
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<Waiting>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Box<Waiting>) {
        metrics::histogram!(meters::JOURNAL_COMMIT_SECONDS).record(waiting.begun.elapsed().as_secs_f64());
        let answer = match result {
            Ok(message) => {
                metrics::counter!(meters::JOURNAL_ENTRIES).increment(1);
                metrics::counter!(meters::JOURNAL_BYTES).increment(message.payload_len() as u64);
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("Kafka takes entries again");
                }
                Ok(place(message.partition(), message.offset()))
            }
            Err((error, _)) => {
                metrics::counter!(meters::JOURNAL_ERRORS).increment(1);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "Kafka does not take entries; nothing is acknowledged");
                }
                Err(unavailable(error))
            }
        };
        // Nobody waits any more when the connection has gone; the entry is durable all the same.
        let _ = waiting.answer.send(answer);
    }
}

/// Both are never negative in an answer of success.
fn place(partition: i32, offset: i64) -> Place {
    Place { partition: Partition(partition.cast_unsigned()), offset: offset.cast_unsigned() }
}

/// The [`Journal`] on Kafka. Dropping it waits some seconds for what is on its way.
pub struct KafkaJournal {
    producer: Renewable<Answers>,
    topic: String,
    room: Arc<Semaphore>,
}

impl KafkaJournal {
    /// Connects in the background: brokers may be away.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn open(settings: &KafkaSettings) -> Result<Self, SetupError> {
        let timeout = settings.delivery_timeout.as_millis().to_string();
        let config = configure(
            settings,
            &[
                ("enable.idempotence", "true"),
                ("acks", "all"),
                ("message.timeout.ms", &timeout),
                ("partitioner", "murmur2"),
                ("compression.type", settings.compression.name()),
                ("message.max.bytes", &(MAX_BYTES + OVERHEAD).to_string()),
                ("queue.buffering.max.messages", &QUEUE_MESSAGES.to_string()),
                ("queue.buffering.max.kbytes", &(2 * QUEUE_BYTES / 1024).to_string()),
            ],
        )?;
        let producer = Renewable::new(config)?;
        Ok(Self { producer, topic: settings.batches(), room: Arc::new(Semaphore::new(QUEUE_BYTES)) })
    }

    fn send(&self, record: &Record, waiting: Box<Waiting>) -> Result<(), (KafkaError, Box<Waiting>)> {
        let key = record.vehicle.to_string();
        let message = BaseRecord::with_opaque_to(&self.topic, waiting)
            .key(&key)
            .payload(&record.value[..])
            .headers(record::headers(record));
        self.producer.get().send(message).map_err(|(error, message)| (error, message.delivery_opaque))
    }
}

#[async_trait]
impl Journal for KafkaJournal {
    async fn append(&self, record: Record) -> Result<Receipt, JournalError> {
        let bytes = record.value.len();
        let size = u32::try_from(bytes + OVERHEAD).ok().filter(|_| bytes <= MAX_BYTES);
        let size = size.ok_or(JournalError::TooLarge { bytes, limit: MAX_BYTES })?;
        let room = Arc::clone(&self.room).acquire_many_owned(size).await.map_err(|_| JournalError::Closed)?;
        let (answer, receipt) = oneshot::channel();
        let mut waiting = Box::new(Waiting { answer, begun: Instant::now(), _room: room });
        while let Err((error, back)) = self.send(&record, waiting) {
            // Its queue is larger than ours, but it frees a message a moment after it has answered.
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                metrics::counter!(meters::JOURNAL_ERRORS).increment(1);
                tracing::error!(%error, "an entry cannot be given to Kafka's client; it is not acknowledged");
                return Err(unavailable(&error));
            }
            waiting = back;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Box::pin(async move { receipt.await.unwrap_or(Err(JournalError::Closed)) }))
    }
}

impl Drop for KafkaJournal {
    fn drop(&mut self) {
        if let Err(error) = self.producer.get().flush(LAST_FLUSH) {
            tracing::warn!(%error, "entries that nobody acknowledged may not be in Kafka; their vehicles send them again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_char;

    use avl_shared::identity::VehicleKey;

    use super::*;
    use crate::journal::{Kind, Transport};

    /// The C library's own switch for tests.
    #[allow(unsafe_code)]
    fn break_for_good(journal: &KafkaJournal) {
        let producer = journal.producer.get();
        let why: *const c_char = c"a test".as_ptr();
        let code = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: the handle lives as long as `producer`, the text is a constant that ends with a zero, and the
        // function takes both only for the time of the call and may be called from any thread.
        unsafe { rdkafka::bindings::rd_kafka_test_fatal_error(producer.client().native_ptr(), code, why) };
    }

    #[tokio::test]
    async fn a_client_that_has_given_up_is_replaced() {
        let mut settings =
            KafkaSettings { bootstrap: Some("127.0.0.1:9".to_owned()), ..KafkaSettings::default() };
        // A broker within the client; each client has its own.
        settings.client.insert("test.mock.num.brokers".to_owned(), "1".to_owned());
        let journal = KafkaJournal::open(&settings).unwrap();
        let vehicle: VehicleKey = "demo/van-1".parse().unwrap();
        let append = async |value: &'static [u8]| {
            let (kind, transport) = (Kind::Known, Transport::Quic);
            let value = value.into();
            let record = Record { vehicle: vehicle.clone(), kind, transport, received_at: 0, value };
            journal.append(record).await.unwrap().await
        };
        assert_eq!(append(b"before").await.unwrap().offset, 0);
        break_for_good(&journal);
        assert_eq!(append(b"after").await.unwrap().offset, 0, "of the new client's own broker");
    }
}
