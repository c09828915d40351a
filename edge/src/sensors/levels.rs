//! The levels of all lines at one moment, and the count of wheel pulses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The ignition's bit in [`avl_shared::fix::Fix::inputs`].
pub const IGNITION: u16 = 1;
/// Bits 1 to 15.
pub(super) const MAX_INPUTS: usize = 15;

/// Bit by bit what is on; `None` while nobody knows, because the chip is not there.
pub type Levels = Option<u16>;

/// Wheel pulses since the agent started. A count instead of events: a truck gives hundreds a second.
#[derive(Clone, Debug, Default)]
pub struct Pulses(Arc<AtomicU64>);

impl Pulses {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
