//! What the buffer shows of its store and of the flash under it.

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FlashView {
    pub store: StoreState,
    /// Fixes in memory that the flash did not take yet: not durable, and not sent.
    pub waiting_fixes: u64,
    /// Fixes that memory had no room for while the flash took none: declared lost as soon as it does.
    pub dropped_fixes: u64,
    /// What the store takes on flash, which is more than the blocks in it.
    pub taken_bytes: u64,
    /// What the file system has left.
    pub free_bytes: Option<u64>,
    /// Less is free than there should be: the buffer does not grow.
    pub free_is_low: bool,
    /// What the agent writes to flash in a day, by what was seen so far.
    pub written_bytes_per_day: Option<u64>,
    /// How long the flash lasts like that, where its endurance is configured.
    pub life_years: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StoreState {
    #[default]
    Open,
    /// The flash takes no writes, or cannot be read: fixes wait in memory, and opening is tried again.
    Away { cause: String, since_ms: i64 },
    /// As [`StoreState::Away`], since the agent started: not even the epoch is known.
    Unopened { cause: String, since_ms: i64 },
}

impl StoreState {
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}
