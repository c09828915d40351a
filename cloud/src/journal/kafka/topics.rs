//! Makes the topics.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaSettings;
use super::client::{Plain, SetupError, configure};
use super::producer::MAX_BYTES;
use crate::outlet::Stream;

const PATIENCE: Duration = Duration::from_secs(15);

/// Makes what is missing and leaves alone what is there.
///
/// # Errors
/// When no broker answers, or one refuses.
pub async fn prepare(settings: &KafkaSettings) -> Result<(), SetupError> {
    let admin: AdminClient<Plain> = AdminClient::from_config_and_context(&configure(settings, &[])?, Plain)
        .map_err(SetupError::Client)?;
    let admin = std::sync::Arc::new(admin);
    let asking = std::sync::Arc::clone(&admin);
    let answer = tokio::task::spawn_blocking(move || asking.inner().fetch_metadata(None, PATIENCE)).await;
    let bootstrap = || settings.bootstrap.clone().unwrap_or_default();
    let metadata = match answer {
        Ok(answer) => answer.map_err(|error| SetupError::Unreachable { bootstrap: bootstrap(), error })?,
        Err(_) => return Err(SetupError::NoBootstrap),
    };
    let brokers = metadata.brokers().len();
    let partitions =
        |topic: &str| Some(metadata.topics().iter().find(|found| found.name() == topic)?.partitions().len());
    let batches = settings.batches();
    let wanted = match partitions(&batches) {
        Some(found) if found != settings.partitions as usize => {
            tracing::info!(topic = batches, found, "the topic is there, with partitions of its own number");
            found
        }
        Some(found) => found,
        None => {
            let new = New { topic: &batches, partitions: settings.partitions, retention: settings.retention };
            create(&admin, settings, &new, brokers).await?;
            settings.partitions as usize
        }
    };
    for stream in [Stream::Positions, Stream::Events, Stream::Rejects] {
        if stream == Stream::Positions && !settings.positions {
            continue;
        }
        let topic = settings.topic(stream);
        match partitions(&topic) {
            Some(found) if found == wanted => {}
            Some(found) => return Err(SetupError::Partitions { topic, found, batches, wanted }),
            None => {
                let partitions = u32::try_from(wanted).unwrap_or(settings.partitions);
                let new = New { topic: &topic, partitions, retention: Some(settings.published_retention) };
                create(&admin, settings, &new, brokers).await?;
            }
        }
    }
    Ok(())
}

/// A topic that is to be made.
struct New<'a> {
    topic: &'a str,
    partitions: u32,
    retention: Option<Duration>,
}

async fn create(
    admin: &AdminClient<Plain>,
    settings: &KafkaSettings,
    &New { topic, partitions, retention }: &New<'_>,
    brokers: usize,
) -> Result<(), SetupError> {
    let replication = replication(settings, brokers);
    let (min_in_sync, max_bytes) = (min_in_sync(settings, replication).to_string(), MAX_BYTES + 64 * 1024);
    let max_bytes = max_bytes.to_string();
    let retention = retention.map_or_else(|| "-1".to_owned(), |retention| retention.as_millis().to_string());
    let new =
        NewTopic::new(topic, partitions.cast_signed(), TopicReplication::Fixed(replication.cast_signed()))
            .set("min.insync.replicas", &min_in_sync)
            .set("max.message.bytes", &max_bytes)
            .set("retention.ms", &retention)
            .set("retention.bytes", "-1")
            // Retention by the brokers' clock: with ours wrong, entries would be refused, or deleted at once.
            .set("message.timestamp.type", "LogAppendTime")
            .set("cleanup.policy", "delete")
            .set("unclean.leader.election.enable", "false");
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let failed = |error: String| SetupError::Topic { topic: topic.to_owned(), brokers, error };
    let made = admin.create_topics([&new], &options).await.map_err(|error| failed(error.to_string()))?;
    for outcome in made {
        match outcome {
            // Two processes may start at the same time.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed(code.to_string())),
        }
    }
    tracing::info!(topic, partitions, replication, min_in_sync, "topic made");
    if replication < 3 && topic == settings.batches() {
        tracing::warn!(
            topic,
            replication,
            "with fewer than three copies, losing a broker's disk can lose what vehicles have forgotten"
        );
    }
    Ok(())
}

fn replication(settings: &KafkaSettings, brokers: usize) -> u32 {
    settings.replication.unwrap_or_else(|| u32::try_from(brokers.clamp(1, 3)).unwrap_or(1))
}

/// Copies that must have an entry, as topics of ours are made.
pub(super) fn min_in_sync(settings: &KafkaSettings, replication: u32) -> u32 {
    settings.min_in_sync.unwrap_or_else(|| replication.saturating_sub(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_follow_the_number_of_brokers_and_one_may_be_away() {
        let settings = KafkaSettings::default();
        let chosen = |brokers| {
            let replication = replication(&settings, brokers);
            (replication, min_in_sync(&settings, replication))
        };
        assert_eq!([chosen(1), chosen(2), chosen(3), chosen(9)], [(1, 1), (2, 1), (3, 2), (3, 2)]);
        let told = KafkaSettings { replication: Some(5), min_in_sync: Some(3), ..settings };
        assert_eq!((replication(&told, 3), min_in_sync(&told, 5)), (5, 3));
    }
}
