//! What time it is, and who says so.
//!
//! GNSS time is authoritative: once [`gnss`] believes it, nothing else counts. Next is the system clock, where it is
//! plausible, and then the time that the cloud gave over an authenticated connection. A gateway that knows none of
//! them records on, and TLS waits; after [`ClockConfig::wait`] it goes ahead with a lower bound, which refuses a certificate
//! that has certainly expired and holds nothing else against it (`docs/decisions.md`).
//!
//! Promises: nothing here depends on the system clock having been set; the lower bound is raised only by evidence that
//! somebody signed (our build, our certificate, the cloud's word over TLS), so that a receiver that was deceived cannot
//! lock the gateway out; a disagreement is shown and logged, never silently settled.

mod config;
mod gnss;
mod hands;
mod keep;
mod reading;
mod view;

pub use config::ClockConfig;
pub use hands::{Hands, Kernel};
pub use keep::{keep, tap};
pub use reading::{Reading, Source, show};
pub use view::ClockView;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use avl_shared::fix::{Fix, Quality, UtcMillis, Verdict};
use avl_shared::tls::{Time, TrustedTime};
use tokio::sync::watch;

use gnss::{Anchor, GnssTime, Heard};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Midnight of the day on which this program was built.
pub const BUILT_MS: UtcMillis = parse_day(env!("AVL_BUILD_DAY")) * DAY_MS;
/// No agent runs this long after it was built: a clock that says so is wrong.
const LIFETIME_MS: i64 = 20 * 365 * DAY_MS;
/// Clocks of servers are not exact, and certificates begin a day early for the same reason.
const SLACK_MS: i64 = DAY_MS;
/// More than this between us and the cloud is worth a warning: certificates tolerate it, whoever reads times does not.
const DISAGREEMENT_MS: i64 = 5 * 60 * 1000;
/// How often the system clock, which announces nothing, is looked at while waiting for a time.
const LOOK: Duration = Duration::from_secs(1);

/// Clones share the same clock.
#[derive(Clone, Debug)]
pub struct Clock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hands: Box<dyn Hands>,
    state: Mutex<State>,
    /// Sent to when a time becomes known.
    news: watch::Sender<()>,
    started_ms: u64,
    wait_ms: u64,
}

#[derive(Debug)]
struct State {
    gnss: GnssTime,
    cloud: Option<Anchor>,
    /// What the cloud's clock was ahead of ours when it was last heard.
    cloud_offset_ms: Option<i64>,
    /// It is at least this late.
    floor_ms: UtcMillis,
    /// Fixes whose time was not believed.
    doubted: u64,
}

