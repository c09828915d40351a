//! What control asks of the agent's other parts.

use std::future::Future;

use avl_shared::fix::UtcMillis;

use crate::FixRow;

/// The newest fix, and whether it is on its way.
#[derive(Clone, Debug)]
pub struct Located {
    pub fix: FixRow,
    /// Since it came from the receiver.
    pub age_ms: u64,
    /// Every fix with a number below it is on flash and goes at once.
    pub below: u64,
}

/// Carried out by whoever decides about fixes.
pub trait Hands: Send + Sync + 'static {
    /// Makes the newest fix durable and has it sent at once. `None` while the receiver has given none.
    fn locate(&self) -> impl Future<Output = Result<Option<Located>, String>> + Send;

    /// Has what was recorded in `from..to` and withheld uploaded; returns how many fixes that is.
    fn recall(&self, from: UtcMillis, to: UtcMillis) -> impl Future<Output = Result<u64, String>> + Send;
}
