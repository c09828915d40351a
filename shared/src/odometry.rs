//! How far a vehicle travels between two fixes, by its printed speeds.
//!
//! The gateway's odometer and the batch's prediction of it share this, so that the prediction is off by a rounding at
//! most. Integers only: every platform computes the same.

/// Below this a receiver at rest prints noise as speed (one knot, 0.51 m/s); it must not add up to kilometres.
pub const STANDING_BELOW_KNOTS: i64 = 1;

/// A longer step is not bridged by speed.
pub const LONGEST_STEP_MS: i64 = 1 << 14;

/// Faster is not a vehicle; the bound keeps every product far inside 128 bits.
const FASTEST: i64 = 1 << 40;

/// Micrometres between two fixes `ms` apart, by the trapezoidal rule: speeds in knots at `scale` decimals (0 to 9),
/// the step cut to [`LONGEST_STEP_MS`]. Nothing when both are slower than [`STANDING_BELOW_KNOTS`].
#[must_use]
pub fn travelled_um(before: i64, now: i64, scale: u8, ms: i64) -> i64 {
    let knot = 10_i64.pow(u32::from(scale.min(9)));
    let standing = STANDING_BELOW_KNOTS * knot;
    if before < standing && now < standing {
        return 0;
    }
    let speeds = i128::from(before.clamp(0, FASTEST)) + i128::from(now.clamp(0, FASTEST));
    // A knot is 1852 m an hour: 1852/3600 µm in a microsecond; half, because of two speeds.
    let um = speeds * i128::from(ms.clamp(0, LONGEST_STEP_MS)) * 1_852_000 / (7200 * i128::from(knot));
    #[allow(clippy::cast_possible_truncation)] // 2^41 · 2^14 · 2^21 / 2^12 < 2^64; the clamp makes it sure
    let um = um.min(i128::from(i64::MAX)) as i64;
    um
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_at_ten_knots_is_18520_metres_at_any_scale() {
        for scale in 0..=9 {
            let speed = 10 * 10_i64.pow(u32::from(scale));
            let metres = 3600 * travelled_um(speed, speed, scale, 1000) / 1_000_000;
            assert!((18_519..=18_520).contains(&metres), "{scale}: {metres}");
        }
    }

    #[test]
    fn standing_noise_goes_nowhere_and_setting_off_counts() {
        assert_eq!(travelled_um(99, 99, 2, 1000), 0);
        assert!(travelled_um(99, 100, 2, 1000) > 0);
    }

    #[test]
    fn wild_values_neither_overflow_nor_go_backwards() {
        for speed in [i64::MIN, -5, 0, i64::MAX] {
            for ms in [i64::MIN, 0, i64::MAX] {
                assert!(travelled_um(speed, i64::MAX, 0, ms) >= 0);
            }
        }
    }
}
