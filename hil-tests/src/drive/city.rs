//! Where the simulated vehicles drive.

/// A city's centre, and how far from it the land goes on in every direction.
#[derive(Clone, Copy, Debug)]
pub struct City {
    pub name: &'static str,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Metres above mean sea level.
    pub altitude_m: f64,
    /// Routes stay within it. Short on the coast: the loops know nothing of the shore.
    pub radius_m: f64,
}

const fn city(name: &'static str, latitude: f64, longitude: f64, altitude_m: f64, radius_m: f64) -> City {
    City { name, latitude, longitude, altitude_m, radius_m }
}

/// Centres as printed on the national map (IGN), to four decimals.
pub const CITIES: &[City] = &[
    city("Madrid", 40.4168, -3.7038, 657.0, 7000.0),
    city("Zaragoza", 41.6488, -0.8891, 208.0, 4500.0),
    city("Sevilla", 37.3891, -5.9845, 11.0, 4500.0),
    city("Barcelona", 41.3990, 2.1400, 60.0, 2500.0),
    city("Valencia", 39.4720, -0.4020, 15.0, 3000.0),
    city("Bilbao", 43.2630, -2.9350, 19.0, 2500.0),
    city("Valladolid", 41.6523, -4.7245, 698.0, 4000.0),
    city("Murcia", 37.9922, -1.1307, 43.0, 4000.0),
    city("Córdoba", 37.8882, -4.7794, 106.0, 4000.0),
    city("Granada", 37.1773, -3.5986, 738.0, 3000.0),
    city("Salamanca", 40.9701, -5.6635, 802.0, 3500.0),
    city("Burgos", 42.3439, -3.6969, 859.0, 3500.0),
    city("León", 42.5987, -5.5671, 838.0, 3500.0),
    city("Albacete", 38.9943, -1.8585, 681.0, 3500.0),
    city("Pamplona", 42.8125, -1.6458, 446.0, 3000.0),
    city("Badajoz", 38.8794, -6.9707, 182.0, 3500.0),
];
