//! NMEA 0183 v4.10 as a u-blox receiver of the ninth generation prints it: RMC, VTG, GGA, GSA and GSV for each
//! constellation, GLL, in this order, each with its checksum.
//!
//! Source of the field layouts: u-blox F9 interface description, UBX-19010855, chapter "NMEA protocol".

use std::fmt::Write as _;

use avl_shared::fix::{Decimal, Quality, UtcMillis};
use chrono::{DateTime, Timelike as _, Utc};

use crate::drive::Reading;

/// A GSV sentence describes this many satellites.
const PER_GSV: usize = 4;
const KMH_PER_KNOT: f64 = 1.852;

struct Constellation {
    talker: &'static str,
    system: u8,
    signal: u8,
    numbers: &'static [u16],
}

const CONSTELLATIONS: [Constellation; 2] = [
    Constellation { talker: "GP", system: 1, signal: 1, numbers: &[2, 6, 12, 15, 17, 19, 24, 25, 28] },
    Constellation { talker: "GL", system: 2, signal: 1, numbers: &[65, 72, 73, 74, 80, 82, 83] },
];

/// All sentences of one instant.
#[must_use]
pub fn print(reading: &Reading) -> Vec<u8> {
    let instant = DateTime::<Utc>::from_timestamp_millis(reading.time).unwrap_or_default();
    let time = format!(
        "{:02}{:02}{:02}.{:02}",
        instant.hour(),
        instant.minute(),
        instant.second(),
        instant.timestamp_subsec_millis() / 10
    );
    let date = instant.format("%d%m%y");
    let latitude = angle(reading.latitude, 2, 'N', 'S');
    let longitude = angle(reading.longitude, 3, 'E', 'W');
    let Reading { altitude, speed, course, hdop, satellites, .. } = reading;
    let mode = match reading.quality {
        Quality::NoFix => 'N',
        Quality::Dgps => 'D',
        Quality::Rtk => 'R',
        Quality::FloatRtk => 'F',
        Quality::DeadReckoning => 'E',
        _ => 'A',
    };
    let status = if reading.quality == Quality::NoFix { 'V' } else { 'A' };
    let quality = reading.quality.code();
    let kmh = speed.to_f64() * KMH_PER_KNOT;

    let mut out = Vec::with_capacity(1400);
    push(
        &mut out,
        &format!("GNRMC,{time},{status},{latitude},{longitude},{speed},{course},{date},,,{mode},V"),
    );
    push(&mut out, &format!("GNVTG,{course},T,,M,{speed},N,{kmh:.3},K,{mode}"));
    push(
        &mut out,
        &format!(
            "GNGGA,{time},{latitude},{longitude},{quality},{satellites:02},{hdop},{altitude},M,51.2,M,,"
        ),
    );
    for constellation in &CONSTELLATIONS {
        push(&mut out, &active(constellation, reading));
    }
    for constellation in &CONSTELLATIONS {
        in_view(&mut out, constellation, reading.time);
    }
    push(&mut out, &format!("GNGLL,{latitude},{longitude},{time},{status},{mode}"));
    out
}

/// GSA: the satellites used, and the dilution of precision.
fn active(constellation: &Constellation, reading: &Reading) -> String {
    // The GGA count is of all constellations; two thirds of them are GPS here.
    let used = usize::from(reading.satellites);
    let share = if constellation.system == 1 { used - used / 3 } else { used / 3 };
    let hdop = reading.hdop.to_f64();
    let mut body = String::from("GNGSA,A,3");
    for slot in 0..12 {
        match constellation.numbers.get(slot).filter(|_| slot < share) {
            Some(number) => {
                let _ = write!(body, ",{number:02}");
            }
            None => body.push(','),
        }
    }
    let (vdop, pdop) = (hdop * 1.5, hdop * 1.8);
    let _ = write!(body, ",{pdop:.2},{},{vdop:.2},{}", reading.hdop, constellation.system);
    body
}