impl Clock {
    #[must_use]
    pub fn new(config: &ClockConfig, hands: impl Hands + 'static) -> Self {
        let state = State {
            gnss: GnssTime::default(),
            cloud: None,
            cloud_offset_ms: None,
            floor_ms: BUILT_MS,
            doubted: 0,
        };
        let shared = Shared {
            started_ms: hands.uptime_ms(),
            wait_ms: u64::try_from(config.wait.as_millis()).unwrap_or(u64::MAX),
            hands: Box::new(hands),
            state: Mutex::new(state),
            news: watch::Sender::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// For commands that an installer waits for: the system clock, and at once the lower bound where that is wrong.
    #[must_use]
    pub fn at_once() -> Self {
        Self::new(&ClockConfig { wait: Duration::ZERO, ..ClockConfig::default() }, Kernel)
    }

    /// UTC, or `None` while it is not known.
    #[must_use]
    pub fn now(&self) -> Option<UtcMillis> {
        self.reading().filter(|reading| reading.source.is_exact()).map(|reading| reading.utc_ms)
    }

    /// UTC, once the cloud has said about the same: good enough to date a receiver that prints no date. Less would let
    /// a wrong system clock come back as GNSS time.
    #[must_use]
    pub fn confirmed_now(&self) -> Option<UtcMillis> {
        let now = self.now()?;
        let uptime_ms = self.shared.hands.uptime_ms();
        let cloud = self.state().cloud?;
        (cloud.at(uptime_ms).abs_diff(now) <= DISAGREEMENT_MS.unsigned_abs()).then_some(now)
    }

    /// Who says what time it is.
    #[must_use]
    pub fn source(&self) -> Source {
        self.reading().map_or(Source::Unknown, |reading| reading.source)
    }

    /// How far the system clock is ahead of the time that is known better; `None` when nothing better is known.
    #[must_use]
    pub fn offset_of_system(&self) -> Option<i64> {
        let reading = self.reading().filter(|reading| reading.source.is_exact())?;
        (reading.source != Source::System)
            .then(|| self.shared.hands.system_ms().saturating_sub(reading.utc_ms))
    }

    /// The best that is known, the lower bound included once it may be used.
    #[must_use]
    pub fn reading(&self) -> Option<Reading> {
        let (uptime_ms, system_ms) = (self.shared.hands.uptime_ms(), self.shared.hands.system_ms());
        let state = self.state();
        if let Some(utc_ms) = state.gnss.now(uptime_ms) {
            return Some(Reading { utc_ms, source: Source::Gnss });
        }
        if state.is_plausible(system_ms) {
            return Some(Reading { utc_ms: system_ms, source: Source::System });
        }
        if let Some(cloud) = state.cloud {
            return Some(Reading { utc_ms: cloud.at(uptime_ms), source: Source::Cloud });
        }
        let waited_ms = uptime_ms.saturating_sub(self.shared.started_ms);
        (waited_ms >= self.shared.wait_ms)
            .then_some(Reading { utc_ms: state.floor_ms, source: Source::LowerBound })
    }

    /// Returns as soon as certificates can be judged.
    pub async fn known(&self) {
        let mut news = self.shared.news.subscribe();
        while self.reading().is_none() {
            tokio::select! {
                _ = news.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Takes the time of a fix that a receiver has just printed.
    pub fn observe(&self, fix: &Fix) {
        let Some(utc_ms) = fix.time else { return };
        // A corrected week is a guess from the day of the build: right for a track, too little for certificates.
        let doubts = Verdict::TIME_JUMP
            | Verdict::NO_TIME
            | Verdict::NO_FIX
            | Verdict::SPOOFING
            | Verdict::WEEK_ROLLOVER;
        if fix.verdict.intersects(doubts) || matches!(fix.quality, Quality::NoFix | Quality::Simulation) {
            return;
        }
        let uptime_ms = self.shared.hands.uptime_ms();
        let mut state = self.state();
        if !state.is_plausible(utc_ms) {
            state.doubted += 1;
            return;
        }
        let heard = state.gnss.observe(Anchor { utc_ms, uptime_ms });
        state.doubted += u64::from(heard == Heard::Doubted);
        drop(state);
        if let Heard::Believed { moved_by_ms } = heard {
            let system_offset_ms = self.shared.hands.system_ms().saturating_sub(utc_ms);
            if let Some(moved_by_ms) = moved_by_ms {
                tracing::warn!(
                    time = %show(utc_ms), moved_by_ms, system_offset_ms,
                    "the receiver insists on another time than before: believed"
                );
            } else {
                tracing::info!(time = %show(utc_ms), system_offset_ms, "time known from the receiver");
            }
            self.shared.news.send_replace(());
        }
    }

    /// Takes the cloud's time out of a welcome, which came over an authenticated connection. Against the receiver and
    /// a plausible system clock it is only a check.
    pub fn hear_cloud(&self, server_ms: UtcMillis) {
        if !(BUILT_MS..BUILT_MS + LIFETIME_MS).contains(&server_ms) {
            return;
        }
        let known = self.now();
        let uptime_ms = self.shared.hands.uptime_ms();
        let mut state = self.state();
        state.cloud = Some(Anchor { utc_ms: server_ms, uptime_ms });
        state.floor_ms = state.floor_ms.max(server_ms.saturating_sub(SLACK_MS));
        state.cloud_offset_ms = known.map(|known| server_ms.saturating_sub(known));
        let offset_ms = state.cloud_offset_ms;
        drop(state);
        match offset_ms {
            None => tracing::info!(time = %show(server_ms), "time known from the cloud"),
            Some(offset_ms) if offset_ms.abs() > DISAGREEMENT_MS => tracing::warn!(
                offset_ms,
                source = self.source().name(),
                "the cloud's clock disagrees with this gateway's: check 'date' on the gateway, and the cloud's clock"
            ),
            Some(_) => {}
        }
        self.shared.news.send_replace(());
    }

    /// Raises the lower bound: somebody trusted has signed that it was this late already.
    pub fn not_before(&self, signed_ms: UtcMillis) {
        if (BUILT_MS..BUILT_MS + LIFETIME_MS).contains(&signed_ms) {
            let mut state = self.state();
            state.floor_ms = state.floor_ms.max(signed_ms);
        }
    }

    /// What the system clock says, right or wrong.
    #[must_use]
    pub fn system(&self) -> UtcMillis {
        self.shared.hands.system_ms()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_plausible(&self, utc_ms: UtcMillis) -> bool {
        (self.floor_ms..BUILT_MS + LIFETIME_MS).contains(&utc_ms)
    }
}

impl TrustedTime for Clock {
    fn time(&self) -> Option<Time> {
        self.reading().map(|Reading { utc_ms, source }| match source {
            Source::LowerBound => Time::NotBefore(utc_ms),
            _ => Time::At(utc_ms),
        })
    }
}

const fn parse_day(digits: &str) -> i64 {
    let bytes = digits.as_bytes();
    let (mut value, mut index) = (0_i64, 0);
    while index < bytes.len() {
        value = value * 10 + (bytes[index] - b'0') as i64;
        index += 1;
    }
    value
}

#[cfg(test)]
mod tests;
