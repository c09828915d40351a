//! What all our clients of Kafka have in common.

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::KafkaSettings;
use crate::journal::JournalError;

/// Properties that the journal's promises rest on, or that are given elsewhere.
const OURS: [&str; 13] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "group.id",
    "message.timeout.ms",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
    "transactional.id",
];

/// A Kafka that cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("no Kafka is named: set kafka.bootstrap, or give --kafka HOST:PORT")]
    NoBootstrap,
    #[error(
        "kafka.client may not set {0:?}: what vehicles are promised rests on it, or another key of [kafka] says it"
    )]
    Reserved(String),
    #[error("Kafka's client does not start: {0}; check [kafka.client]")]
    Client(KafkaError),
    #[error(
        "Kafka at {bootstrap} does not answer: {error}; check that a broker runs there, and [kafka.client] for TLS and \
         passwords"
    )]
    Unreachable { bootstrap: String, error: KafkaError },
    #[error(
        "topic {topic} cannot be made: {error}; check the rights of this user, and kafka.replication against the number \
         of brokers ({brokers})"
    )]
    Topic { topic: String, brokers: usize, error: String },
    #[error(
        "topic {topic} has {found} partitions and {batches} has {wanted}: a vehicle's messages would not lie in the partition \
         of its batches. Make {topic} anew with {wanted} partitions, or delete it and let avl-cloud make it"
    )]
    Partitions { topic: String, found: usize, batches: String, wanted: usize },
}

impl SetupError {
    /// Whether it may be gone after a while: brokers that are being started.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Logs of the C library become ours.
pub(super) struct Plain;

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Emerg, Error, Notice, Warning};
    match level {
        Emerg | Alert | Critical => tracing::error!(facility, "kafka: {message}"),
        // A broker that is away is said each second, and again as an error of what it keeps us from.
        Error | Warning | Notice => tracing::debug!(facility, "kafka: {message}"),
        _ => tracing::trace!(facility, "kafka: {message}"),
    }
}

/// Ours over the operator's over librdkafka's.
pub(super) fn configure(settings: &KafkaSettings, ours: &[(&str, &str)]) -> Result<ClientConfig, SetupError> {
    let bootstrap = settings.bootstrap.as_deref().ok_or(SetupError::NoBootstrap)?;
    if let Some(reserved) = settings.client.keys().find(|key| OURS.contains(&key.as_str())) {
        return Err(SetupError::Reserved(reserved.clone()));
    }
    let mut config = ClientConfig::new();
    config
        .set("client.id", format!("avl-cloud-{}", std::process::id()))
        .set("socket.keepalive.enable", "true")
        // A broker that comes back is found within seconds.
        .set("reconnect.backoff.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Notice);
    for (key, value) in &settings.client {
        config.set(key, value);
    }
    for (key, value) in ours {
        config.set(*key, *value);
    }
    config.set("bootstrap.servers", bootstrap);
    Ok(config)
}

pub(super) fn unavailable(error: &KafkaError) -> JournalError {
    JournalError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_promises_rest_on_cannot_be_changed() {
        let mut settings = KafkaSettings::default();
        assert!(matches!(configure(&settings, &[]), Err(SetupError::NoBootstrap)));
        settings.bootstrap = Some("127.0.0.1:9".to_owned());
        settings.client.insert("security.protocol".to_owned(), "ssl".to_owned());
        let config = configure(&settings, &[("acks", "all")]).unwrap();
        assert_eq!((config.get("security.protocol"), config.get("acks")), (Some("ssl"), Some("all")));
        settings.client.insert("acks".to_owned(), "1".to_owned());
        let error = configure(&settings, &[]).unwrap_err().to_string();
        assert!(error.contains("\"acks\""), "{error}");
    }
}
