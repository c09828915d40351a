//! What the cloud publishes on Kafka (`proto/avl/v1/records.proto`), for everybody who reads it.

pub use crate::link::message::{Doubt, Event, FixMode, Position, Quality};
