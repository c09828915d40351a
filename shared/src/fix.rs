//! One GNSS fix: the fields, their units, and numbers exactly as the receiver printed them.
//!
//! A receiver prints decimals, so a fix holds decimals: no binary floating point stands between the
//! sentence and the store. Derived values (degrees, metres per second) are made on request.

mod decimal;

pub use decimal::{Decimal, MAX_SCALE, ParseDecimalError};

/// Milliseconds since 1970-01-01T00:00:00 UTC, leap seconds not counted (POSIX time).
pub type UtcMillis = i64;

/// Metres in a second at one knot: 1852 m an hour, exactly.
const METRES_PER_SECOND_PER_KNOT: f64 = 1852.0 / 3600.0;

/// One instant as the receiver reported it. `None` means that the receiver printed nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fix {
    /// GNSS time of the fix, in UTC.
    pub time: Option<UtcMillis>,
    /// Arc-minutes, north positive (NMEA prints `ddmm.mmmm`, which is a decimal of minutes, not of degrees).
    pub latitude: Option<Decimal>,
    /// Arc-minutes, east positive.
    pub longitude: Option<Decimal>,
    /// Metres above mean sea level.
    pub altitude: Option<Decimal>,
    /// Knots over ground.
    pub speed: Option<Decimal>,
    /// Degrees from true north. Receivers print both `0.0` and `360.0`.
    pub course: Option<Decimal>,
    /// Horizontal dilution of precision.
    pub hdop: Option<Decimal>,
    /// Satellites used in the solution.
    pub satellites: Option<u8>,
    pub quality: Quality,
    /// Why this fix is doubted; empty when it is not.
    pub verdict: Verdict,
    /// Ignition (bit 0) and digital inputs (bits 1..), where the gateway has them wired.
    pub inputs: Option<u16>,
    /// Milliseconds since the gateway booted, kept only while GNSS time is missing or in doubt.
    pub uptime: Option<u64>,
    /// Vertical dilution of precision.
    pub vdop: Option<Decimal>,
    /// Position (3D) dilution of precision.
    pub pdop: Option<Decimal>,
    /// Satellites in view, used or not.
    pub in_view: Option<u8>,
    pub mode: Option<FixMode>,
    /// Metres driven in all, where the gateway has an odometer. Never decreases from fix to fix.
    pub odometer: Option<u64>,
}

impl Fix {
    #[must_use]
    pub fn latitude_degrees(&self) -> Option<f64> {
        self.latitude.map(|minutes| minutes.to_f64() / 60.0)
    }

    #[must_use]
    pub fn longitude_degrees(&self) -> Option<f64> {
        self.longitude.map(|minutes| minutes.to_f64() / 60.0)
    }

    #[must_use]
    pub fn altitude_metres(&self) -> Option<f64> {
        self.altitude.map(Decimal::to_f64)
    }

    #[must_use]
    pub fn speed_mps(&self) -> Option<f64> {
        self.speed.map(|knots| knots.to_f64() * METRES_PER_SECOND_PER_KNOT)
    }

    #[must_use]
    pub fn course_degrees(&self) -> Option<f64> {
        self.course.map(Decimal::to_f64)
    }
}

/// How the position was found: field 6 of GGA (NMEA 0183 v4.11, table "GPS quality indicator").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Quality {
    #[default]
    NoFix = 0,
    Gps = 1,
    Dgps = 2,
    Pps = 3,
    Rtk = 4,
    FloatRtk = 5,
    DeadReckoning = 6,
    Manual = 7,
    Simulation = 8,
}

