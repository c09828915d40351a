//! The `[report]` and `[history]` sections of the gateway's configuration.

use std::time::Duration;

use avl_shared::fix::Fix;
use serde::Deserialize;

use super::geodesy::Place;
use super::profile::Profile;
use crate::config::ByteSize;
use crate::receiver::Extras;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    pub moving: ProfileConfig,
    pub stopped: ProfileConfig,
    pub parked: ProfileConfig,
    pub night: ProfileConfig,
    pub night_hours: Option<NightHours>,
    /// Fixes that a straight line stands for are kept on the vehicle only. Off unless given.
    pub thinning: Option<ThinningConfig>,
    pub geofences: Vec<GeofenceConfig>,
    /// What of a fix travels beside its nine columns.
    pub columns: Vec<Column>,
}

/// What differs between a vehicle that drives and one that does not. What is not given is the profile's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileConfig {
    /// How long a fix may wait before it is sent.
    #[serde(with = "humantime_serde")]
    pub latency: Option<Duration>,
    /// Whether the link is kept up between two batches.
    pub stay_connected: Option<bool>,
    /// Keep at most one fix in so long; 0 keeps all.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// With an interval: keep a fix also after so many metres; 0 = no.
    pub distance_m: f64,
    /// With an interval: keep a fix also after a turn of so many degrees; 0 = no.
    pub heading_deg: f64,
}

/// Between these times of the gateway's own time zone a parked vehicle has the night's profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NightHours {
    pub from: DayTime,
    pub to: DayTime,
}

impl NightHours {
    #[must_use]
    pub fn contain(self, minute_of_day: u16) -> bool {
        let (from, to) = (self.from.0, self.to.0);
        if from <= to {
            (from..to).contains(&minute_of_day)
        } else {
            minute_of_day >= from || minute_of_day < to
        }
    }
}

/// Minutes since midnight, written as `"22:30"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DayTime(pub u16);

impl TryFrom<String> for DayTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(hours, minutes)| {
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        });
        parts.map(Self).ok_or_else(|| format!("{text:?} is not a time of day: write it as \"22:30\""))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThinningConfig {
    /// How far a fix that was left out may lie from the track that is left, at its own time.
    pub error_m: f64,
    /// How much its speed may differ.
    #[serde(default = "default_error_mps")]
    pub error_mps: f64,
    /// The longest time between two fixes that are kept.
    #[serde(default = "default_max_gap", with = "humantime_serde")]
    pub max_gap: Duration,
}

const fn default_error_mps() -> f64 {
    2.0
}

/// Longer than this nobody can tell a hole from a straight road.
const MAX_GAP: Duration = Duration::from_secs(120);

const fn default_max_gap() -> Duration {
    MAX_GAP
}

/// Crossing it is reported at once.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeofenceConfig {
    pub name: String,
    /// Circle: latitude and longitude in degrees.
    pub centre: Option<[f64; 2]>,
    pub radius_m: Option<f64>,
    /// Polygon: corners as latitude and longitude in degrees, in order; at most some hundred kilometres across.
    #[serde(default)]
    pub polygon: Vec<[f64; 2]>,
    #[serde(default = "yes")]
    pub on_enter: bool,
    #[serde(default = "yes")]
    pub on_exit: bool,
    /// How far behind the line the vehicle must be before it has crossed it: positions waver.
    #[serde(default = "default_margin")]
    pub margin_m: f64,
}

const fn yes() -> bool {
    true
}

/// A receiver in a street between houses is off by this much now and then.
const fn default_margin() -> f64 {
    20.0
}

/// Optional columns of a fix on the wire; the odometer's is there whenever there is an odometer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    Vdop,
    Pdop,
    InView,
    Mode,
}

impl Column {
    /// Takes the column over from what the receiver said beside the fix.
    pub fn copy(self, extras: &Extras, fix: &mut Fix) {
        match self {
            Self::Vdop => fix.vdop = extras.vdop,
            Self::Pdop => fix.pdop = extras.pdop,
            Self::InView => fix.in_view = extras.satellites_in_view,
            Self::Mode => fix.mode = extras.mode,
        }
    }
}

/// What is not sent is kept here, for whoever asks later.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryConfig {
    /// Most that the held-back fixes may take on flash; 0 keeps none.
    pub max_bytes: ByteSize,
    /// The longest that a held-back fix is in memory only.
    #[serde(with = "humantime_serde")]
    pub durability: Duration,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { max_bytes: ByteSize(64 << 20), durability: Duration::from_secs(60) }
    }
}

