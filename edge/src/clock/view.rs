//! What the clock shows of itself.

use serde::Serialize;

use super::Source;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClockView {
    pub source: Source,
    /// UTC when this was written, as far as it is known.
    pub utc_ms: Option<i64>,
    /// The system clock minus the better time; `None` when nothing better is known.
    pub system_offset_ms: Option<i64>,
    /// The cloud's clock minus ours, when it was last heard.
    pub cloud_offset_ms: Option<i64>,
    /// Whether certificates are judged by an exact time.
    pub trusted: bool,
    /// Fixes whose time was not believed.
    pub doubted_fixes: u64,
    /// Why the system clock could not be set.
    pub trouble: Option<String>,
}
