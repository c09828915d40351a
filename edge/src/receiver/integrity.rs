//! Verdicts that need more than one fix: time that jumps, places that cannot have been driven to.
//!
//! A verdict is a reason to doubt, never a reason to drop, and it falls on the fix where the break is, not on those
//! after it. What is not certain is not marked: a recorded log may hold two drives with a night between them, which
//! looks like a clock that leapt ahead, so a leap ahead needs a witness.

use avl_shared::fix::{Fix, UtcMillis, Verdict};
use serde::{Deserialize, Serialize};

use super::calendar::{MILLIS_PER_DAY, TimeOfDay};

/// No road vehicle drives 540 km/h: the fastest production cars reach 135 m/s, the fastest scheduled train 120 m/s.
const FASTEST_MPS: f64 = 150.0;

/// How far positions of a good receiver that stands still can lie apart: multipath in street canyons displaces them
/// by 50 to 100 m, and more as the geometry gets worse (metres for each unit of HDOP).
const NOISE_FLOOR_M: f64 = 100.0;
const NOISE_M_PER_HDOP: f64 = 50.0;

/// GNSS time ahead of the last fix by more than this is a leap, if time did not really pass.
const LEAP_MS: i64 = 3_600_000;

/// The witness of a leap in a recorded log: a vehicle that was moving before and after it, at this speed or more, and
/// came no further than it would have in one reporting interval, of at most this length.
const WITNESS_SPEED_MPS: f64 = 3.0;
const WITNESS_INTERVAL_S: f64 = 10.0;

const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// What must be remembered of earlier fixes. Integers, so that it can be stored and compared exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Integrity {
    /// The last instant that was believed, and when it arrived by the gateway's own clock.
    believed: Option<UtcMillis>,
    #[serde(skip)]
    arrived_ms: Option<u64>,
    trusted: Option<Place>,
    /// Where a teleport led to. If the next fix is there too, the vehicle is (a ferry, a tow, a long tunnel).
    candidate: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    latitude_nanodegrees: i64,
    longitude_nanodegrees: i64,
    time: Option<TimeOfDay>,
    instant: Option<UtcMillis>,
    speed_mmps: Option<i64>,
}

impl Integrity {
    /// Judges the next fix. `arrived_ms` is when it came by a clock that never jumps, for a live receiver.
    pub(super) fn judge(&mut self, fix: &Fix, time: Option<TimeOfDay>, arrived_ms: Option<u64>) -> Verdict {
        let place = Place::of(fix, time);
        let mut verdict = Verdict::empty();
        if self.time_jumps(fix.time, place.as_ref(), arrived_ms) {
            verdict |= Verdict::TIME_JUMP;
        }
        self.believe(fix.time, place.is_some(), verdict, arrived_ms);
        if let Some(place) = place {
            // How long the way took is not known when time has jumped.
            let noise_m = noise_m(fix);
            let apart = |from: &Place| place.is_out_of_reach_of(from, noise_m);
            let jumped = verdict.contains(Verdict::TIME_JUMP);
            if !jumped
                && self.trusted.as_ref().is_some_and(apart)
                && self.candidate.as_ref().is_none_or(apart)
            {
                self.candidate = Some(place);
                verdict |= Verdict::TELEPORT;
            } else {
                self.trusted = Some(place);
                self.candidate = None;
            }
        }
        verdict
    }