/// Less is not worth its segments.
const MIN_HISTORY: ByteSize = ByteSize(1 << 20);

/// One profile with every default filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    pub latency: Duration,
    pub stay_connected: bool,
    pub interval: Duration,
    pub distance_m: f64,
    pub heading_deg: f64,
}

/// A batch a minute is enough to see that a vehicle still stands; never more often than while it moves.
const STOPPED_LATENCY: Duration = Duration::from_secs(60);
/// A parked vehicle's link costs more than its fixes (a ping cycle costs 111 bytes): report hourly, let it lapse.
const PARKED_LATENCY: Duration = Duration::from_secs(3600);

impl ReportConfig {
    /// `moving` is `uplink.latency`, which stands for the moving profile unless that has its own.
    #[must_use]
    pub fn terms(&self, profile: Profile, moving: Duration) -> Terms {
        let moving = self.moving.latency.unwrap_or(moving);
        let (config, latency, stay_connected) = match profile {
            Profile::Moving => (self.moving, moving, true),
            Profile::Stopped => (self.stopped, STOPPED_LATENCY.max(moving), true),
            Profile::Parked => (self.parked, PARKED_LATENCY.max(moving), false),
            Profile::Night => {
                let latency = self.parked.latency.unwrap_or(PARKED_LATENCY.max(moving));
                (self.night, latency, self.parked.stay_connected.unwrap_or(false))
            }
        };
        let ProfileConfig { interval, distance_m, heading_deg, .. } = config;
        Terms {
            latency: config.latency.unwrap_or(latency),
            stay_connected: config.stay_connected.unwrap_or(stay_connected),
            interval,
            distance_m,
            heading_deg,
        }
    }

    /// Whether any fix may be left out.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        let profiles = [self.moving, self.stopped, self.parked, self.night];
        self.thinning.is_some() || profiles.iter().any(|profile| !profile.interval.is_zero())
    }

    /// # Errors
    /// See [`ReportError`].
    pub fn validate(&self) -> Result<(), ReportError> {
        let profiles = [
            ("moving", self.moving),
            ("stopped", self.stopped),
            ("parked", self.parked),
            ("night", self.night),
        ];
        for (name, profile) in profiles {
            let sane = |value: f64| value.is_finite() && value >= 0.0;
            if !sane(profile.distance_m) || !sane(profile.heading_deg) || profile.heading_deg > 180.0 {
                return Err(ReportError::Trigger(name));
            }
            if profile.interval.is_zero() && (profile.distance_m > 0.0 || profile.heading_deg > 0.0) {
                return Err(ReportError::TriggerWithoutInterval(name));
            }
            if profile.latency.is_some_and(|latency| latency.is_zero()) {
                return Err(ReportError::Latency(name));
            }
        }
        if let Some(thinning) = self.thinning {
            let positive = |value: f64| value.is_finite() && value > 0.0;
            if !positive(thinning.error_m) || !positive(thinning.error_mps) {
                return Err(ReportError::Thinning);
            }
            if thinning.max_gap.is_zero() || thinning.max_gap > MAX_GAP {
                return Err(ReportError::MaxGap(thinning.max_gap));
            }
        }
        self.geofences.iter().try_for_each(GeofenceConfig::validate)
    }
}

impl GeofenceConfig {
    fn validate(&self) -> Result<(), ReportError> {
        let refused = |cause| Err(ReportError::Geofence { name: self.name.clone(), cause });
        let on_earth = |[lat, lon]: [f64; 2]| lat.abs() <= 90.0 && lon.abs() <= 180.0;
        if !(self.margin_m.is_finite() && self.margin_m >= 0.0) {
            return refused("margin_m must be 0 or more");
        }
        match (self.centre, self.radius_m, self.polygon.as_slice()) {
            (Some(centre), Some(radius), []) => {
                match on_earth(centre) && radius.is_finite() && radius > 0.0 {
                    true => Ok(()),
                    false => refused("centre is [latitude, longitude] in degrees and radius_m more than 0"),
                }
            }
            (None, None, [_, _, _, ..]) => match self.polygon.iter().copied().all(on_earth) {
                true => Ok(()),
                false => refused("polygon has a corner that is not [latitude, longitude] in degrees"),
            },
            _ => refused("give either centre and radius_m, or polygon with at least three corners"),
        }
    }

