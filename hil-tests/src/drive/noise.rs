//! What the receiver makes of the truth: its errors are filtered, so they wander rather than jump.

use avl_shared::fix::{Decimal, Quality, UtcMillis};
use rand::Rng;
use rand::rngs::StdRng;

use super::Reading;
use super::random::{Drift, normal};
use super::vehicle::Motion;

const METRES_PER_DEGREE: f64 = 111_194.93;
const KNOTS_PER_MPS: f64 = 3600.0 / 1852.0;
/// Below it receivers hold the last course instead of printing noise.
const COURSE_HOLD_MPS: f64 = 0.5;

#[derive(Debug)]
pub(super) struct Receiver {
    rng: StdRng,
    east: Drift,
    north: Drift,
    up: Drift,
    speed: Drift,
    course: Drift,
    sky: Drift,
    held_course_deg: f64,
}

impl Receiver {
    pub(super) fn new(mut rng: StdRng) -> Self {
        // Open-sky error of a single-frequency receiver with SBAS: about 1.5 m across, twice that in height,
        // correlated over a minute or two.
        Self {
            east: Drift::new(1.2, 90.0, &mut rng),
            north: Drift::new(1.2, 90.0, &mut rng),
            up: Drift::new(2.5, 120.0, &mut rng),
            speed: Drift::new(0.03, 2.0, &mut rng),
            course: Drift::new(1.0, 3.0, &mut rng),
            sky: Drift::new(1.0, 300.0, &mut rng),
            held_course_deg: 0.0,
            rng,
        }
    }

    pub(super) fn read(&mut self, motion: &Motion, time: UtcMillis, seconds: f64) -> Reading {
        let rng = &mut self.rng;
        let standing = motion.speed_mps < 0.05;
        // A standing receiver knows it: its filter lets less through.
        let pace = if standing { seconds / 10.0 } else { seconds };
        let north_m = self.north.step(pace, rng) + 0.01 * normal(rng);
        let east_m = self.east.step(pace, rng) + 0.01 * normal(rng);
        let up_m = self.up.step(pace, rng);
        let doppler = self.speed.step(seconds, rng) * if standing { 0.3 } else { 1.0 };
        let speed_mps = (motion.speed_mps + doppler).abs();

        let wobble = self.course.step(seconds, rng) / speed_mps.max(1.0);
        if speed_mps > COURSE_HOLD_MPS {
            self.held_course_deg = (motion.heading_deg + wobble).rem_euclid(360.0);
        }

        let sky = self.sky.step(seconds, rng);
        let satellites = (11.0 + 1.5 * sky).round().clamp(6.0, 12.0) as u8;
        let hdop = 0.72 + 0.05 * f64::from(12 - satellites) + 0.005 * rng.random::<f64>();
        let degrees_east = east_m / (METRES_PER_DEGREE * motion.latitude.to_radians().cos());
        Reading {
            time,
            latitude: printed((motion.latitude + north_m / METRES_PER_DEGREE) * 60.0, 5),
            longitude: printed((motion.longitude + degrees_east) * 60.0, 5),
            altitude: printed(motion.altitude_m + up_m, 1),
            speed: printed(speed_mps * KNOTS_PER_MPS, 3),
            // 359.996 is printed as 0.00, as receivers do.
            course: wrapped_course(printed(self.held_course_deg, 2)),
            hdop: printed(hdop, 2),
            satellites,
            quality: if sky > -1.2 { Quality::Dgps } else { Quality::Gps },
        }
    }
}

fn printed(value: f64, decimals: u8) -> Decimal {
    let scaled = value * 10_f64.powi(i32::from(decimals));
    Decimal::new(scaled.round() as i64, decimals)
}

fn wrapped_course(course: Decimal) -> Decimal {
    if course.mantissa() >= 36_000 { Decimal::new(0, 2) } else { course }
}
