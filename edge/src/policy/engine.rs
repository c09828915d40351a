//! All decisions of the policy in one place, without I/O: what becomes of a fix, which change makes one of its own,
//! and what is sent at once.

use std::fmt;
use std::time::Duration;

use avl_shared::fix::{Fix, Quality, Verdict};
use tokio::time::Instant;

use super::config::{ReportConfig, Terms};
use super::geodesy::Place;
use super::geofence::{Crossing, Geofences};
use super::profile::{Profile, ProfileMachine};
use super::select::{Choice, Selector};
use crate::sensors::{IGNITION, Levels};
use crate::source::Observed;
use crate::thinning::ThinLimits;

/// A position older than this is not where the input changed: at 100 km/h the vehicle is 280 m farther.
const POSITION_STANDS_FOR: Duration = Duration::from_secs(10);

/// What an event leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Decided fixes, oldest first.
    pub choices: Vec<Choice>,
    /// Everything so far is to be sent now, and why.
    pub at_once: Option<Why>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Input {
        on: u16,
        off: u16,
    },
    Crossed(Vec<Crossing>),
    /// The link is about to be used once an hour: what there is goes first.
    Parked,
    Asked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input { on, off } => {
                let bits = |bits: u16| (0..16).filter(move |bit| bits >> bit & 1 == 1);
                let names = bits(*on).map(|bit| (bit, "on")).chain(bits(*off).map(|bit| (bit, "off")));
                for (index, (bit, level)) in names.enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    match bit {
                        0 => write!(f, "{comma}ignition {level}")?,
                        _ => write!(f, "{comma}input {bit} {level}")?,
                    }
                }
                Ok(())
            }
            Self::Crossed(crossings) => {
                for (index, crossing) in crossings.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    let way = if crossing.entered { "entered" } else { "left" };
                    write!(f, "{comma}{way} {}", crossing.name)?;
                }
                Ok(())
            }
            Self::Parked => f.write_str("parked"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

/// What the configuration says, as the engine needs it.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    pub report: ReportConfig,
    /// `uplink.latency`.
    pub moving_latency: Duration,
    /// Inputs whose change is sent at once.
    pub at_once_bits: u16,
    pub ignition_wired: bool,
}

pub struct Engine {
    settings: EngineSettings,
    machine: ProfileMachine,
    profile: Profile,
    selector: Selector,
    geofences: Geofences,
    levels: Levels,
    /// The newest fix, as it was recorded, and when it came.
    newest: Option<(Observed, Instant)>,
}

impl Engine {
    #[must_use]
    pub fn new(settings: EngineSettings, now: Instant) -> Self {
        let thinning = settings.report.thinning.map(|thinning| ThinLimits {
            position_m: thinning.error_m,
            speed_mps: thinning.error_mps,
            max_gap_ms: i64::try_from(thinning.max_gap.as_millis()).unwrap_or(i64::MAX),
        });
        Self {
            machine: ProfileMachine::new(now),
            profile: Profile::Moving,
            selector: Selector::new(thinning),
            geofences: Geofences::new(&settings.report.geofences),
            levels: None,
            newest: None,
            settings,
        }
    }

    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    #[must_use]
    pub fn terms(&self) -> Terms {
        self.settings.report.terms(self.profile, self.settings.moving_latency)
    }

    /// When [`Engine::tick`] is due although nothing happens.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        self.machine.next_change()
    }

    /// The newest fix and its age.
    #[must_use]
    pub fn newest(&self, now: Instant) -> Option<(&Fix, Duration)> {
        let (observed, at) = self.newest.as_ref()?;
        Some((&observed.fix, now.saturating_duration_since(*at)))
    }

    /// The receiver gave a fix; `odometer` is the total with it.
    pub fn fix(
        &mut self,
        mut observed: Observed,
        odometer: Option<u64>,
        now: Instant,
        night: bool,
    ) -> Outcome {
        for column in &self.settings.report.columns {
            column.copy(&observed.extras, &mut observed.fix);
        }
        observed.fix.inputs = self.levels;
        observed.fix.odometer = odometer;
        self.machine.fix(&observed.fix, now);
        let mut outcome = self.tick(now, night);
        let sure = observed.fix.verdict.is_empty() && observed.fix.quality != Quality::NoFix;
        let crossings = match Place::of(&observed.fix).filter(|_| sure) {
            Some(place) => self.geofences.at(place),
            None => Vec::new(),
        };
        self.newest = Some((observed.clone(), now));
        self.selector.push(observed, &self.terms(), &mut outcome.choices);
        if !crossings.is_empty() {
            self.selector.flush(&mut outcome.choices);
            outcome.at_once = Some(Why::Crossed(crossings));
        }
        outcome
    }

    /// Time passed.
    pub fn tick(&mut self, now: Instant, night: bool) -> Outcome {
        let before = std::mem::replace(&mut self.profile, self.machine.profile(now, night));
        let rests = |profile| matches!(profile, Profile::Parked | Profile::Night);
        let mut outcome = Outcome::default();
        if rests(self.profile) && !rests(before) {
            self.selector.flush(&mut outcome.choices);
            outcome.at_once = Some(Why::Parked);
        }
        outcome
    }

    /// The inputs changed, became known, or unknown. A change is recorded at once, as a fix of its own.
    pub fn levels(&mut self, levels: Levels, odometer: Option<u64>, now: Instant, night: bool) -> Outcome {
        let before = std::mem::replace(&mut self.levels, levels);
        let ignition = levels.filter(|_| self.settings.ignition_wired).map(|levels| levels & IGNITION != 0);
        self.machine.ignition(ignition, now);
        let mut outcome = self.tick(now, night);
        let Some((before, levels)) = before.zip(levels).filter(|(before, levels)| before != levels) else {
            return outcome;
        };
        self.selector.flush(&mut outcome.choices);
        let event = self.event_fix(levels, odometer, now);
        self.selector.push(event, &self.terms(), &mut outcome.choices);
        let changed = before ^ levels;
        if changed & self.settings.at_once_bits != 0 {
            outcome.at_once = Some(Why::Input { on: changed & levels, off: changed & before });
        }
        outcome
    }

    /// Somebody wants to know where the vehicle is.
    pub fn report_now(&mut self) -> Outcome {
        let mut outcome = Outcome { at_once: Some(Why::Asked), ..Outcome::default() };
        self.selector.flush(&mut outcome.choices);
        outcome
    }

    /// The source is over.
    pub fn finish(&mut self) -> Vec<Choice> {
        let mut choices = Vec::new();
        self.selector.flush(&mut choices);
        choices
    }

    /// The newest position with the new inputs, under the position's own time: it never claims to be another
    /// moment's. Where there is none, or an old one, a fix without position at the time of the change.
    fn event_fix(&self, levels: u16, odometer: Option<u64>, now: Instant) -> Observed {
        // Its cursor keeps a replay from reading again what is on flash before it.
        let cursor = self.newest.as_ref().and_then(|(observed, _)| observed.cursor.clone());
        let newest = self.newest(now);
        let fix = match newest {
            Some((fix, age)) if age <= POSITION_STANDS_FOR => {
                Fix { inputs: Some(levels), odometer, ..fix.clone() }
            }
            _ => {
                let time =
                    newest.and_then(|(fix, age)| fix.time?.checked_add(i64::try_from(age.as_millis()).ok()?));
                let no_time = if time.is_none() { Verdict::NO_TIME } else { Verdict::empty() };
                let verdict = Verdict::NO_FIX | no_time;
                Fix { time, verdict, inputs: Some(levels), odometer, ..Fix::default() }
            }
        };
        Observed { fix, cursor, ..Observed::default() }
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
