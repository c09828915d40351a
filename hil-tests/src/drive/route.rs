//! A smooth closed loop around a city: where it goes, how fast it may be driven, where its lights are.

use rand::Rng;
use rand::rngs::StdRng;
use std::f64::consts::TAU;

use super::City;

/// Metres between two points of the loop.
const SPACING_M: f64 = 2.0;
/// What passengers bear sideways (m/s²).
const LATERAL_MPS2: f64 = 2.0;
/// Ordinary braking (m/s²).
pub(super) const BRAKING_MPS2: f64 = 1.6;
/// Metres in a degree of latitude on a sphere of 6371 km; a loop is too small for the ellipsoid to show.
const METRES_PER_DEGREE: f64 = 111_194.93;

#[derive(Clone, Copy, Debug)]
struct Point {
    east_m: f64,
    north_m: f64,
    /// Clockwise from north.
    heading_rad: f64,
    /// The fastest from which every slower place ahead can still be reached by ordinary braking.
    limit_mps: f64,
}

#[derive(Clone, Debug)]
pub struct Route {
    city: City,
    points: Vec<Point>,
    /// Metres along the loop, ascending.
    pub(super) lights: Vec<f64>,
    pub(super) parking: f64,
    hills: [(f64, f64, f64); 3],
}

/// A place on the route.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub latitude: f64,
    pub longitude: f64,
    pub altitude_m: f64,
    pub heading_deg: f64,
    pub limit_mps: f64,
}

impl Route {
    pub(super) fn around(city: &City, rng: &mut StdRng) -> Self {
        let outline = outline(city.radius_m, rng);
        let mut points = evenly_spaced(&outline);
        let length_m = points.len() as f64 * SPACING_M;
        limit_speeds(&mut points, rng);

        let mut lights = Vec::new();
        let mut next = rng.random_range(150.0..600.0);
        while next < length_m - 100.0 {
            lights.push(next);
            next += rng.random_range(250.0..1200.0);
        }
        let hills = [1.0, 2.0, 5.0]
            .map(|turns| (turns, rng.random_range(1.0..12.0) / turns, rng.random_range(0.0..TAU)));
        Self { city: *city, points, lights, parking: rng.random_range(0.0..length_m), hills }
    }

    pub(super) fn length_m(&self) -> f64 {
        self.points.len() as f64 * SPACING_M
    }

    /// The place `along_m` metres from the start; the loop closes.
    #[must_use]
    pub fn at(&self, along_m: f64) -> Place {
        let position = along_m.rem_euclid(self.length_m()) / SPACING_M;
        let index = (position as usize).min(self.points.len() - 1);
        let part = position - index as f64;
        let (a, b) = (self.points[index], self.points[(index + 1) % self.points.len()]);
        let between = |from: f64, to: f64| from + part * (to - from);
        let turn = wrapped(b.heading_rad - a.heading_rad);
        let north_m = between(a.north_m, b.north_m);
        let east_m = between(a.east_m, b.east_m);
        let angle = TAU * along_m / self.length_m();
        let hill: f64 =
            self.hills.iter().map(|(turns, height, phase)| height * (turns * angle + phase).sin()).sum();
        Place {
            latitude: self.city.latitude + north_m / METRES_PER_DEGREE,
            longitude: self.city.longitude
                + east_m / (METRES_PER_DEGREE * self.city.latitude.to_radians().cos()),
            altitude_m: self.city.altitude_m + hill,
            heading_deg: (a.heading_rad + part * turn).to_degrees().rem_euclid(360.0),
            limit_mps: between(a.limit_mps, b.limit_mps),
        }
    }
}

/// A star-shaped closed curve: a circle whose radius swells and shrinks with a few harmonics.
fn outline(radius_m: f64, rng: &mut StdRng) -> Vec<(f64, f64)> {
    const SAMPLES: usize = 20_000;
    let mean = radius_m * rng.random_range(0.2..0.6);
    let harmonics: Vec<(f64, f64, f64)> = (2..=11)
        .map(|k| {
            (f64::from(k), rng.random_range(0.0..0.45) / f64::from(k).powf(0.9), rng.random_range(0.0..TAU))
        })
        .collect();
    let direction = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    (0..SAMPLES)
        .map(|sample| {
            let angle = direction * TAU * sample as f64 / SAMPLES as f64;
            let swell: f64 = harmonics.iter().map(|(k, size, phase)| size * (k * angle + phase).sin()).sum();
            // tanh keeps the curve between 0.15 and 1.65 of its mean: it neither meets the centre nor leaves the land.
            let r = mean * (0.9 + 0.75 * swell.tanh());
            (r * angle.cos(), r * angle.sin())
        })
        .collect()
}

fn evenly_spaced(outline: &[(f64, f64)]) -> Vec<Point> {
    let mut points = Vec::new();
    let mut left = 0.0;
    for (index, &(east, north)) in outline.iter().enumerate() {
        let (next_east, next_north) = outline[(index + 1) % outline.len()];
        let (dx, dy) = (next_east - east, next_north - north);
        let step = dx.hypot(dy);
        while left < step {
            let part = left / step;
            points.push(Point {
                east_m: east + part * dx,
                north_m: north + part * dy,
                heading_rad: dx.atan2(dy),
                limit_mps: 0.0,
            });
            left += SPACING_M;
        }
        left -= step;
    }
    points
}

fn limit_speeds(points: &mut [Point], rng: &mut StdRng) {
    const KMH: f64 = 1.0 / 3.6;
    let count = points.len();
    let mut road_end = 0;
    let mut road_mps = 0.0;
    for index in 0..count {
        if index >= road_end {
            road_mps = [30.0, 50.0, 50.0, 50.0, 80.0, 100.0][rng.random_range(0..6)]
                * KMH
                * rng.random_range(0.9..1.05);
            road_end = index + rng.random_range(150..900);
        }
        // Curvature over 20 m: between neighbours the outline's own facets would show.
        let turn = wrapped(points[(index + 10) % count].heading_rad - points[index].heading_rad).abs();
        let curvature = turn / (10.0 * SPACING_M);
        points[index].limit_mps = road_mps.min((LATERAL_MPS2 / curvature.max(1e-6)).sqrt());
    }
    // Twice around, backwards: the loop closes, so the braking for its first places starts at its end.
    for index in (0..2 * count).rev() {
        let ahead = points[(index + 1) % count].limit_mps;
        let braked = (ahead * ahead + 2.0 * BRAKING_MPS2 * SPACING_M).sqrt();
        let here = &mut points[index % count].limit_mps;
        *here = here.min(braked);
    }
}

fn wrapped(angle_rad: f64) -> f64 {
    (angle_rad + TAU / 2.0).rem_euclid(TAU) - TAU / 2.0
}
