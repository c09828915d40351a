//! The policy as the configuration wants it, with what is left on flash from before.

use tokio::sync::{mpsc, watch};

use super::engine::EngineSettings;
use super::history::{History, HistoryHandle};
use super::meter::Meter;
use super::profile::Profile;
use super::report_now::{Ask, ReportNow};
use super::run::Parts;
use crate::buffer::Buffer;
use crate::config::Config;
use crate::health::Board;
use crate::sensors::Pulses;
use crate::uplink::Pace;

/// What is left on flash from before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remembered {
    /// The largest odometer total among recorded fixes.
    pub odometer_m: Option<u64>,
    /// The source goes on in the middle, and repeats what came behind its last kept fix.
    pub resumed: bool,
}

/// For whoever carries out what the cloud asks for.
#[derive(Clone)]
pub struct Handles {
    pub report_now: ReportNow,
    pub history: HistoryHandle,
}

pub struct Assembled {
    pub parts: Parts,
    pub handles: Handles,
    pub asks: mpsc::Receiver<Ask>,
    pub pace: watch::Receiver<Pace>,
    /// For the sensors to count on.
    pub pulses: Pulses,
}

/// A history that cannot be opened is reported and done without: it must not keep a vehicle from reporting.
#[must_use]
pub fn assemble(config: &Config, remembered: Remembered, buffer: &Buffer, board: &Board) -> Assembled {
    let (report, moving_latency) = (config.report.clone(), config.uplink.latency);
    let terms = report.terms(Profile::Moving, moving_latency);
    let pace = Pace { latency: terms.latency, stay_connected: terms.stay_connected, urgent_below: 0 };
    let (pace, follow) = watch::channel(pace);
    let (report_now, asks) = ReportNow::channel();
    let pulses = Pulses::default();
    let meter = config.sensors.odometer.as_ref().map(|odometer| {
        Meter::open(odometer, &config.state_dir, remembered.odometer_m, remembered.resumed, pulses.clone())
    });
    let history = open_history(config, remembered);
    let handle = history.as_ref().map_or_else(HistoryHandle::off, |history| history.handle(buffer));
    let engine = EngineSettings {
        report,
        moving_latency,
        at_once_bits: config.sensors.at_once_bits(),
        ignition_wired: config.sensors.ignition.is_some(),
    };
    let parts =
        Parts { engine, meter, history, pace, report: board.report.clone(), sensors: board.sensors.clone() };
    Assembled { parts, handles: Handles { report_now, history: handle }, asks, pace: follow, pulses }
}

fn open_history(config: &Config, remembered: Remembered) -> Option<History> {
    let (max_bytes, state_dir) = (config.history.max_bytes.0, &config.state_dir);
    // A vehicle that keeps everything needs no files for what it holds back, unless it has some from before.
    let wanted = config.report.holds_back() || state_dir.join("history").exists();
    if max_bytes == 0 || !wanted {
        return None;
    }
    History::open(state_dir, max_bytes, config.history.durability, remembered.resumed)
        .inspect_err(|error| tracing::error!("no history is kept for recall: {error}"))
        .ok()
}
