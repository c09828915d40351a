//! Distances between positions: good to half a per cent, which is all that a policy needs.

use avl_shared::fix::Fix;

/// Mean radius of the earth in metres (IUGG).
const EARTH_M: f64 = 6_371_008.8;

/// A position in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub lat: f64,
    pub lon: f64,
}

impl Place {
    /// Where the fix is, if it says so.
    #[must_use]
    pub fn of(fix: &Fix) -> Option<Self> {
        Some(Self { lat: fix.latitude_degrees()?, lon: fix.longitude_degrees()? })
    }
}

/// Metres along a great circle (haversine: exact on a sphere, also for points close together).
#[must_use]
pub fn distance_m(a: Place, b: Place) -> f64 {
    let (lat_a, lat_b) = (a.lat.to_radians(), b.lat.to_radians());
    let half_lat = ((lat_b - lat_a) / 2.0).sin();
    let half_lon = ((b.lon - a.lon).to_radians() / 2.0).sin();
    let chord = half_lat * half_lat + lat_a.cos() * lat_b.cos() * half_lon * half_lon;
    2.0 * EARTH_M * chord.sqrt().min(1.0).asin()
}

/// (east, north) in metres from `origin`, on the plane that touches the earth there. For places some tens of
/// kilometres around it; the shorter way over the date line.
#[must_use]
pub fn plane_m(origin: Place, place: Place) -> (f64, f64) {
    let turn = (place.lon - origin.lon + 540.0).rem_euclid(360.0) - 180.0;
    (
        turn.to_radians() * origin.lat.to_radians().cos() * EARTH_M,
        (place.lat - origin.lat).to_radians() * EARTH_M,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances() {
        let berlin = Place { lat: 52.5163, lon: 13.3777 };
        let paris = Place { lat: 48.8584, lon: 2.2945 };
        assert!((distance_m(berlin, paris) - 878_000.0).abs() < 3000.0, "{}", distance_m(berlin, paris));
        assert!(distance_m(berlin, berlin) < 1e-6);
        let antipode = Place { lat: -52.5163, lon: 13.3777 - 180.0 };
        assert!((distance_m(berlin, antipode) - 20_015_000.0).abs() < 2000.0);
    }

    #[test]
    fn the_plane_agrees_nearby_and_crosses_the_date_line() {
        let a = Place { lat: -17.0, lon: 179.99 };
        let b = Place { lat: -17.01, lon: -179.98 };
        let (east, north) = plane_m(a, b);
        assert!((east.hypot(north) - distance_m(a, b)).abs() < 1.0);
        assert!(east > 0.0 && north < 0.0);
    }
}