    fn time_jumps(&self, instant: Option<UtcMillis>, place: Option<&Place>, arrived_ms: Option<u64>) -> bool {
        let Some((believed, instant)) = self.believed.zip(instant) else {
            return false;
        };
        let ahead = instant - believed;
        if ahead <= LEAP_MS {
            return ahead < 0;
        }
        match self.arrived_ms.zip(arrived_ms) {
            Some((before, now)) => {
                let passed = i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX);
                ahead.saturating_sub(passed) > LEAP_MS
            }
            None => self.trusted.as_ref().zip(place).is_some_and(|(from, to)| to.is_just_ahead_of(from)),
        }
    }

    /// Before the first position a receiver prints the time of its own clock, which may be anything. After it, time
    /// without a position (a tunnel, a garage) is followed as long as it is smooth.
    fn believe(
        &mut self,
        instant: Option<UtcMillis>,
        located: bool,
        verdict: Verdict,
        arrived_ms: Option<u64>,
    ) {
        let smooth = self.believed.is_some() && !verdict.contains(Verdict::TIME_JUMP);
        if instant.is_some() && (located || smooth) {
            self.believed = instant;
            self.arrived_ms = arrived_ms;
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // |degrees| <= 180 and |speed| < 1e10 knots: both fit, times 1e9, an i64
fn scaled(value: f64, factor: f64) -> i64 {
    (value * factor).round() as i64
}

fn noise_m(fix: &Fix) -> f64 {
    fix.hdop.map_or(NOISE_FLOOR_M, |hdop| (hdop.to_f64() * NOISE_M_PER_HDOP).max(NOISE_FLOOR_M))
}

impl Place {
    fn of(fix: &Fix, time: Option<TimeOfDay>) -> Option<Self> {
        Some(Self {
            latitude_nanodegrees: scaled(fix.latitude_degrees()?, 1e9),
            longitude_nanodegrees: scaled(fix.longitude_degrees()?, 1e9),
            time,
            instant: fix.time,
            speed_mmps: fix.speed_mps().map(|speed| scaled(speed, 1e3)),
        })
    }

    fn is_out_of_reach_of(&self, from: &Self, noise_m: f64) -> bool {
        self.seconds_since(from)
            .is_some_and(|seconds| self.metres_from(from) > FASTEST_MPS * seconds + noise_m)
    }

    fn is_just_ahead_of(&self, from: &Self) -> bool {
        let [before, after] = [from, self].map(|place| place.speed_mps().unwrap_or(0.0));
        before >= WITNESS_SPEED_MPS
            && after >= WITNESS_SPEED_MPS
            && self.metres_from(from) <= before.max(after) * WITNESS_INTERVAL_S
    }

    #[allow(clippy::cast_precision_loss)]
    fn speed_mps(&self) -> Option<f64> {
        self.speed_mmps.map(|speed| speed as f64 / 1e3)
    }

    /// `None` when neither prints a time; without dates, the shorter way round the clock.
    #[allow(clippy::cast_precision_loss)]
    fn seconds_since(&self, from: &Self) -> Option<f64> {
        let millis = match from.instant.zip(self.instant) {
            Some((before, now)) => (now - before).abs(),
            None => {
                let apart = (i64::from(self.time?.millis()) - i64::from(from.time?.millis())).abs();
                apart.min((MILLIS_PER_DAY - apart).abs())
            }
        };
        Some(millis as f64 / 1e3)
    }

    /// Great-circle distance by the haversine formula (R. W. Sinnott, Sky and Telescope 68, 1984).
    #[allow(clippy::cast_precision_loss)]
    fn metres_from(&self, from: &Self) -> f64 {
        let radians = |nanodegrees: i64| (nanodegrees as f64 * 1e-9).to_radians();
        let (lat1, lat2) = (radians(from.latitude_nanodegrees), radians(self.latitude_nanodegrees));
        let half_dlat = (lat2 - lat1) / 2.0;
        let half_dlon = radians(self.longitude_nanodegrees - from.longitude_nanodegrees) / 2.0;
        let a = half_dlat.sin().powi(2) + lat1.cos() * lat2.cos() * half_dlon.sin().powi(2);
        2.0 * EARTH_RADIUS_M * a.sqrt().min(1.0).asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::fix::Decimal;

    const MINUTE_M: f64 = 1852.0;

    /// At `north_m` metres north of the equator's crossing with Greenwich.
    fn fix(time_s: i64, north_m: i64, knots: i64) -> Fix {
        #[allow(clippy::cast_precision_loss)]
        let minutes = scaled(north_m as f64 / MINUTE_M, 1e5);
        Fix {
            time: Some(time_s * 1000),
            latitude: Some(Decimal::new(minutes, 5)),
            longitude: Some(Decimal::new(0, 5)),
            speed: Some(Decimal::new(knots, 0)),
            hdop: Some(Decimal::new(9, 1)),
            ..Fix::default()
        }
    }

    fn nowhere(time_s: i64) -> Fix {
        Fix { time: Some(time_s * 1000), ..Fix::default() }
    }

    fn verdicts(fixes: &[Fix]) -> Vec<Verdict> {
        let mut integrity = Integrity::default();
        fixes.iter().map(|fix| integrity.judge(fix, None, None)).collect()
    }

    const OK: Verdict = Verdict::empty();
    const JUMP: Verdict = Verdict::TIME_JUMP;
    const TELEPORT: Verdict = Verdict::TELEPORT;

    #[test]
    fn an_outlier_is_marked_alone() {
        let drive = [fix(0, 0, 40), fix(1, 20, 40), fix(2, 9000, 40), fix(3, 60, 40), fix(4, 80, 40)];
        assert_eq!(verdicts(&drive), [OK, OK, TELEPORT, OK, OK]);
    }

    #[test]
    fn a_new_place_is_believed_when_the_next_fix_is_there_too() {
        let drive = [fix(0, 0, 0), fix(1, 9000, 0), fix(2, 9020, 0), fix(3, 0, 0)];
        assert_eq!(verdicts(&drive), [OK, TELEPORT, OK, TELEPORT]);
    }

    #[test]
    fn noise_and_long_gaps_are_no_teleport() {
        assert_eq!(verdicts(&[fix(0, 0, 0), fix(1, 240, 0)]), [OK, OK]);
        assert_eq!(verdicts(&[fix(0, 0, 0), fix(600, 80_000, 0)]), [OK, OK]);
        let poor = Fix { hdop: Some(Decimal::new(20, 0)), ..fix(1, 1000, 0) };
        assert_eq!(verdicts(&[fix(0, 0, 0), poor]), [OK, OK]);
    }

    #[test]
    fn without_dates_the_time_of_day_measures_the_way() {
        let undated = |north_m| Fix { time: None, ..fix(0, north_m, 0) };
        let mut integrity = Integrity::default();
        let mut judge = |fix: Fix, second| integrity.judge(&fix, TimeOfDay::new(0, 0, second, 0), None);
        assert_eq!(judge(undated(0), 0), OK);
        assert_eq!(judge(undated(9000), 1), TELEPORT);
        assert_eq!(judge(undated(100), 2), OK);
    }

    #[test]
    fn time_that_goes_backwards_is_marked_once() {
        assert_eq!(verdicts(&[fix(100, 0, 0), fix(99, 0, 0), fix(100, 0, 0)]), [OK, JUMP, OK]);
    }

    #[test]
    fn two_drives_in_one_log_are_no_jump() {
        assert_eq!(verdicts(&[fix(0, 0, 30), fix(90_000, 50_000, 30)]), [OK, OK]);
        assert_eq!(verdicts(&[fix(0, 0, 0), fix(90_000, 0, 0)]), [OK, OK]);
    }

    #[test]
    fn a_leap_ahead_is_marked_when_the_vehicle_drove_through_it() {
        assert_eq!(verdicts(&[fix(0, 0, 40), fix(7201, 20, 40), fix(2, 40, 40)]), [OK, JUMP, JUMP]);
    }

    #[test]
    fn a_leap_ahead_is_marked_when_the_gateways_clock_says_so() {
        let mut integrity = Integrity::default();
        let mut judge = |fix: Fix, arrived| integrity.judge(&fix, None, Some(arrived));
        assert_eq!(judge(fix(0, 0, 0), 5_000), OK);
        assert_eq!(judge(fix(7200, 0, 0), 6_000), JUMP);
        assert_eq!(judge(fix(7201, 0, 0), 7_000), OK);
        assert_eq!(judge(fix(7201 + 7200, 0, 0), 7_207_000), OK);
    }

    #[test]
    fn the_clock_of_a_receiver_without_a_fix_is_not_believed() {
        assert_eq!(verdicts(&[nowhere(0), fix(1_000_000, 0, 0)]), [OK, OK]);
        assert_eq!(
            verdicts(&[fix(1_000_000, 0, 0), nowhere(0), nowhere(1), fix(1_000_009, 0, 0)]),
            [OK, JUMP, JUMP, OK]
        );
    }

    #[test]
    fn a_night_without_a_fix_is_no_leap() {
        let mut night: Vec<Fix> = (0..20).map(|hour| nowhere(hour * 1800)).collect();
        night.insert(0, fix(-1, 0, 40));
        night.push(fix(20 * 1800, 20, 40));
        assert!(verdicts(&night).iter().all(Verdict::is_empty));
    }
}
