//! A receiver that is stuck: it prints the same place, speed and course, to the last digit, and calls it motion.
//!
//! Standing still is not stuck: it is printed with a speed of (nearly) nothing, either because the numbers jitter or
//! because the receiver holds them on purpose (static hold, which lets go at 0.5 to 2 m/s on u-blox and MediaTek
//! receivers). So the same numbers are doubted when the printed speed would have led well beyond what can be held or
//! rounded away.

use avl_shared::fix::{Decimal, Fix};
use serde::{Deserialize, Serialize};

use super::calendar::{MILLIS_PER_DAY, TimeOfDay};

/// Printed again at least so often …
const REPEATS: u16 = 3;
/// … for at least so long: receivers that print faster than they compute repeat each fix some times within a second.
const LASTS_MS: u32 = 3000;
/// … while the printed speed leads so far, and over this many units of the last printed digit.
const MOVED_M: f64 = 10.0;
const MOVED_UNITS: f64 = 3.0;

/// A longer gap is no repetition of anything.
const LONGEST_STEP_MS: i64 = 60_000;

const METRES_PER_ARC_MINUTE: f64 = 1852.0;

/// The memory of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stillness {
    /// Of the numbers that were printed last.
    fingerprint: u64,
    at: Option<TimeOfDay>,
    repeats: u16,
    lasted_ms: u32,
}

impl Stillness {
    /// Whether `fix` is a repetition that cannot be.
    pub(super) fn judge(&mut self, fix: &Fix, time: Option<TimeOfDay>) -> bool {
        let (Some(latitude), Some(longitude), Some(speed)) = (fix.latitude, fix.longitude, fix.speed) else {
            *self = Self::default();
            return false;
        };
        let fingerprint = fingerprint([Some(latitude), Some(longitude), Some(speed), fix.course]);
        let step = self.at.zip(time).map(|(before, time)| {
            (i64::from(time.millis()) - i64::from(before.millis())).rem_euclid(MILLIS_PER_DAY)
        });
        let step = step.filter(|step| *step <= LONGEST_STEP_MS).and_then(|step| u32::try_from(step).ok());
        let Some(step) = step.filter(|_| fingerprint == self.fingerprint) else {
            *self = Self { fingerprint, at: time, repeats: 0, lasted_ms: 0 };
            return false;
        };
        self.at = time;
        self.repeats = self.repeats.saturating_add(1);
        self.lasted_ms = self.lasted_ms.saturating_add(step);
        let unit_m = METRES_PER_ARC_MINUTE * 0.1_f64.powi(i32::from(latitude.scale().min(longitude.scale())));
        let moved_m = fix.speed_mps().unwrap_or(0.0) * f64::from(self.lasted_ms) / 1e3;
        self.repeats >= REPEATS && self.lasted_ms >= LASTS_MS && moved_m >= MOVED_M.max(MOVED_UNITS * unit_m)
    }
}

/// FNV-1a, 64 bits, over digits and scales: equal numbers printed alike are equal here.
fn fingerprint(numbers: [Option<Decimal>; 4]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for number in numbers {
        let (mantissa, scale) = number.map_or((0, u8::MAX), |number| (number.mantissa(), number.scale()));
        for word in [mantissa.cast_unsigned(), u64::from(scale)] {
            hash = (hash ^ word).wrapping_mul(0x0100_0000_01b3);
            hash ^= hash >> 29;
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(minutes: i64, scale: u8, tenths_of_knots: i64, course: i64) -> Fix {
        Fix {
            latitude: Some(Decimal::new(minutes, scale)),
            longitude: Some(Decimal::new(5, scale)),
            speed: Some(Decimal::new(tenths_of_knots, 1)),
            course: Some(Decimal::new(course, 1)),
            ..Fix::default()
        }
    }

    /// The number of the fix that is doubted first, printing one every `step_ms`.
    fn doubted(step_ms: u32, fixes: impl Iterator<Item = Fix>) -> Option<usize> {
        let mut stillness = Stillness::default();
        let verdicts = fixes.enumerate().map(|(at, fix)| {
            let millis = u32::try_from(at).unwrap() * step_ms;
            let time = TimeOfDay::new(0, millis / 60_000, millis / 1000 % 60, millis % 1000);
            stillness.judge(&fix, time)
        });
        verdicts.collect::<Vec<_>>().iter().position(|doubted| *doubted)
    }

    #[test]
    fn motion_that_repeats_to_the_last_digit_is_frozen() {
        assert_eq!(doubted(1000, (0..100).map(|_| fix(12_345_678, 5, 300, 900))), Some(3));
        assert_eq!(doubted(100, (0..100).map(|_| fix(12_345_678, 5, 300, 900))), Some(30));
    }

    #[test]
    fn a_vehicle_that_stands_is_not_even_if_it_jitters_in_speed_or_is_held() {
        assert_eq!(doubted(1000, (0..600).map(|_| fix(12_345_678, 5, 0, 900))), None);
        assert_eq!(doubted(1000, (0..600).map(|at| fix(12_345_678, 5, 5 + at % 2, 900))), None);
    }

    #[test]
    fn any_digit_that_changes_is_motion() {
        assert_eq!(doubted(1000, (0..100).map(|at| fix(12_345_678 + at % 2, 5, 300, 900))), None);
        assert_eq!(doubted(1000, (0..100).map(|at| fix(12_345_678, 5, 300, 900 + at % 2))), None);
    }

    #[test]
    fn a_coarse_receiver_that_crawls_repeats_its_place_rightly() {
        // Two decimals of a minute are 18.5 m; 2.9 knots are 1.5 m/s.
        assert_eq!(doubted(1000, (0..30).map(|_| fix(12_345, 2, 29, 900))), None);
    }

    #[test]
    fn a_lost_fix_and_a_long_gap_begin_anew() {
        let mut stillness = Stillness::default();
        let mut judge =
            |fix: &Fix, minute, second| stillness.judge(fix, TimeOfDay::new(0, minute, second, 0));
        let same = fix(12_345_678, 5, 300, 900);
        assert!(!judge(&same, 0, 0) && !judge(&same, 0, 2) && !judge(&Fix::default(), 0, 4));
        assert!(!judge(&same, 0, 6) && !judge(&same, 30, 0) && !judge(&same, 30, 2) && !judge(&same, 30, 4));
        assert!(judge(&same, 30, 6));
    }
}
