//! What the next value should be: pure functions of what both sides already know.
//!
//! Predictions of wild values fall back to the last one; they may be poor and never wrong, because the residual
//! wraps. All arithmetic is on integers and explicit about overflow.

use super::geometry;

/// Beyond this a value is not a measurement (1.1e13 is 180° at nine decimals of a minute).
const SANE: u64 = 1 << 44;

fn sane(value: i64) -> bool {
    value.unsigned_abs() < SANE
}

/// The last value and a share (in 16ths) of the last step.
#[must_use]
pub(crate) fn damped(last: i64, step: i64, sixteenths: i64) -> i64 {
    if sane(last) && sane(step) { last + ((step * sixteenths) >> 4) } else { last }
}

/// The shorter way from `from` to `to` on a circle of `full` units; both lie in `0..full`.
#[must_use]
pub(crate) fn turn(from: i64, to: i64, full: i64) -> i64 {
    let forward = (to - from).rem_euclid(full);
    if forward > full / 2 { forward - full } else { forward }
}

/// Speed over ground as the batch prints it, towards the north and towards the east.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Velocity {
    /// In 65536ths of the speed column's unit.
    pub(crate) north: i64,
    pub(crate) east: i64,
}

/// Faster is not a vehicle (2^26 at four decimals is 6,700 kn); the bound keeps products below 2^127.
const FASTEST: i64 = 1 << 26;

impl Velocity {
    /// `full` is a full turn in units of the course.
    #[must_use]
    pub(crate) fn of(speed: i64, course: i64, full: i64) -> Self {
        let speed = speed.clamp(0, FASTEST);
        let (north, east) = geometry::direction(course, full);
        Self { north: speed * north, east: speed * east }
    }
}

/// Converts speed × time into units of the position columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reckoning {
    /// Units of latitude (longitude) in one unit of speed held for two milliseconds, times 2^40.
    north: i128,
    east: i128,
    /// Units in an arc-minute of latitude.
    minute: u64,
}

/// A longer gap is not bridged by speed.
const LONGEST_STEP_MS: i64 = 1 << 14;

impl Reckoning {
    /// `latitude`, `longitude` and `speed` are scales.
    #[must_use]
    pub(crate) fn new(latitude: u8, longitude: u8, speed: u8) -> Self {
        let per = |position: u8| {
            (10_i128.pow(u32::from(position)) << 40) / (7_200_000 * 10_i128.pow(u32::from(speed)))
        };
        Self { north: per(latitude), east: per(longitude), minute: 10_u64.pow(u32::from(latitude)) }
    }

    /// (latitude, longitude) travelled in `ms` between two velocities, by the trapezoidal rule.
    #[must_use]
    pub(crate) fn travelled(&self, before: Velocity, now: Velocity, ms: i64, latitude: i64) -> (i64, i64) {
        let ms = i128::from(ms.clamp(0, LONGEST_STEP_MS));
        let (north_mile, east_mile) = geometry::minutes_per_mile(latitude.unsigned_abs() / self.minute);
        // 2^43 (speed) × 2^14 (time) × 2^48 (scales) × 2^20 (minutes in a mile) < 2^127
        let part = |sum: i64, rate: i128, mile: i64| {
            #[allow(clippy::cast_possible_truncation)] // below 2^53 after the shift
            let units = ((i128::from(sum) * ms * rate * i128::from(mile)) >> (16 + 40 + 16)) as i64;
            units
        };
        (
            part(before.north + now.north, self.north, north_mile),
            part(before.east + now.east, self.east, east_mile),
        )
    }
}

/// Where dead reckoning leads: the last value, the way travelled, and a quarter of what the last guess was off by.
#[must_use]
pub(crate) fn reckoned(last: i64, travelled: i64, last_residual: i64) -> i64 {
    if sane(last) && sane(last_residual) { last + travelled + (last_residual >> 2) } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_knots_north_for_a_second_is_514_centimetres() {
        let reckoning = Reckoning::new(5, 5, 3);
        let velocity = Velocity::of(10_000, 0, 36_000);
        let (north, east) = reckoning.travelled(velocity, velocity, 1000, 37 * 60 * 100_000);
        // 5.144 m over 1849.6 m a minute at 37°
        assert!((north - 278).abs() <= 1, "{north}");
        assert_eq!(east, 0);
        let eastward = Velocity::of(10_000, 9_000, 36_000);
        let (north, east) = reckoning.travelled(eastward, eastward, 1000, -60 * 60 * 100_000);
        assert!(north == 0 && (east - 554).abs() <= 2, "{east}");
    }

    #[test]
    fn extremes_neither_overflow_nor_panic() {
        for scale in 0..=9 {
            let reckoning = Reckoning::new(scale, scale, 9 - scale);
            let velocity = Velocity::of(i64::MAX, i64::MIN, 360);
            for latitude in [i64::MIN, i64::MAX, 0, 5400 * 10_i64.pow(u32::from(scale))] {
                let _ = reckoning.travelled(velocity, velocity, i64::MAX, latitude);
            }
        }
        assert_eq!(damped(i64::MAX, 5, 16), i64::MAX);
        assert_eq!(reckoned(i64::MIN, i64::MAX >> 8, 5), i64::MIN);
    }

    #[test]
    fn turns_take_the_shorter_way() {
        assert_eq!(turn(3590, 10, 3600), 20);
        assert_eq!(turn(10, 3590, 3600), -20);
        assert_eq!(turn(0, 1800, 3600), 1800);
    }
}
