//! What the source and its receiver show of themselves.

use serde::Serialize;

use crate::fix_json::FixRow;
use crate::receiver::Counts;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReceiverView {
    /// The device, address or log that is read.
    pub from: String,
    pub state: SourceState,
    /// Bits per second, where there is a line.
    pub baud: Option<u32>,
    pub counts: Counts,
    pub last_fix: Option<FixRow>,
    /// Milliseconds since the gateway booted when `last_fix` came.
    pub last_fix_uptime_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SourceState {
    #[default]
    Starting,
    /// Open, and sentences arrive.
    Reading,
    /// Open, but nothing usable arrives.
    Silent,
    /// It cannot be opened, or was unplugged; tried again.
    Absent { cause: String },
    /// A log that was read to its end.
    Over,
}
