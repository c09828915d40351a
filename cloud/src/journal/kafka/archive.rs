//! The journal for those who only look.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;

use super::KafkaSettings;
use super::client::{SetupError, configure};
use super::group::{CONSUMER, Member};
use super::reader::KafkaReader;
use crate::journal::{Archive, JournalError, PartitionReader};

const PATIENCE: Duration = Duration::from_secs(15);

/// The [`Archive`] on Kafka. Its readers join no group.
pub struct KafkaArchive {
    settings: KafkaSettings,
}

impl KafkaArchive {
    #[must_use]
    pub fn new(settings: KafkaSettings) -> Self {
        Self { settings }
    }
}

#[async_trait]
impl Archive for KafkaArchive {
    async fn readers(&self) -> Result<Vec<Box<dyn PartitionReader>>, JournalError> {
        let settings = self.settings.clone();
        let answer = tokio::task::spawn_blocking(move || open(&settings)).await;
        answer
            .map_err(|error| JournalError::Unavailable(error.to_string()))?
            .map_err(|error| JournalError::Unavailable(error.to_string()))
    }
}

fn open(settings: &KafkaSettings) -> Result<Vec<Box<dyn PartitionReader>>, SetupError> {
    let mut config = configure(settings, CONSUMER)?;
    // The client wants a name even where nobody joins.
    config.set("group.id", format!("{}-archive", settings.group));
    let consumer =
        BaseConsumer::from_config_and_context(&config, Member::default()).map_err(SetupError::Client)?;
    let consumer: Arc<BaseConsumer<Member>> = Arc::new(consumer);
    let topic = settings.batches();
    let unreachable =
        |error| SetupError::Unreachable { bootstrap: settings.bootstrap.clone().unwrap_or_default(), error };
    let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).map_err(unreachable)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let mut partitions = TopicPartitionList::new();
    for partition in found.iter().flat_map(|found| found.partitions()) {
        partitions.add_partition(&topic, partition.id());
    }
    if partitions.count() == 0 {
        let error = KafkaError::Subscription(format!("there is no topic {topic}"));
        return Err(unreachable(error));
    }
    Member::take(&consumer, &mut partitions, Consumer::assign).map_err(SetupError::Client)?;
    let numbers = partitions.elements().iter().map(TopicPartitionListElem::partition).collect::<Vec<_>>();
    let readers = numbers.into_iter().map(|number| {
        let reader = KafkaReader::new(&consumer, &topic, number);
        reader.map(|reader| Box::new(reader) as Box<dyn PartitionReader>)
    });
    readers
        .collect::<Result<_, _>>()
        .map_err(|error| SetupError::Client(KafkaError::Subscription(error.to_string())))
}
