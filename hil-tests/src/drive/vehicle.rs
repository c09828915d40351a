//! A vehicle on its route: it accelerates, brakes for bends, waits at red lights and parks.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::route::{BRAKING_MPS2, Route};

/// The longest step the motion is integrated over.
const STEP_S: f64 = 0.1;
const ACCELERATION_MPS2: f64 = 1.8;
/// How fast the driver's foot follows the wish (s).
const PEDAL_S: f64 = 0.6;
/// A vehicle this slow at a stop line stands.
const STANDING_MPS: f64 = 0.3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Driving,
    /// At a light, or parked, for so many more seconds.
    Standing {
        left_s: f64,
    },
}

/// Where the vehicle really is; only the simulator knows.
#[derive(Clone, Copy, Debug)]
pub struct Motion {
    pub latitude: f64,
    pub longitude: f64,
    pub altitude_m: f64,
    pub heading_deg: f64,
    pub speed_mps: f64,
}

#[derive(Clone, Copy, Debug)]
struct Stop {
    /// Metres driven since the start, all laps counted.
    at_m: f64,
    stand_s: f64,
}

#[derive(Debug)]
pub struct Vehicle {
    route: Route,
    rng: StdRng,
    driven_m: f64,
    speed_mps: f64,
    acceleration_mps2: f64,
    phase: Phase,
    stop: Option<Stop>,
    /// How boldly this driver drives, as a factor on limits.
    temper: f64,
}

impl Vehicle {
    pub(super) fn on(route: Route, rng: &mut StdRng) -> Self {
        let mut rng = StdRng::seed_from_u64(rng.random());
        let driven_m = rng.random_range(0.0..route.length_m());
        let temper = rng.random_range(0.85..1.05);
        let mut vehicle = Self {
            route,
            rng,
            driven_m,
            speed_mps: 0.0,
            acceleration_mps2: 0.0,
            phase: Phase::Driving,
            stop: None,
            temper,
        };
        vehicle.stop = vehicle.next_stop(driven_m);
        vehicle
    }

    /// Moves on by `seconds`.
    pub fn step(&mut self, seconds: f64) -> Motion {
        let steps = (seconds / STEP_S).ceil().max(1.0);
        for _ in 0..steps as u32 {
            self.integrate(seconds / steps);
        }
        let place = self.route.at(self.driven_m);
        Motion {
            latitude: place.latitude,
            longitude: place.longitude,
            altitude_m: place.altitude_m,
            heading_deg: place.heading_deg,
            speed_mps: self.speed_mps,
        }
    }

    fn integrate(&mut self, seconds: f64) {
        if let Phase::Standing { left_s } = self.phase {
            let left_s = left_s - seconds;
            self.phase = if left_s > 0.0 { Phase::Standing { left_s } } else { Phase::Driving };
            return;
        }
        let mut wish_mps = self.route.at(self.driven_m).limit_mps * self.temper;
        if let Some(stop) = self.stop {
            let room_m = stop.at_m - self.driven_m;
            wish_mps = wish_mps.min((2.0 * BRAKING_MPS2 * room_m.max(0.0)).sqrt());
            if room_m < 1.0 && self.speed_mps < STANDING_MPS + BRAKING_MPS2 * room_m.max(0.0) + 0.5 {
                self.stand(stop);
                return;
            }
        }
        let wanted = ((wish_mps - self.speed_mps) / 1.0).clamp(-2.0 * BRAKING_MPS2, ACCELERATION_MPS2);
        self.acceleration_mps2 += (wanted - self.acceleration_mps2) * (seconds / PEDAL_S).min(1.0);
        self.speed_mps = (self.speed_mps + self.acceleration_mps2 * seconds).max(0.0);
        self.driven_m += self.speed_mps * seconds;
        if self.stop.is_some_and(|stop| self.driven_m > stop.at_m + 2.0) {
            // Overran the line (the light turned too late for it): on to the next.
            self.stop = self.next_stop(self.driven_m);
        }
    }

    fn stand(&mut self, stop: Stop) {
        self.phase = Phase::Standing { left_s: stop.stand_s };
        self.speed_mps = 0.0;
        self.acceleration_mps2 = 0.0;
        self.stop = self.next_stop(stop.at_m + 5.0);
    }

    /// The next light that will be red, or the parking place, beyond `from_m`.
    fn next_stop(&mut self, from_m: f64) -> Option<Stop> {
        let length_m = self.route.length_m();
        let lap_m = (from_m / length_m).floor() * length_m;
        let ahead = |at_m: f64| {
            if lap_m + at_m > from_m { lap_m + at_m } else { lap_m + at_m + length_m }
        };
        let mut lights: Vec<f64> = self.route.lights.iter().map(|&at_m| ahead(at_m)).collect();
        lights.sort_by(f64::total_cmp);
        let red = lights.into_iter().find(|_| self.rng.random_bool(0.45));
        let light = red.map(|at_m| Stop { at_m, stand_s: self.rng.random_range(5.0..50.0) });
        let park = Stop { at_m: ahead(self.route.parking), stand_s: self.rng.random_range(120.0..600.0) };
        let parks = self.rng.random_bool(0.6);
        match light {
            Some(light) if !parks || light.at_m < park.at_m => Some(light),
            _ => parks.then_some(park),
        }
    }
}
