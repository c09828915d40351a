//! A simulated drive: a route, a vehicle on it, and the receiver that looks at the sky from its roof.
//!
//! Everything is seeded: the same seed gives the same drive to the last printed digit. What comes out are
//! [`Reading`]s, the decimals a receiver prints at one instant; [`crate::receiver`] turns them into NMEA and
//! [`crate::fleet`] into fixes. The model serves realistic shapes (filtered noise, braking, standstill),
//! not realistic traffic.

mod city;
mod noise;
mod random;
mod reading;
mod route;
mod vehicle;

pub use city::{CITIES, City};
pub use reading::Reading;
pub use route::Route;
pub use vehicle::{Motion, Vehicle};

use avl_shared::fix::UtcMillis;
use rand::SeedableRng;
use rand::rngs::StdRng;

use noise::Receiver;

/// An endless drive around one city. Iterating moves the time on by one period of the receiver.
#[derive(Debug)]
pub struct Drive {
    vehicle: Vehicle,
    receiver: Receiver,
    time: UtcMillis,
    period_ms: u32,
}

impl Drive {
    /// A vehicle somewhere on a loop around `city`, read `rate_hz` times a second (1 to 10) from `start` on.
    #[must_use]
    pub fn new(city: &City, seed: u64, start: UtcMillis, rate_hz: u32) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let route = Route::around(city, &mut rng);
        let vehicle = Vehicle::on(route, &mut rng);
        let receiver = Receiver::new(rng);
        Self { vehicle, receiver, time: start, period_ms: 1000 / rate_hz.clamp(1, 10) }
    }

    /// A drive around a city that the seed chooses.
    #[must_use]
    pub fn seeded(seed: u64, start: UtcMillis, rate_hz: u32) -> Self {
        let chosen = usize::try_from(seed % CITIES.len() as u64).unwrap_or(0);
        Self::new(&CITIES[chosen], seed, start, rate_hz)
    }

    #[must_use]
    pub fn period_ms(&self) -> u32 {
        self.period_ms
    }
}

impl Iterator for Drive {
    type Item = Reading;

    fn next(&mut self) -> Option<Reading> {
        let seconds = f64::from(self.period_ms) / 1000.0;
        let motion = self.vehicle.step(seconds);
        let reading = self.receiver.read(&motion, self.time, seconds);
        self.time += i64::from(self.period_ms);
        Some(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UtcMillis = 1_790_000_000_000;

    #[test]
    fn the_same_seed_gives_the_same_drive_and_another_seed_another() {
        let drive = |seed| Drive::seeded(seed, START, 1).take(500).collect::<Vec<_>>();
        assert_eq!(drive(7), drive(7));
        assert_ne!(drive(7), drive(8));
    }

    #[test]
    fn vehicles_move_like_vehicles_and_stand_still_at_times() {
        let (mut moving, mut standing) = (0, 0);
        for seed in 0..20 {
            let fixes: Vec<_> =
                Drive::seeded(seed, START, 1).take(1800).map(|reading| reading.fix()).collect();
            for pair in fixes.windows(2) {
                let (a, b) = (&pair[0], &pair[1]);
                let (from, to) = (a.speed_mps().unwrap(), b.speed_mps().unwrap());
                assert!((to - from).abs() < 4.0, "seed {seed}: {from} m/s to {to} m/s within a second");
                assert!(to < 36.0, "seed {seed}: {to} m/s");
                let north = (b.latitude_degrees().unwrap() - a.latitude_degrees().unwrap()) * 111_195.0;
                let east = (b.longitude_degrees().unwrap() - a.longitude_degrees().unwrap())
                    * 111_195.0
                    * a.latitude_degrees().unwrap().to_radians().cos();
                let driven = north.hypot(east);
                assert!(
                    (driven - f64::midpoint(from, to)).abs() < 2.0,
                    "seed {seed}: {driven} m at {from} to {to} m/s"
                );
                if to > 3.0 { moving += 1 } else { standing += 1 }
            }
        }
        assert!(moving > standing && standing > 500, "{moving} moving, {standing} standing");
    }

    #[test]
    fn every_city_keeps_its_vehicles_near() {
        for city in CITIES {
            let mut drive = Drive::new(city, 3, START, 1);
            for reading in drive.by_ref().take(3600).step_by(60) {
                let fix = reading.fix();
                let north = (fix.latitude_degrees().unwrap() - city.latitude) * 111_195.0;
                let east = (fix.longitude_degrees().unwrap() - city.longitude)
                    * 111_195.0
                    * city.latitude.to_radians().cos();
                assert!(
                    north.hypot(east) < city.radius_m * 1.1,
                    "{}: {north} m north, {east} m east",
                    city.name
                );
            }
        }
    }

    #[test]
    fn ten_hertz_prints_ten_instants_a_second() {
        let times: Vec<_> = Drive::seeded(1, START, 10).take(11).map(|reading| reading.time).collect();
        assert_eq!(times[10] - times[0], 1000);
        assert_eq!(times[1] - times[0], 100);
    }
}
