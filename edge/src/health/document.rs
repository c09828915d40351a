//! The one document that the status socket gives: everything the agent knows about itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::log::Log;
use super::{Board, ProcessFacts};
use crate::buffer::{FlashView, Status};
use crate::run::uptime_ms;

/// Raised when a field changes its meaning; new fields alone do not raise it. `docs/edge.md` describes the document.
pub const DOCUMENT_VERSION: u32 = 1;

/// What is known when the agent starts and does not change.
#[derive(Debug)]
struct Fixed {
    state_dir: PathBuf,
    started: Instant,
}

/// Where the document's parts come from. Clones report the same.
#[derive(Clone, Debug)]
pub struct Report {
    board: Board,
    buffer: watch::Receiver<Status>,
    log: Log,
    fixed: Arc<Fixed>,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    /// UTC milliseconds by the gateway's clock, which may be wrong: ages are to be taken against this.
    taken_at_ms: i64,
    agent: AgentRow<'a>,
    buffer: BufferRow,
    #[serde(flatten)]
    board: &'a Board,
}

#[derive(Serialize)]
struct AgentRow<'a> {
    version: &'static str,
    /// `None` while this gateway is not enrolled.
    vehicle: Option<String>,
    state_dir: &'a PathBuf,
    uptime_s: u64,
    gateway_uptime_ms: Option<u64>,
    #[serde(flatten)]
    process: ProcessFacts,
}

#[derive(Serialize)]
struct BufferRow {
    epoch: String,
    next_sequence: u64,
    /// Fixes that the cloud has not acknowledged.
    waiting: u64,
    bytes: u64,
    /// Given up and not yet acknowledged as such, by reason.
    lost: Vec<LostRow>,
    flash: FlashView,
}

#[derive(Serialize)]
struct LostRow {
    reason: &'static str,
    fixes: u64,
}

impl Report {
    #[must_use]
    pub fn new(board: Board, buffer: watch::Receiver<Status>, log: Log, state_dir: PathBuf) -> Self {
        let fixed = Fixed { state_dir, started: Instant::now() };
        Self { board, buffer, log, fixed: Arc::new(fixed) }
    }

    #[must_use]
    pub const fn board(&self) -> &Board {
        &self.board
    }

    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Fixes that the cloud has not acknowledged.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.buffer.borrow().held.count()
    }

    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.fixed.state_dir
    }

    /// The document as it is now, in one line of JSON.
    #[must_use]
    pub fn document(&self) -> String {
        let document = Document {
            version: DOCUMENT_VERSION,
            taken_at_ms: Utc::now().timestamp_millis(),
            agent: AgentRow {
                version: env!("CARGO_PKG_VERSION"),
                vehicle: self.board.identity.read().vehicle,
                state_dir: &self.fixed.state_dir,
                uptime_s: self.fixed.started.elapsed().as_secs(),
                gateway_uptime_ms: uptime_ms(),
                process: ProcessFacts::read(),
            },
            buffer: BufferRow::from(&*self.buffer.borrow()),
            board: &self.board,
        };
        serde_json::to_string(&document)
            .unwrap_or_else(|error| format!("{{\"version\":{DOCUMENT_VERSION},\"error\":\"{error}\"}}"))
    }
}

impl From<&Status> for BufferRow {
    fn from(status: &Status) -> Self {
        Self {
            epoch: status.epoch.to_string(),
            next_sequence: status.next_sequence,
            waiting: status.held.count(),
            bytes: status.bytes,
            lost: status
                .lost
                .sets()
                .iter()
                .map(|(reason, set)| LostRow { reason: reason.name(), fixes: set.count() })
                .collect(),
            flash: status.flash.clone(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::buffer::Losses;
    use avl_shared::link::LossReason;
    use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};

    fn set(first: u64, last: u64) -> RangeSet {
        SequenceRange::new(first, last).into_iter().collect()
    }

    pub(crate) fn status() -> Status {
        let mut lost = Losses::default();
        lost.insert(LossReason::BufferFull, &set(0, 9));
        Status {
            epoch: Epoch(7),
            next_sequence: 100,
            held: set(40, 99),
            lost,
            bytes: 1234,
            flash: FlashView::default(),
        }
    }

    pub(crate) fn report(board: &Board) -> Report {
        let (_, buffer) = watch::channel(status());
        Report::new(board.clone(), buffer, Log::default(), "/var/lib/avl-edge".into())
    }

    #[tokio::test]
    async fn the_document_has_every_part_under_its_name() {
        let board = Board::default();
        board.link.update(|link| link.connections = 2);
        board.identity.update(|identity| identity.vehicle = Some("test/v-1".to_owned()));
        let document: serde_json::Value = serde_json::from_str(&report(&board).document()).unwrap();
        assert_eq!(document["version"], DOCUMENT_VERSION);
        assert_eq!(document["agent"]["vehicle"], "test/v-1");
        assert!(document["agent"]["rss_bytes"].as_u64().unwrap() > 0);
        assert_eq!(document["buffer"]["waiting"], 60);
        assert_eq!(document["buffer"]["lost"][0], serde_json::json!({"reason": "buffer_full", "fixes": 10}));
        assert_eq!(document["link"]["connections"], 2);
        assert_eq!(document["receiver"]["state"]["state"], "starting");
    }
}
