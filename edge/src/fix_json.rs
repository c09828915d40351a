//! A fix as the JSON object that `decode` and `buffer` print and the cloud's API gives.

use avl_shared::fix::Fix;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};

/// A fix in units that people use. `time` is RFC 3339 to the millisecond, `lat` and `lon` are degrees to 9 decimals (a
/// tenth of a millimetre), `speed_mps` has 4 decimals; null is what the receiver did not print.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FixRow {
    pub time: Option<String>,
    pub lat: Option<f64>,
    pub lon: Option<f64>,
    pub alt_m: Option<f64>,
    pub speed_mps: Option<f64>,
    pub course_deg: Option<f64>,
    pub hdop: Option<f64>,
    pub satellites: Option<u8>,
    pub quality: &'static str,
    pub verdict: String,
}

impl From<&Fix> for FixRow {
    fn from(fix: &Fix) -> Self {
        let time = fix.time.and_then(DateTime::<Utc>::from_timestamp_millis);
        Self {
            time: time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            lat: fix.latitude_degrees().map(|degrees| rounded(degrees, 1e9)),
            lon: fix.longitude_degrees().map(|degrees| rounded(degrees, 1e9)),
            alt_m: fix.altitude_metres(),
            speed_mps: fix.speed_mps().map(|speed| rounded(speed, 1e4)),
            course_deg: fix.course_degrees(),
            hdop: fix.hdop.map(avl_shared::fix::Decimal::to_f64),
            satellites: fix.satellites,
            quality: fix.quality.name(),
            verdict: fix.verdict.label(),
        }
    }
}

/// The same as a value, for documents that hold a fix among other things.
#[must_use]
pub fn fix_json(fix: &Fix) -> Value {
    json!(FixRow::from(fix))
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::fix::{Decimal, Quality};

    #[test]
    fn every_field_has_its_name_unit_and_rounding() {
        let fix = Fix {
            time: Some(1_700_000_000_250),
            latitude: Some(Decimal::new(224_558_362, 5)),
            longitude: Some(Decimal::new(-7_325_123_456, 6)),
            altitude: Some(Decimal::new(-35, 1)),
            speed: Some(Decimal::new(1, 0)),
            course: Some(Decimal::new(3600, 1)),
            hdop: Some(Decimal::new(9, 1)),
            satellites: Some(12),
            quality: Quality::Dgps,
            ..Fix::default()
        };
        let expected = r#"{"alt_m":-3.5,"course_deg":360.0,"hdop":0.9,"lat":37.426393667,"lon":-122.085390933,"quality":"dgps","satellites":12,"speed_mps":0.5144,"time":"2023-11-14T22:13:20.250Z","verdict":"ok"}"#;
        assert_eq!(fix_json(&fix), serde_json::from_str::<Value>(expected).unwrap());
    }

    #[test]
    fn what_was_not_printed_is_null() {
        let json = fix_json(&Fix::default());
        for field in ["time", "lat", "lon", "alt_m", "speed_mps", "course_deg", "hdop", "satellites"] {
            assert_eq!(json.get(field), Some(&Value::Null), "{field}");
        }
    }
}
