//! What the policy shows of itself.

use serde::Serialize;

use super::history::HistoryView;
use super::profile::Profile;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReportView {
    pub profile: Profile,
    /// UTC, when it began.
    pub since_ms: Option<i64>,
    pub latency_ms: u64,
    pub stay_connected: bool,
    /// Since the agent started.
    pub kept: u64,
    pub withheld: u64,
    pub at_once: u64,
    /// Why something was last sent at once.
    pub last_at_once: Option<String>,
    /// `None` when no history is kept.
    pub history: Option<HistoryView>,
}
