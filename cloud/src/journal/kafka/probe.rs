//! Whether the brokers could take an entry now.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;

use super::KafkaSettings;
use super::client::{SetupError, configure};
use super::group::Member;
use super::topics::min_in_sync;

const PATIENCE: Duration = Duration::from_secs(4);

/// Cloning shares its connections.
#[derive(Clone)]
pub struct KafkaProbe {
    consumer: Arc<BaseConsumer<Member>>,
    settings: KafkaSettings,
}

impl KafkaProbe {
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(settings: &KafkaSettings) -> Result<Self, SetupError> {
        let config = configure(settings, &[])?;
        let consumer =
            BaseConsumer::from_config_and_context(&config, Member::default()).map_err(SetupError::Client)?;
        Ok(Self { consumer: Arc::new(consumer), settings: settings.clone() })
    }

    /// # Errors
    /// What keeps the brokers from taking entries.
    pub async fn look(&self) -> Result<(), String> {
        let probe = self.clone();
        tokio::task::spawn_blocking(move || probe.look_now()).await.map_err(|error| error.to_string())?
    }

    fn look_now(&self) -> Result<(), String> {
        let topic = self.settings.batches();
        let metadata =
            self.consumer.fetch_metadata(Some(&topic), PATIENCE).map_err(|error| error.to_string())?;
        let partitions =
            metadata.topics().iter().find(|found| found.name() == topic).map(MetadataTopic::partitions);
        let partitions = partitions
            .filter(|found| !found.is_empty())
            .ok_or_else(|| format!("there is no topic {topic}"))?;
        for partition in partitions {
            if partition.leader() < 0 {
                return Err(format!("partition {} of {topic} has no leader", partition.id()));
            }
            let (copies, in_sync) = (partition.replicas().len(), partition.isr().len());
            let least = min_in_sync(&self.settings, u32::try_from(copies).unwrap_or(u32::MAX)) as usize;
            if in_sync < least {
                return Err(format!(
                    "partition {} of {topic} has {in_sync} copies in sync and needs {least}",
                    partition.id()
                ));
            }
        }
        Ok(())
    }
}
