//! What a source needs of the agent around it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use avl_shared::fix::UtcMillis;

/// Says what time it is, where something knows it that can be trusted to the day.
pub type TrustedUtc = Arc<dyn Fn() -> Option<UtcMillis> + Send + Sync>;

#[derive(Clone, Default)]
pub struct Surroundings {
    /// Where the rate of a serial line is remembered.
    pub state_dir: Option<PathBuf>,
    /// For receivers that print a time of day but no date.
    pub trusted_utc: Option<TrustedUtc>,
}

impl Surroundings {
    pub(super) fn trusted_utc(&self) -> Option<UtcMillis> {
        self.trusted_utc.as_ref().and_then(|now| now())
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Surroundings").field("state_dir", &self.state_dir).finish_non_exhaustive()
    }
}
