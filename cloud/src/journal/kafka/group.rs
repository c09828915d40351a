//! A share in the consumer group: partitions come and go, and a partition goes only when its worker has ended.
//!
//! A thread of its own serves the group. When the coordinator takes partitions away, it waits within the callback
//! until they are released, and only then tells Kafka: the next owner begins after our last transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};

use super::KafkaSettings;
use super::client::{SetupError, configure, log};
use super::reader::{Ends, KafkaReader};
use crate::journal::{Event, JournalError, Partition, PartitionReader, Subscription};

/// Between two looks whether we are to stop.
const POLL: Duration = Duration::from_millis(100);
/// A transaction takes tens of milliseconds. Whoever is later than this is refused by the store.
const RELEASE_WITHIN: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(2);

type Events = mpsc::Sender<Result<Event, JournalError>>;

/// What all consumers share, and what a member of the group has to tell.
#[derive(Default)]
pub(super) struct Member {
    ends: Ends,
    events: Option<Events>,
    /// Assigned by the callback, and not yet told.
    fresh: Mutex<Vec<i32>>,
}

impl Member {
    pub(super) fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Paused, from the oldest entry on: the reader says where to begin, and until then nothing is fetched.
    pub(super) fn take(
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
        assign: impl FnOnce(&BaseConsumer<Self>, &TopicPartitionList) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaError> {
        partitions.set_all_offsets(Offset::Beginning)?;
        assign(consumer, partitions)?;
        consumer.pause(partitions)
    }

    fn fresh(&self) -> std::sync::MutexGuard<'_, Vec<i32>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn revoked(&self, partitions: &TopicPartitionList) {
        let numbers: Vec<i32> = partitions.elements().iter().map(TopicPartitionListElem::partition).collect();
        self.fresh().retain(|fresh| !numbers.contains(fresh));
        let (released, mut waiting) = oneshot::channel();
        let partitions = numbers.into_iter().map(|number| Partition(number.cast_unsigned())).collect();
        let told = self
            .events
            .as_ref()
            .is_some_and(|events| tell(events, Ok(Event::Revoked { partitions, released })));
        let deadline = Instant::now() + RELEASE_WITHIN;
        while told && waiting.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            if Instant::now() > deadline {
                tracing::warn!(
                    "partitions are given away while a transaction is at work; the store will refuse it"
                );
                break;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }

    fn stats(&self, statistics: Statistics) {
        for partition in statistics.topics.values().flat_map(|topic| topic.partitions.values()) {
            if let (Ok(number), Ok(end)) =
                (u32::try_from(partition.partition), u64::try_from(partition.hi_offset))
            {
                self.ends.heard(number, end);
            }
        }
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let outcome = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.fresh().extend(partitions.elements().iter().map(TopicPartitionListElem::partition));
                Self::take(consumer, partitions, Consumer::incremental_assign)
            }
            _ => {
                self.revoked(partitions);
                consumer.incremental_unassign(partitions)
            }
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "the group's assignment cannot be followed");
        }
    }
}

/// Joins the group.
///
/// # Errors
/// When the configuration cannot be used. Brokers may be away.
pub fn subscribe(settings: &KafkaSettings) -> Result<Box<dyn Subscription>, SetupError> {
    let (tell, events) = mpsc::channel(4);
    let mut config = configure(settings, CONSUMER)?;
    config.set("group.id", &settings.group).set("statistics.interval.ms", "5000");
    let member = Member { events: Some(tell), ..Member::default() };
    let consumer = BaseConsumer::from_config_and_context(&config, member).map_err(SetupError::Client)?;
    let topic = settings.batches();
    consumer.subscribe(&[&topic]).map_err(SetupError::Client)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new()
        .name("kafka-group".to_owned())
        .spawn(move || serve(&Arc::new(consumer), &topic, &stopped))
        .map_err(|error| SetupError::Client(KafkaError::ClientCreation(error.to_string())))?;
    Ok(Box::new(KafkaSubscription { events, stop, thread: Some(thread) }))
}

pub(super) const CONSUMER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // The place that is sought is always one that the store has named; where retention has deleted it, what follows.
    ("auto.offset.reset", "earliest"),
    // Partitions that stay are not disturbed.
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("isolation.level", "read_committed"),
    // For each partition: some seconds of work ahead, and bounded memory.
    ("queued.min.messages", "2000"),
    ("queued.max.messages.kbytes", "8192"),
    ("fetch.message.max.bytes", "4194304"),
];

fn serve(consumer: &Arc<BaseConsumer<Member>>, topic: &str, stop: &AtomicBool) {
    let Some(events) = consumer.context().events.clone() else { return };
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(POLL) {
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                tell(&events, Err(JournalError::Unavailable(error.to_string())));
                return;
            }
            Some(Err(error)) => tracing::warn!(%error, "following the journal"),
            // A message from before its partition had a queue of its own: it comes again after the first seek.
            Some(Ok(_)) | None => {}
        }
        let fresh = std::mem::take(&mut *consumer.context().fresh());
        if fresh.is_empty() {
            continue;
        }
        let readers: Result<Vec<_>, _> = fresh
            .into_iter()
            .map(|number| {
                KafkaReader::new(consumer, topic, number)
                    .map(|reader| Box::new(reader) as Box<dyn PartitionReader>)
            })
            .collect();
        if !tell(&events, readers.map(Event::Assigned)) {
            return;
        }
    }
}

/// Waits for room; false when nobody listens any more. Not tokio's own waiting: the last callback may come while the
/// client is dropped, on any thread.
fn tell(events: &Events, mut event: Result<Event, JournalError>) -> bool {
    loop {
        match events.try_send(event) {
            Ok(()) => return true,
            Err(mpsc::error::TrySendError::Closed(_)) => return false,
            Err(mpsc::error::TrySendError::Full(back)) => event = back,
        }
        std::thread::sleep(LOOK);
    }
}

struct KafkaSubscription {
    events: mpsc::Receiver<Result<Event, JournalError>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[async_trait]
impl Subscription for KafkaSubscription {
    async fn next(&mut self) -> Result<Event, JournalError> {
        self.events.recv().await.unwrap_or(Err(JournalError::Closed))
    }
}

impl Drop for KafkaSubscription {
    /// Leaves the group, so that the others need not wait until we are missed.
    fn drop(&mut self) {
        self.events.close();
        // Readers that nobody has taken: they hold the client, which the thread is to drop.
        while self.events.try_recv().is_ok() {}
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
