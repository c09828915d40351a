//! The journal on Apache Kafka: the topic `avl.batches`.
//!
//! An entry is answered when all in-sync replicas have it (`acks=all`, idempotent producer, so that a repetition by
//! the client neither doubles nor reorders). What waits for the brokers is bounded in bytes, and room is given back
//! when Kafka has answered, not when the caller has lost interest. Readers never use the offsets that Kafka could
//! keep for the group: the store has them.
//!
//! A vehicle's partition is Java's: murmur2 of the key `fleet/vehicle`, so other producers and Flink agree.

mod settings;

#[cfg(feature = "kafka")]
mod archive;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod group;
#[cfg(feature = "kafka")]
mod live;
#[cfg(feature = "kafka")]
mod outlet;
#[cfg(feature = "kafka")]
mod probe;
#[cfg(feature = "kafka")]
mod producer;
#[cfg(feature = "kafka")]
mod reader;
#[cfg(feature = "kafka")]
mod record;
#[cfg(feature = "kafka")]
mod renewable;
#[cfg(feature = "kafka")]
mod topics;

pub use settings::{Compression, KafkaSettings};

#[cfg(feature = "kafka")]
pub use {
    archive::KafkaArchive, client::SetupError, group::subscribe, live::follow_positions, outlet::KafkaOutlet,
    probe::KafkaProbe, producer::KafkaJournal, topics::prepare,
};
