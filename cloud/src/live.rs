//! The live feed: what the processor has just committed, for whoever is looking now.

use std::sync::Arc;

use avl_shared::identity::VehicleKey;
use tokio::sync::broadcast;

use crate::store::Position;

/// A viewer that lags further than this many updates is told so and catches up from the store.
const CAPACITY: usize = 4096;

/// The newest position of one vehicle, after a commit.
#[derive(Clone, Debug)]
pub struct LiveUpdate {
    pub vehicle: VehicleKey,
    pub position: Position,
}

/// Cloning shares the feed.
#[derive(Clone, Debug)]
pub struct LiveFeed {
    sender: broadcast::Sender<Arc<[LiveUpdate]>>,
}

impl Default for LiveFeed {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(CAPACITY) }
    }
}

impl LiveFeed {
    /// Never waits: with no viewer, or a slow one, the processor goes on.
    pub fn publish(&self, updates: Vec<LiveUpdate>) {
        if !updates.is_empty() {
            // An error means that nobody is looking.
            let _ = self.sender.send(updates.into());
        }
    }

    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<[LiveUpdate]>> {
        self.sender.subscribe()
    }
}
