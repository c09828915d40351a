//! The status document as its readers see it.
//!
//! A tool may be older or newer than the agent that it asks: what it does not know it skips, what it misses has a
//! default. So these types repeat the views' field names, and a test holds the two together.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Fields are as in the views that write them; see there for their meaning.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Seen {
    pub version: u32,
    pub taken_at_ms: i64,
    pub agent: SeenAgent,
    pub receiver: SeenReceiver,
    pub buffer: SeenBuffer,
    pub link: SeenLink,
    pub clock: SeenClock,
    pub identity: SeenIdentity,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SeenAgent {
    pub version: String,
    pub vehicle: Option<String>,
    pub pid: u32,
    pub uptime_s: u64,
    pub gateway_uptime_ms: Option<u64>,
    pub rss_bytes: Option<u64>,
    pub cpu_s: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SeenReceiver {
    pub from: String,
    pub state: SeenState,
    pub baud: Option<u32>,
    pub counts: SeenCounts,
    pub doubted: BTreeMap<String, u64>,
    pub sky: Vec<SeenSatellite>,
    pub extras: SeenExtras,
    pub antenna: Option<String>,
    pub last_fix: Option<SeenFix>,
    pub last_fix_uptime_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SeenState {
    pub state: String,
    pub cause: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SeenCounts {
    pub sentences: u64,
    pub bad_checksums: u64,
    pub unknown: u64,
    pub garbage_bytes: u64,
    pub fixes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SeenFix {
    pub time: Option<String>,
    pub lat: Option<f64>,
    pub lon: Option<f64>,
    pub alt_m: Option<f64>,
    pub speed_mps: Option<f64>,
    pub course_deg: Option<f64>,
    pub hdop: Option<f64>,
    pub satellites: Option<u8>,
    pub quality: String,
    pub verdict: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SeenBuffer {
    pub epoch: String,
    pub next_sequence: u64,
    pub waiting: u64,
    pub bytes: u64,
    pub lost: Vec<SeenLost>,
    pub flash: SeenFlash,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SeenFlash {
    pub store: SeenState,
    pub waiting_fixes: u64,
    pub dropped_fixes: u64,
    pub taken_bytes: u64,
    pub free_bytes: Option<u64>,
    pub free_is_low: bool,
    pub written_bytes_per_day: Option<u64>,
    pub life_years: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SeenLost {
    pub reason: String,
    pub fixes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SeenLink {
    pub state: String,
    pub transport: Option<String>,
    pub since_ms: Option<i64>,
    pub last_ack_ms: Option<i64>,
    pub trouble: Option<String>,
    pub connections: u64,
    pub interface: Option<String>,
    pub roaming: bool,
    pub bytes_out: u64,
    pub bytes_in: u64,
    pub fixes_sent: u64,
    pub bytes_per_fix: Option<f64>,
    pub backlog_unsent: u64,
    pub budget_used: u64,
    pub budget_per_month: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SeenSatellite {
    pub constellation: String,
    pub number: u16,
    pub elevation_deg: Option<i8>,
    pub azimuth_deg: Option<u16>,
    pub cn0_dbhz: Option<u8>,
    pub used: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SeenExtras {
    pub mode: Option<String>,
    pub pdop: Option<f64>,
    pub vdop: Option<f64>,
    pub satellites_in_view: Option<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SeenClock {
    pub source: String,
    pub utc_ms: Option<i64>,
    pub system_offset_ms: Option<i64>,
    pub cloud_offset_ms: Option<i64>,
    pub trusted: bool,
    pub doubted_fixes: u64,
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SeenIdentity {
    pub vehicle: Option<String>,
    pub not_before: Option<i64>,
    pub not_after: Option<i64>,
    pub last_error: Option<String>,
}

impl Seen {
    /// # Errors
    /// When it is not JSON, or a known field has another type.
    pub fn read(document: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(document)
    }

    /// Milliseconds from `then`, a UTC time of the same gateway's clock, to when the document was taken.
    #[must_use]
    pub fn age_ms(&self, then: i64) -> u64 {
        u64::try_from(self.taken_at_ms.saturating_sub(then)).unwrap_or(0)
    }

    /// Milliseconds since the last fix, with a position or without.
    #[must_use]
    pub fn fix_age_ms(&self) -> Option<u64> {
        Some(self.agent.gateway_uptime_ms?.saturating_sub(self.receiver.last_fix_uptime_ms?))
    }
}

impl SeenReceiver {
    /// As a reader of the document would see this view.
    #[must_use]
    pub fn of(view: &crate::source::ReceiverView) -> Self {
        serde_json::to_value(view).and_then(serde_json::from_value).unwrap_or_default()
    }
}

impl SeenFix {
    /// Degrees.
    #[must_use]
    pub fn position(&self) -> Option<(f64, f64)> {
        self.lat.zip(self.lon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Board;
    use crate::health::document::tests::report;
    use crate::source::SourceState;
    use crate::uplink::LinkState;

    #[test]
    fn what_the_views_write_is_what_readers_see() {
        let board = Board::default();
        board.receiver.update(|view| {
            view.from = "/dev/ttyACM0".to_owned();
            view.state = SourceState::Absent { cause: "unplugged".to_owned() };
            view.baud = Some(9600);
            view.counts.sentences = 11;
            view.counts.bad_checksums = 2;
            view.counts.fixes = 3;
            view.doubted.insert("no_fix", 2);
            view.last_fix =
                Some((&avl_shared::fix::Fix { satellites: Some(7), ..Default::default() }).into());
            view.last_fix_uptime_ms = Some(5);
        });
        board.identity.update(|view| (view.vehicle, view.not_after) = (Some("test/v-1".to_owned()), Some(9)));
        board.clock.update(|view| view.system_offset_ms = Some(-3));
        board.link.update(|view| {
            view.state = LinkState::Connected;
            view.since_ms = Some(6);
            view.last_ack_ms = Some(7);
            view.trouble = Some("no answer".to_owned());
            view.connections = 8;
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let seen = runtime.block_on(async { Seen::read(report(&board).document().as_bytes()) }).unwrap();
        assert_eq!(seen.version, crate::health::DOCUMENT_VERSION);
        assert_eq!(seen.agent.vehicle.as_deref(), Some("test/v-1"));
        assert!(seen.agent.rss_bytes.is_some());
        assert_eq!((seen.receiver.from.as_str(), seen.receiver.baud), ("/dev/ttyACM0", Some(9600)));
        assert_eq!(
            seen.receiver.state,
            SeenState { state: "absent".into(), cause: Some("unplugged".into()) }
        );
        assert_eq!((seen.receiver.counts.sentences, seen.receiver.counts.fixes), (11, 3));
        assert_eq!(seen.receiver.doubted["no_fix"], 2);
        let fix = seen.receiver.last_fix.unwrap();
        assert_eq!((fix.satellites, fix.quality.as_str()), (Some(7), "no_fix"));
        assert_eq!((seen.buffer.waiting, seen.buffer.bytes, seen.buffer.lost[0].fixes), (60, 1234, 10));
        assert_eq!((seen.identity.not_after, seen.clock.system_offset_ms), (Some(9), Some(-3)));
        assert_eq!(seen.buffer.flash.store.state, "open");
        assert_eq!((seen.link.state.as_str(), seen.link.connections), ("connected", 8));
        assert_eq!((seen.link.since_ms, seen.link.last_ack_ms), (Some(6), Some(7)));
        assert_eq!(seen.link.trouble.as_deref(), Some("no answer"));
    }

    #[test]
    fn a_document_of_another_version_is_read_as_far_as_it_goes() {
        let seen =
            Seen::read(br#"{"version":9,"link":{"state":"asleep","mood":"good"},"sensors":{}}"#).unwrap();
        assert_eq!((seen.version, seen.link.state.as_str()), (9, "asleep"));
        assert_eq!(seen.buffer, SeenBuffer::default());
    }
}
