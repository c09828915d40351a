//! One view for each part of the agent, kept up to date by that part.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::clock::ClockView;
use crate::identity::IdentityView;
use crate::policy::ReportView;
use crate::sensors::SensorsView;
use crate::source::ReceiverView;
use crate::uplink::LinkView;

/// Clones share the same views.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Board {
    pub receiver: View<ReceiverView>,
    pub link: View<LinkView>,
    pub clock: View<ClockView>,
    pub identity: View<IdentityView>,
    pub sensors: View<SensorsView>,
    pub report: View<ReportView>,
}

/// What one part says about itself. The part calls [`View::update`]; anybody reads.
#[derive(Clone, Debug)]
pub struct View<T>(Arc<watch::Sender<T>>);

impl<T: Default> Default for View<T> {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(T::default())))
    }
}

impl<T: Clone + Serialize> View<T> {
    /// Changes the view in place and wakes its watchers.
    pub fn update(&self, change: impl FnOnce(&mut T)) {
        self.0.send_modify(change);
    }

    /// A copy of what the part said last.
    #[must_use]
    pub fn read(&self) -> T {
        self.0.borrow().clone()
    }

    /// Word of every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<T> {
        self.0.subscribe()
    }
}

/// What the part said last.
impl<T: Serialize> Serialize for View<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.borrow().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_board_show_the_same() {
        let board = Board::default();
        let other = board.clone();
        board.link.update(|link| link.connections = 3);
        assert_eq!(other.link.read().connections, 3);
    }
}
