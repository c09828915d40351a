//! The clock's chores: listen to fixes, show itself, remember the lower bound, set the system clock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use super::{Clock, ClockConfig, ClockView, Source};
use crate::health::View;
use crate::source::Observed;

/// How often the view is brought up to date: what people look at, and cheap.
const SHOW_EVERY: Duration = Duration::from_secs(2);
/// The lower bound on flash is at most this old: 24 small writes a day.
const REMEMBER_EVERY: Duration = Duration::from_secs(60 * 60);
/// The system clock is set when it is off by more than a receiver's own delay, and not more often than a clock drifts.
const SET_WHEN_OFF_MS: u64 = 2_000;
const SET_EVERY: Duration = Duration::from_secs(10 * 60);

/// Passes fixes on and lets the clock see those of a live receiver. Ends when either side does.
pub async fn tap(clock: &Clock, live: bool, mut from: mpsc::Receiver<Observed>, to: mpsc::Sender<Observed>) {
    while let Some(observed) = from.recv().await {
        if live {
            clock.observe(&observed.fix);
        }
        if to.send(observed).await.is_err() {
            return;
        }
    }
}

/// Runs until it is dropped.
pub async fn keep(clock: Clock, config: ClockConfig, state_dir: &Path, view: View<ClockView>) {
    let file = state_dir.join("clock");
    if let Some(remembered) = read(&file) {
        clock.not_before(remembered);
    }
    let mut ticks = interval(SHOW_EVERY);
    let (mut remembered_at, mut set_at, mut trouble) = (None::<Instant>, None::<Instant>, None);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        if config.set_system
            && set_at.is_none_or(|at| now - at >= SET_EVERY)
            && let Some(outcome) = set_system(&clock)
        {
            set_at = Some(now);
            trouble = outcome.err();
        }
        if remembered_at.is_none_or(|at| now - at >= REMEMBER_EVERY)
            && let Some(floor_ms) = clock.confirmed()
        {
            remembered_at = Some(now);
            remember(&file, floor_ms).await;
        }
        let shown = clock.view(trouble.clone());
        if shown != view.read() {
            view.update(|view| *view = shown);
        }
    }
}

impl Clock {
    /// The lower bound, once the cloud has said something in this run.
    fn confirmed(&self) -> Option<UtcMillis> {
        let state = self.state();
        state.cloud.map(|_| state.floor_ms)
    }

    pub(super) fn view(&self, trouble: Option<String>) -> ClockView {
        let reading = self.reading();
        let system_offset_ms = self.offset_of_system();
        let state = self.state();
        ClockView {
            source: reading.map_or(Source::Unknown, |reading| reading.source),
            utc_ms: reading.map(|reading| reading.utc_ms),
            system_offset_ms,
            cloud_offset_ms: state.cloud_offset_ms,
            trusted: reading.is_some_and(|reading| reading.source.is_exact()),
            doubted_fixes: state.doubted,
            trouble,
        }
    }
}

/// `None` when there is nothing to set.
fn set_system(clock: &Clock) -> Option<Result<(), String>> {
    let reading = clock.reading().filter(|reading| reading.source == Source::Gnss)?;
    let off_ms = clock.system().abs_diff(reading.utc_ms);
    if off_ms <= SET_WHEN_OFF_MS {
        return None;
    }
    let outcome = clock.shared.hands.set_system(reading.utc_ms).map_err(|cause| {
        format!(
            "cannot set the system clock: {cause}: give the agent CAP_SYS_TIME (AmbientCapabilities=CAP_SYS_TIME in its unit), or clock.set_system = false"
        )
    });
    match &outcome {
        Ok(()) => tracing::info!(off_ms, "system clock set by the receiver"),
        Err(trouble) => tracing::warn!("{trouble}"),
    }
    Some(outcome)
}

fn read(file: &Path) -> Option<UtcMillis> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Best effort: without it a gateway that never knows the time believes a certificate longer than it should.
async fn remember(file: &Path, floor_ms: UtcMillis) {
    let file: PathBuf = file.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        let beside = file.with_extension("new");
        std::fs::write(&beside, format!("{floor_ms}\n")).and_then(|()| std::fs::rename(&beside, &file))
    });
    if let Ok(Err(error)) = written.await {
        tracing::debug!(%error, "the time reached is not remembered");
    }
}
