//! What a receiver says at one instant.

use avl_shared::fix::{Decimal, Fix, Quality, UtcMillis};

/// The decimals that are printed, in the units that NMEA prints them in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub time: UtcMillis,
    /// Arc-minutes, north positive.
    pub latitude: Decimal,
    /// Arc-minutes, east positive.
    pub longitude: Decimal,
    /// Metres above mean sea level.
    pub altitude: Decimal,
    /// Knots.
    pub speed: Decimal,
    /// Degrees from true north.
    pub course: Decimal,
    pub hdop: Decimal,
    pub satellites: u8,
    pub quality: Quality,
}

impl Reading {
    /// The fix that an agent makes of it.
    #[must_use]
    pub fn fix(&self) -> Fix {
        Fix {
            time: Some(self.time),
            latitude: Some(self.latitude),
            longitude: Some(self.longitude),
            altitude: Some(self.altitude),
            speed: Some(self.speed),
            course: Some(self.course),
            hdop: Some(self.hdop),
            satellites: Some(self.satellites),
            quality: self.quality,
            ..Fix::default()
        }
    }
}
