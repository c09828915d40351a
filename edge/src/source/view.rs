//! What the source and its receiver show of themselves.

use std::collections::BTreeMap;

use avl_shared::fix::Verdict;
use serde::Serialize;

use crate::fix_json::FixRow;
use crate::receiver::{Antenna, Counts, Extras, SatelliteView};

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReceiverView {
    /// The device, address or log that is read.
    pub from: String,
    pub state: SourceState,
    /// Bits per second, where there is a line.
    pub baud: Option<u32>,
    pub counts: Counts,
    /// Fixes with a reason to doubt them, by its name; one may have several.
    pub doubted: BTreeMap<&'static str, u64>,
    /// The satellites as they were printed last; updated with each fix.
    pub sky: Vec<SatelliteView>,
    /// Mode, PDOP, VDOP and satellites in view beside `last_fix`, which has the HDOP and the satellites used.
    pub extras: Extras,
    /// `None` when the receiver does not watch its antenna, or does not print it.
    pub antenna: Option<Antenna>,
    pub last_fix: Option<FixRow>,
    /// Milliseconds since the gateway booted when `last_fix` came.
    pub last_fix_uptime_ms: Option<u64>,
}

impl ReceiverView {
    pub(super) fn doubt(&mut self, verdict: Verdict) {
        for reason in verdict.names() {
            *self.doubted.entry(reason).or_default() += 1;
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SourceState {
    #[default]
    Starting,
    /// Open, and sentences arrive.
    Reading,
    /// The line's rate is being looked for; `baud` of the view is the one that is tried.
    Probing,
    /// Open, but nothing usable arrives.
    Silent,
    /// It cannot be opened, or was unplugged; tried again.
    Absent { cause: String },
    /// A log that was read to its end.
    Over,
}
