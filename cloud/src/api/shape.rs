//! The JSON shapes of answers. Field names carry their units; a value that the receiver did not print is `null`.

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use serde::Serialize;
use utoipa::ToSchema;

use super::period::rfc3339;
use crate::store::{Position, VehicleSummary};

/// A billionth of a degree is 0.1 mm: more than any receiver prints, and no noise of binary numbers behind it.
const DEGREE_DECIMALS: i32 = 9;
const SPEED_DECIMALS: i32 = 4;

/// One fix as it is stored. (epoch, sequence) is its identity within its vehicle.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Position)]
pub(crate) struct PositionRow {
    /// The buffer that numbered the fix: 8 hexadecimal digits, new whenever a gateway is reflashed.
    #[schema(example = "5f3a09c1", pattern = "^[0-9a-f]{8}$")]
    pub(crate) epoch: String,
    /// The number of the fix within its epoch; numbers start at 0 and have no gaps.
    #[schema(example = 1041)]
    pub(crate) sequence: u64,
    /// GNSS time of the fix: RFC 3339, UTC, milliseconds. `null` when the receiver had no time; such a fix is
    /// sorted and selected by `received_at`.
    #[schema(format = DateTime, example = "2026-11-22T08:30:00.040Z")]
    pub(crate) time: Option<String>,
    /// Latitude in degrees, WGS 84, north positive.
    #[schema(example = 37.426393667)]
    pub(crate) lat: Option<f64>,
    /// Longitude in degrees, WGS 84, east positive.
    #[schema(example = -122.080583)]
    pub(crate) lon: Option<f64>,
    /// Altitude above mean sea level in metres.
    #[schema(example = 31.6)]
    pub(crate) alt_m: Option<f64>,
    /// Speed over ground in metres per second.
    #[schema(example = 18.52)]
    pub(crate) speed_mps: Option<f64>,
    /// Course over ground in degrees from true north, clockwise.
    #[schema(example = 271.3)]
    pub(crate) course_deg: Option<f64>,
    /// Horizontal dilution of precision, no unit.
    #[schema(example = 0.8)]
    pub(crate) hdop: Option<f64>,
    /// Satellites used in the solution.
    #[schema(example = 14)]
    pub(crate) satellites: Option<u8>,
    /// How the position was found: no_fix, gps, dgps, pps, rtk, float_rtk, dead_reckoning, manual or simulation.
    #[schema(example = "gps")]
    pub(crate) quality: &'static str,
    /// `ok`, or why the fix is doubted, joined by commas: no_fix, no_time, teleport, frozen, time_jump, jamming,
    /// spoofing, week_rollover, implausible.
    #[schema(example = "ok")]
    pub(crate) verdict: String,
    /// Whether the ignition was on; `null` when the gateway has no inputs wired, or did not know.
    #[schema(example = true)]
    pub(crate) ignition: Option<bool>,
    /// Digital inputs, bit by bit: bit 0 is the ignition, bits 1 and up the gateway's `sensors.inputs` in their order.
    #[schema(example = 5)]
    pub(crate) inputs: Option<u16>,
    /// Metres driven in all, where the gateway has an odometer.
    #[schema(example = 184_230_117)]
    pub(crate) odometer_m: Option<u64>,
    /// Vertical dilution of precision; `null` unless the gateway sends it.
    #[schema(example = 1.15)]
    pub(crate) vdop: Option<f64>,
    /// Position (3D) dilution of precision; `null` unless the gateway sends it.
    #[schema(example = 1.4)]
    pub(crate) pdop: Option<f64>,
    /// Satellites in view, used or not; `null` unless the gateway sends it.
    #[schema(example = 21)]
    pub(crate) satellites_in_view: Option<u8>,
    /// `none`, `2d` or `3d`; `null` unless the gateway sends it.
    #[schema(example = "3d")]
    pub(crate) fix_mode: Option<&'static str>,
    /// When the cloud received the fix: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime, example = "2026-11-22T08:30:04.611Z")]
    pub(crate) received_at: String,
}

