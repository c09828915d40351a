//! Who follows which partitions, when several processes share the work.

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{JournalError, Partition, PartitionReader};

/// What a [`Subscription`] says.
pub enum Event {
    /// These partitions are ours from now on.
    Assigned(Vec<Box<dyn PartitionReader>>),
    /// These are ours no longer. The next owner gets them when `released` is dropped, or when its patience ends: stop
    /// working on them first. What is committed later all the same is refused by the store.
    Revoked { partitions: Vec<Partition>, released: oneshot::Sender<()> },
}

/// A share in following the journal. Dropping it gives all partitions back.
#[async_trait]
pub trait Subscription: Send {
    /// Waits for the next change. Trouble that may pass is waited out; an error is final.
    async fn next(&mut self) -> Result<Event, JournalError>;
}

/// The subscription of a process that is alone: everything, for ever.
pub struct Permanent(Option<Vec<Box<dyn PartitionReader>>>);

impl Permanent {
    #[must_use]
    pub fn new(readers: Vec<Box<dyn PartitionReader>>) -> Self {
        Self(Some(readers))
    }
}

#[async_trait]
impl Subscription for Permanent {
    async fn next(&mut self) -> Result<Event, JournalError> {
        match self.0.take() {
            Some(readers) => Ok(Event::Assigned(readers)),
            None => std::future::pending().await,
        }
    }
}