impl Quality {
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::NoFix,
            1 => Self::Gps,
            2 => Self::Dgps,
            3 => Self::Pps,
            4 => Self::Rtk,
            5 => Self::FloatRtk,
            6 => Self::DeadReckoning,
            7 => Self::Manual,
            8 => Self::Simulation,
            _ => return None,
        })
    }

    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name used in JSON, CSV and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoFix => "no_fix",
            Self::Gps => "gps",
            Self::Dgps => "dgps",
            Self::Pps => "pps",
            Self::Rtk => "rtk",
            Self::FloatRtk => "float_rtk",
            Self::DeadReckoning => "dead_reckoning",
            Self::Manual => "manual",
            Self::Simulation => "simulation",
        }
    }
}

/// How many dimensions the solution has: field 2 of GSA (NMEA 0183 v4.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FixMode {
    None = 1,
    TwoD = 2,
    ThreeD = 3,
}

impl FixMode {
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::None,
            2 => Self::TwoD,
            3 => Self::ThreeD,
            _ => return None,
        })
    }

    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name used in JSON, CSV and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::TwoD => "2d",
            Self::ThreeD => "3d",
        }
    }
}

bitflags::bitflags! {
    /// Reasons to doubt a fix. A doubted fix is stored with its reasons and left out of trips; it is never dropped.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Verdict: u16 {
        /// The receiver itself says that it has no position.
        const NO_FIX = 1 << 0;
        /// No GNSS time; `uptime` orders the fix.
        const NO_TIME = 1 << 1;
        /// Farther from the previous fix than a vehicle can have driven.
        const TELEPORT = 1 << 2;
        /// Position, speed and course repeat to the last digit while the vehicle should be moving.
        const FROZEN = 1 << 3;
        /// GNSS time went backwards, or leapt.
        const TIME_JUMP = 1 << 4;
        /// Carrier-to-noise density fell on all satellites at once.
        const JAMMING = 1 << 5;
        /// A consistent but false position.
        const SPOOFING = 1 << 6;
        /// The date was 1024 weeks (or a multiple) off, and was corrected.
        const WEEK_ROLLOVER = 1 << 7;
        /// A printed value lies outside what it can mean (latitude 100°); the value was left out.
        const IMPLAUSIBLE = 1 << 8;
    }
}

impl Verdict {
    const NAMES: [(Self, &'static str); 9] = [
        (Self::NO_FIX, "no_fix"),
        (Self::NO_TIME, "no_time"),
        (Self::TELEPORT, "teleport"),
        (Self::FROZEN, "frozen"),
        (Self::TIME_JUMP, "time_jump"),
        (Self::JAMMING, "jamming"),
        (Self::SPOOFING, "spoofing"),
        (Self::WEEK_ROLLOVER, "week_rollover"),
        (Self::IMPLAUSIBLE, "implausible"),
    ];

    /// `ok`, or the reasons' names joined by commas, in the order of their bits.
    #[must_use]
    pub fn label(self) -> String {
        if self.is_empty() {
            return "ok".to_owned();
        }
        self.names().collect::<Vec<_>>().join(",")
    }

    /// The reasons' names, in the order of their bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_and_metres_per_second_are_derived_from_what_was_printed() {
        let fix = Fix {
            latitude: Some(Decimal::new(224_558_362, 5)),
            speed: Some(Decimal::new(36, 0)),
            ..Fix::default()
        };
        assert!((fix.latitude_degrees().unwrap() - 37.426_393_666_666_7).abs() < 1e-12);
        assert!((fix.speed_mps().unwrap() - 18.52).abs() < 1e-12);
    }

    #[test]
    fn quality_codes_round_trip_and_nine_is_unknown() {
        for code in 0..=8 {
            assert_eq!(Quality::from_code(code).unwrap().code(), code);
        }
        assert_eq!(Quality::from_code(9), None);
    }

    #[test]
    fn verdict_label_names_every_reason() {
        assert_eq!(Verdict::empty().label(), "ok");
        assert_eq!((Verdict::TELEPORT | Verdict::NO_FIX).label(), "no_fix,teleport");
        assert_eq!(Verdict::all().label().split(',').count(), Verdict::all().bits().count_ones() as usize);
    }
}