impl From<&Position> for PositionRow {
    fn from(position: &Position) -> Self {
        let fix = &position.fix;
        Self {
            epoch: position.epoch.to_string(),
            sequence: position.sequence,
            time: fix.time.and_then(rfc3339),
            lat: fix.latitude_degrees().map(|degrees| rounded(degrees, DEGREE_DECIMALS)),
            lon: fix.longitude_degrees().map(|degrees| rounded(degrees, DEGREE_DECIMALS)),
            alt_m: fix.altitude_metres(),
            speed_mps: fix.speed_mps().map(|speed| rounded(speed, SPEED_DECIMALS)),
            course_deg: fix.course_degrees(),
            hdop: fix.hdop.map(avl_shared::fix::Decimal::to_f64),
            satellites: fix.satellites,
            quality: fix.quality.name(),
            verdict: fix.verdict.label(),
            ignition: fix.inputs.map(|inputs| inputs & 1 == 1),
            inputs: fix.inputs,
            odometer_m: fix.odometer,
            vdop: fix.vdop.map(avl_shared::fix::Decimal::to_f64),
            pdop: fix.pdop.map(avl_shared::fix::Decimal::to_f64),
            satellites_in_view: fix.in_view,
            fix_mode: fix.mode.map(avl_shared::fix::FixMode::name),
            received_at: written(position.received_at),
        }
    }
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let power = 10_f64.powi(decimals);
    (value * power).round() / power
}

/// The server's own clock is always within the years that can be written.
fn written(time: UtcMillis) -> String {
    rfc3339(time).unwrap_or_default()
}

/// A vehicle and the newest that is known of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vehicle)]
pub(crate) struct VehicleRow {
    #[schema(example = "acme")]
    pub(crate) fleet: String,
    #[schema(example = "truck-7")]
    pub(crate) vehicle: String,
    /// Fixes stored, each counted once.
    #[schema(example = 86400)]
    pub(crate) fixes: u64,
    /// The newest fix by time; `null` while none has arrived.
    pub(crate) latest: Option<PositionRow>,
}

impl From<&VehicleSummary> for VehicleRow {
    fn from(summary: &VehicleSummary) -> Self {
        Self {
            fleet: summary.vehicle.fleet.to_string(),
            vehicle: summary.vehicle.vehicle.to_string(),
            fixes: summary.fixes,
            latest: summary.newest.as_ref().map(PositionRow::from),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Vehicles {
    /// All vehicles, by fleet and name.
    pub(crate) vehicles: Vec<VehicleRow>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PositionPage {
    /// Ordered by (time, epoch, sequence).
    pub(crate) positions: Vec<PositionRow>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    #[schema(example = "AQAAAZ0b2_xgXzoJwQAAAAAAAAQR")]
    pub(crate) next_cursor: Option<String>,
}

/// A vehicle on the live stream: its name and the fields of its position.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveVehicle {
    #[schema(example = "acme")]
    pub(crate) fleet: String,
    #[schema(example = "truck-7")]
    pub(crate) vehicle: String,
    #[serde(flatten)]
    pub(crate) position: PositionRow,
}

impl LiveVehicle {
    pub(crate) fn new(vehicle: &VehicleKey, position: &Position) -> Self {
        Self {
            fleet: vehicle.fleet.to_string(),
            vehicle: vehicle.vehicle.to_string(),
            position: PositionRow::from(position),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::fix::{Decimal, Fix, FixMode, Quality, Verdict};
    use avl_shared::sequence::Epoch;

    #[test]
    fn a_row_has_the_agreed_names_units_and_roundings() {
        let position = Position {
            epoch: Epoch(0x5f),
            sequence: 7,
            fix: Fix {
                time: Some(1_795_336_200_040),
                latitude: Some(Decimal::new(224_558_362, 5)),
                longitude: Some(Decimal::new(-732_483_498, 5)),
                altitude: Some(Decimal::new(316, 1)),
                speed: Some(Decimal::new(125, 1)),
                course: None,
                hdop: Some(Decimal::new(80, 2)),
                satellites: Some(14),
                quality: Quality::Gps,
                verdict: Verdict::TELEPORT,
                inputs: Some(5),
                uptime: None,
                vdop: Some(Decimal::new(115, 2)),
                pdop: None,
                in_view: Some(21),
                mode: Some(FixMode::ThreeD),
                odometer: Some(184_230_117),
            },
            received_at: 1_795_336_204_611,
        };
        let json = serde_json::to_string(&PositionRow::from(&position)).unwrap();
        let expected = concat!(
            r#"{"epoch":"0000005f","sequence":7,"time":"2026-11-22T08:30:00.040Z","lat":37.426393667,"#,
            r#""lon":-122.080583,"alt_m":31.6,"speed_mps":6.4306,"course_deg":null,"hdop":0.8,"satellites":14,"#,
            r#""quality":"gps","verdict":"teleport","ignition":true,"inputs":5,"odometer_m":184230117,"vdop":1.15,"#,
            r#""pdop":null,"satellites_in_view":21,"fix_mode":"3d","received_at":"2026-11-22T08:30:04.611Z"}"#
        );
        assert_eq!(json, expected);
    }
}
