//! How the journal is kept on Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outlet::Stream;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Lz4,
    #[default]
    Zstd,
}

impl Compression {
    #[cfg_attr(not(feature = "kafka"), allow(dead_code))]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// `HOST:PORT[,HOST:PORT…]`; without it the journal is the embedded one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<String>,
    /// What the names of all topics begin with: `avl.batches`.
    pub prefix: String,
    /// The consumer group of the processes that share the work.
    pub group: String,
    /// Of `avl.batches`, when it is made. It cannot be changed later: vehicles would change their partition.
    pub partitions: u32,
    /// Copies of each entry, when topics are made; three, or as many as there are brokers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<u32>,
    /// Copies that must be written before a vehicle may forget; `replication` less one, and one at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_in_sync: Option<u32>,
    /// How long entries are kept, when topics are made; for ever without it.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// Whether each fix is published as well, on `avl.positions`.
    pub positions: bool,
    /// How long what is published is kept, when its topics are made. It can be derived again from `avl.batches`.
    #[serde(with = "humantime_serde")]
    pub published_retention: Duration,
    /// How long an entry may wait for the brokers before its vehicle is sent away to try again.
    #[serde(with = "humantime_serde")]
    pub delivery_timeout: Duration,
    pub compression: Compression,
    /// Further properties of librdkafka, such as `security.protocol`.
    pub client: BTreeMap<String, String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap: None,
            prefix: "avl".to_owned(),
            group: "avl-process".to_owned(),
            partitions: 12,
            replication: None,
            min_in_sync: None,
            retention: None,
            positions: true,
            published_retention: Duration::from_secs(7 * 24 * 60 * 60),
            delivery_timeout: Duration::from_secs(60),
            compression: Compression::default(),
            client: BTreeMap::new(),
        }
    }
}

#[cfg_attr(not(feature = "kafka"), allow(dead_code))]
impl KafkaSettings {
    pub(crate) fn batches(&self) -> String {
        format!("{}.batches", self.prefix)
    }

    pub(crate) fn topic(&self, stream: Stream) -> String {
        format!("{}.{}", self.prefix, stream.name())
    }
}