    #[must_use]
    pub(super) fn place([lat, lon]: [f64; 2]) -> Place {
        Place { lat, lon }
    }
}

impl HistoryConfig {
    /// # Errors
    /// See [`ReportError`].
    pub fn validate(&self) -> Result<(), ReportError> {
        if self.max_bytes != ByteSize(0) && self.max_bytes < MIN_HISTORY {
            return Err(ReportError::SmallHistory(self.max_bytes));
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReportError {
    #[error("report.{0}: distance_m must be 0 or more metres and heading_deg 0 to 180")]
    Trigger(&'static str),
    #[error(
        "report.{0}: distance_m and heading_deg add fixes to those of an interval, and with interval 0 every fix is kept: give an interval, or remove them"
    )]
    TriggerWithoutInterval(&'static str),
    #[error("report.{0}.latency: 0 s cannot work: give a time such as \"25s\"")]
    Latency(&'static str),
    #[error("report.thinning: error_m and error_mps must be more than 0")]
    Thinning,
    #[error("report.thinning.max_gap is {0:?}: give more than 0 and at most {MAX_GAP:?}")]
    MaxGap(Duration),
    #[error("report.geofences, {name:?}: {cause}")]
    Geofence { name: String, cause: &'static str },
    #[error("history.max_bytes is {0}: give 0 for none, or at least {MIN_HISTORY}")]
    SmallHistory(ByteSize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::Figment;
    use figment::providers::{Format, Toml};

    fn read(toml: &str) -> Result<ReportConfig, String> {
        let config: ReportConfig =
            Figment::from(Toml::string(toml)).extract().map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn by_default_every_profile_keeps_every_fix_and_only_the_link_differs() {
        let config = read("").unwrap();
        let terms = |profile| config.terms(profile, 25 * SECOND);
        for profile in [Profile::Moving, Profile::Stopped, Profile::Parked, Profile::Night] {
            assert_eq!(terms(profile).interval, Duration::ZERO);
        }
        assert_eq!(
            (terms(Profile::Moving).latency, terms(Profile::Moving).stay_connected),
            (25 * SECOND, true)
        );
        assert_eq!(
            (terms(Profile::Stopped).latency, terms(Profile::Stopped).stay_connected),
            (60 * SECOND, true)
        );
        assert_eq!(
            (terms(Profile::Parked).latency, terms(Profile::Parked).stay_connected),
            (3600 * SECOND, false)
        );
        assert_eq!(terms(Profile::Night), terms(Profile::Parked));
    }

    #[test]
    fn the_night_takes_after_parked_unless_it_is_told_otherwise() {
        let config =
            read("parked = { latency = '2h', stay_connected = true }\nnight = { interval = '10m' }").unwrap();
        let night = config.terms(Profile::Night, SECOND);
        assert_eq!(
            (night.latency, night.stay_connected, night.interval),
            (7200 * SECOND, true, 600 * SECOND)
        );
    }

    #[test]
    fn nights_may_run_over_midnight() {
        let config = read("night_hours = { from = '22:00', to = '05:30' }").unwrap();
        let night = config.night_hours.unwrap();
        for (minute, is_night) in [(22 * 60, true), (0, true), (329, true), (330, false), (12 * 60, false)] {
            assert_eq!(night.contain(minute), is_night, "{minute}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_cure() {
        let cases = [
            ("night_hours = { from = '25:00', to = '05:30' }", "22:30"),
            ("moving = { distance_m = 100 }", "interval"),
            ("moving = { interval = '10s', heading_deg = 200 }", "0 to 180"),
            ("stopped = { latency = '0s' }", "report.stopped.latency"),
            ("thinning = { error_m = 0 }", "more than 0"),
            ("thinning = { error_m = 5, max_gap = '5m' }", "at most 120s"),
            ("geofences = [{ name = 'depot', radius_m = 5 }]", "depot"),
            ("geofences = [{ name = 'depot', polygon = [[1, 2], [3, 4]] }]", "three corners"),
            ("geofences = [{ name = 'depot', centre = [91, 0], radius_m = 5 }]", "degrees"),
            ("columns = ['tdop']", "tdop"),
        ];
        for (toml, word) in cases {
            let error = read(toml).unwrap_err();
            assert!(error.contains(word), "{word:?} is not in {error:?}");
        }
        let history = HistoryConfig { max_bytes: ByteSize(5), ..HistoryConfig::default() };
        assert!(history.validate().unwrap_err().to_string().contains("1 MiB"));
    }
}
