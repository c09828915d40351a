//! A report of gpsd, as the sentences that say the same.
//!
//! gpsd's TPV has time, place and motion, its SKY the satellites and dilutions (gpsd_json(5)). Written as RMC, GGA and
//! GSA they pass the same checks and get the same verdicts as a receiver's own. Degrees come with nine decimals and
//! become arc-minutes exactly; metres a second become knots with three decimals.

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// 1 m/s in knots: 3600 s / 1852 m.
const KNOTS_PER_MPS: f64 = 3600.0 / 1852.0;

#[derive(Debug, Deserialize)]
#[serde(tag = "class")]
enum Report {
    #[serde(rename = "TPV")]
    Tpv(Tpv),
    #[serde(rename = "SKY")]
    Sky(SkyReport),
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Tpv {
    mode: u8,
    status: Option<u8>,
    time: Option<DateTime<Utc>>,
    lat: Option<f64>,
    lon: Option<f64>,
    #[serde(rename = "altMSL")]
    alt_msl: Option<f64>,
    /// Before gpsd 3.20, above mean sea level.
    alt: Option<f64>,
    /// Metres a second.
    speed: Option<f64>,
    track: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct SkyReport {
    hdop: Option<f64>,
    vdop: Option<f64>,
    pdop: Option<f64>,
    #[serde(default)]
    satellites: Vec<SkySatellite>,
}

#[derive(Clone, Debug, Deserialize)]
struct SkySatellite {
    used: bool,
}

/// Remembers the dilutions of the last SKY for the next TPV.
#[derive(Debug, Default)]
pub(super) struct Reports {
    sky: SkyReport,
}

impl Reports {
    /// The sentences of a report, if it is a TPV.
    pub(super) fn read(&mut self, line: &[u8]) -> Option<String> {
        match serde_json::from_slice(line).ok()? {
            Report::Tpv(tpv) => Some(self.sentences(&tpv)),
            // gpsd sends a SKY without satellites that has dilutions, and one with them that has none.
            Report::Sky(sky) => {
                let SkyReport { hdop, vdop, pdop, satellites } = sky;
                self.sky.hdop = hdop.or(self.sky.hdop);
                self.sky.vdop = vdop.or(self.sky.vdop);
                self.sky.pdop = pdop.or(self.sky.pdop);
                if !satellites.is_empty() {
                    self.sky.satellites = satellites;
                }
                None
            }
            Report::Other => None,
        }
    }

    fn sentences(&self, tpv: &Tpv) -> String {
        let located = tpv.mode >= 2 && tpv.lat.is_some() && tpv.lon.is_some();
        let time = tpv.time.map(|time| time.format("%H%M%S%.3f").to_string()).unwrap_or_default();
        let date = tpv.time.map(|time| time.format("%d%m%y").to_string()).unwrap_or_default();
        let place = match (tpv.lat, tpv.lon) {
            (Some(latitude), Some(longitude)) if located => {
                format!("{},{}", angle(latitude, 2, ["N", "S"]), angle(longitude, 3, ["E", "W"]))
            }
            _ => ",,,".to_owned(),
        };
        let (quality, mode) = if located { quality(tpv.status) } else { (0, 'N') };
        let status = if located { 'A' } else { 'V' };
        let number = |value: Option<f64>, decimals: usize| {
            value
                .filter(|value| value.is_finite())
                .map(|value| format!("{value:.decimals$}"))
                .unwrap_or_default()
        };
        let knots = number(tpv.speed.map(|speed| speed * KNOTS_PER_MPS), 3);
        let course = number(tpv.track, 4);
        let altitude = number(tpv.alt_msl.or(tpv.alt), 3);
        let SkyReport { hdop, vdop, pdop, satellites } = &self.sky;
        let used = satellites.iter().filter(|satellite| satellite.used).count();
        let used = if satellites.is_empty() { String::new() } else { format!("{used:02}") };
        let fix = tpv.mode.clamp(1, 3);
        let [hdop, vdop, pdop] = [hdop, vdop, pdop].map(|dilution| number(*dilution, 2));
        [
            format!("GNRMC,{time},{status},{place},{knots},{course},{date},,,{mode}"),
            format!("GNGGA,{time},{place},{quality},{used},{hdop},{altitude},M,,M,,"),
            format!("GNGSA,A,{fix},,,,,,,,,,,,,{pdop},{hdop},{vdop}"),
        ]
        .iter()
        .map(|body| {
            let checksum = body.bytes().fold(0, |sum, byte| sum ^ byte);
            format!("${body}*{checksum:02X}\r\n")
        })
        .collect()
    }
}

/// GGA's quality and RMC's mode for a `status` of gpsd (gpsd_json(5), TPV).
const fn quality(status: Option<u8>) -> (u8, char) {
    match status {
        Some(2) => (2, 'D'),
        Some(3) => (4, 'R'),
        Some(4) => (5, 'F'),
        Some(5 | 6) => (6, 'E'),
        Some(8) => (8, 'S'),
        Some(9) => (3, 'P'),
        _ => (1, 'A'),
    }
}

/// `dddmm.mmmmmmmmm,H` of degrees with nine decimals, exactly: minutes are degrees times 60, an integer.
#[allow(clippy::cast_possible_truncation)] // |degrees| <= 180 times 1e9 fits; whatever else saturates, and is refused later
fn angle(degrees: f64, degree_digits: usize, [positive, negative]: [&str; 2]) -> String {
    const UNIT: i64 = 1_000_000_000;
    let nano_minutes = ((degrees * UNIT as f64).round() as i64).saturating_mul(60);
    let size = nano_minutes.saturating_abs();
    let (whole, rest) = (size / (60 * UNIT), size % (60 * UNIT));
    let hemisphere = if nano_minutes < 0 { negative } else { positive };
    format!("{whole:0degree_digits$}{:02}.{:09},{hemisphere}", rest / UNIT, rest % UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::{Observation, Receiver};
    use avl_shared::fix::FixMode;
    use avl_shared::fix::{Quality, Verdict};

    const SKY: &str = r#"{"class":"SKY","device":"/dev/ttyS0","hdop":0.9,"vdop":1.1,"pdop":1.42,"satellites":[{"PRN":5,"el":40.0,"az":120.0,"ss":42.0,"used":true},{"PRN":7,"used":false}]}"#;
    const TPV: &str = r#"{"class":"TPV","device":"/dev/ttyS0","status":2,"mode":3,"time":"2026-11-24T12:34:56.250Z","ept":0.005,"lat":-37.426393667,"lon":179.999999999,"altHAE":20.0,"altMSL":-3.25,"track":12.3456,"speed":10.0,"climb":0.1}"#;

    fn read(lines: &[&str]) -> Vec<Observation> {
        let (mut reports, mut receiver, mut all) = (Reports::default(), Receiver::recorded(), Vec::new());
        for line in lines {
            if let Some(sentences) = reports.read(line.as_bytes()) {
                receiver.push(sentences.as_bytes(), None, |observation| all.push(observation));
            }
        }
        receiver.finish(None, |observation| all.push(observation));
        assert_eq!(receiver.counts().bad_checksums + receiver.counts().malformed, 0);
        all
    }

    #[test]
    fn a_report_becomes_a_fix_with_all_its_digits() {
        let all = read(&[SKY, TPV]);
        assert_eq!(all.len(), 1);
        let fix = &all[0].fix;
        assert_eq!(fix.time, Some(1_795_523_696_250));
        assert_eq!(fix.latitude.unwrap().to_string(), "-2245.583620020");
        assert_eq!(fix.longitude.unwrap().to_string(), "10799.999999940");
        assert_eq!(fix.altitude.unwrap().to_string(), "-3.250");
        assert_eq!(
            (fix.speed.unwrap().to_string(), fix.course.unwrap().to_string()),
            ("19.438".into(), "12.3456".into())
        );
        assert_eq!((fix.satellites, fix.quality, fix.verdict), (Some(1), Quality::Dgps, Verdict::empty()));
        assert_eq!(all[0].extras.mode, Some(FixMode::ThreeD));
        assert_eq!(all[0].extras.pdop.unwrap().to_string(), "1.42");
    }

    #[test]
    fn a_report_without_a_fix_is_a_lost_fix_and_keeps_no_place() {
        let lost = r#"{"class":"TPV","mode":1,"time":"2026-11-24T12:34:57.000Z","lat":37.0,"lon":-122.0}"#;
        let all = read(&[TPV, lost]);
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].fix.latitude, all[1].fix.verdict), (None, Verdict::NO_FIX));
    }

    #[test]
    fn whatever_else_gpsd_says_is_ignored_and_nonsense_harms_nothing() {
        let mut reports = Reports::default();
        for line in [
            r#"{"class":"VERSION","release":"3.22"}"#,
            r#"{"class":"TPV"}"#,
            r#"{"class":"TPV","mode":"three"}"#,
            r#"{"class":"TPV","mode":999}"#,
            "{",
            "{}",
            "",
        ] {
            assert_eq!(reports.read(line.as_bytes()), None, "{line}");
        }
        let far = r#"{"class":"TPV","mode":3,"time":"2026-11-24T12:34:56Z","lat":1e300,"lon":-1e300,"speed":1e300}"#;
        let all = read(&[far]);
        assert!(all[0].fix.latitude.is_none() && all[0].fix.verdict.contains(Verdict::IMPLAUSIBLE));
    }
}
