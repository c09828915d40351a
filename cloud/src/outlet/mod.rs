//! What leaves the cloud for others to read: positions, events, and what nobody could understand.
//!
//! An [`Outlet`] takes messages for one partition of a stream in their order, and answers when they are durable. It never
//! leaves one out and delivers those behind it: after an error everything from the first unanswered message on has to be
//! published again. So readers see each message at least once, and the first copies of all of them in order.

mod position;
mod reject;

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;

use crate::journal::Partition;

pub use position::{position_message, position_of};
pub use reject::{Reject, reject_message};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// `avl.v1.Position`, one a fix.
    Positions,
    /// `avl.v1.Event`: what happened to vehicles.
    Events,
    /// What could not be decoded, as it came.
    Rejects,
}

impl Stream {
    /// What the topic's name ends with.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Positions => "positions",
            Self::Events => "events",
            Self::Rejects => "rejects",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `fleet/vehicle`, where it is known.
    pub key: Option<Bytes>,
    pub headers: Vec<(&'static str, String)>,
    pub value: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutletError {
    #[error(
        "what was stored cannot be published ({0}): it is tried again; check the brokers, and this user's rights on the topic"
    )]
    Unavailable(String),
    #[error("closed: the server is shutting down")]
    Closed,
}

/// Resolves when all messages of a call are durable. Dropping it takes nothing back.
pub type Receipt = Pin<Box<dyn Future<Output = Result<(), OutletError>> + Send>>;

#[async_trait]
pub trait Outlet: Send + Sync + 'static {
    /// The log that the processor follows, for those who look an entry up.
    fn source(&self) -> &str;

    /// Whether anybody wants this stream: what is not carried need not be made.
    fn carries(&self, stream: Stream) -> bool;

    /// Waits for room, then takes the messages. Without a partition the key decides which one.
    async fn publish(
        &self,
        stream: Stream,
        partition: Option<Partition>,
        messages: Vec<Message>,
    ) -> Result<Receipt, OutletError>;
}