/// GSV: the satellites in view. They circle slowly, and those higher up are heard better.
fn in_view(out: &mut Vec<u8>, constellation: &Constellation, time: UtcMillis) {
    let hours = time as f64 / 3_600_000.0;
    let total = constellation.numbers.len().div_ceil(PER_GSV);
    for (index, group) in constellation.numbers.chunks(PER_GSV).enumerate() {
        let count = constellation.numbers.len();
        let mut body = format!("{}GSV,{total},{},{count:02}", constellation.talker, index + 1);
        for &number in group {
            let phase = f64::from(number) * 0.7 + hours * std::f64::consts::TAU / 11.97;
            let elevation = 45.0 + 40.0 * phase.sin();
            let azimuth = (f64::from(number) * 47.0 + hours * 15.0).rem_euclid(360.0);
            let strength = 28.0 + elevation / 4.0 + 2.0 * (phase * 37.0).sin();
            let _ = write!(body, ",{number:02},{elevation:02.0},{:03.0},{strength:02.0}", azimuth.floor());
        }
        let _ = write!(body, ",{}", constellation.signal);
        push(out, &body);
    }
}

/// `dddmm.mmmmm,H` of arc-minutes.
fn angle(minutes: Decimal, degree_digits: usize, positive: char, negative: char) -> String {
    let hemisphere = if minutes.mantissa() < 0 { negative } else { positive };
    let unit = 10_u64.pow(u32::from(minutes.scale()));
    let magnitude = minutes.mantissa().unsigned_abs();
    let (degrees, rest) = (magnitude / (60 * unit), magnitude % (60 * unit));
    let decimals = usize::from(minutes.scale());
    format!("{degrees:0degree_digits$}{:02}.{:0decimals$},{hemisphere}", rest / unit, rest % unit)
}

/// Appends `$body*checksum` and a line end.
pub fn push(out: &mut Vec<u8>, body: &str) {
    let checksum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    out.extend(format!("${body}*{checksum:02X}\r\n").into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Drive;
    use crate::oracle::truth;

    #[test]
    fn the_sentences_are_the_ones_a_receiver_prints() {
        let reading = Reading {
            time: 1_790_087_045_300,
            latitude: Decimal::new(-60_123_456, 5),
            longitude: Decimal::new(-30_000, 5),
            altitude: Decimal::new(-125, 1),
            speed: Decimal::new(10_000, 3),
            course: Decimal::new(999, 2),
            hdop: Decimal::new(72, 2),
            satellites: 9,
            quality: Quality::Dgps,
        };
        let text = String::from_utf8(print(&reading)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "$GNRMC,142405.30,A,1001.23456,S,00000.30000,W,10.000,9.99,220926,,,D,V*35");
        assert_eq!(lines[1], "$GNVTG,9.99,T,,M,10.000,N,18.520,K,D*20");
        assert_eq!(lines[2], "$GNGGA,142405.30,1001.23456,S,00000.30000,W,2,09,0.72,-12.5,M,51.2,M,,*5F");
        assert!(lines[3].starts_with("$GNGSA,A,3,02,06,12,15,17,19,,,,,,,1.30,0.72,1.08,1*"), "{}", lines[3]);
        assert!(lines.last().unwrap().starts_with("$GNGLL,1001.23456,S,00000.30000,W,142405.30,A,D*"));
        assert!(
            lines.iter().all(|line| line.len() <= 80),
            "NMEA 0183 allows 82 characters with the line end"
        );
    }

    #[test]
    fn the_independent_parser_reads_back_every_digit() {
        for reading in Drive::seeded(9, 1_790_000_000_000, 10).take(2000) {
            let truth = truth::read(&print(&reading));
            assert_eq!(truth.len(), 1);
            truth[0].agrees_with_fix(&reading.fix()).unwrap();
        }
    }
}
