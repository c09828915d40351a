//! The real logs, against an oracle that shares no code with what it judges.

use std::collections::HashSet;
use std::path::PathBuf;

use avl_shared::fix::{Decimal, Fix};
use chrono::DateTime;
use proptest::prelude::*;

use super::testing::{checksum, observe};
use super::{Counts, Observation, Receiver};

const URBAN: &str = "urban-ublox-f9k-1hz.nmea";
const HIGHWAY: &str = "highway-garmin-2s.nmea";
const MOORED: &str = "moored-boat-1hz.nmea";
pub(super) const ALL: [&str; 3] = [URBAN, HIGHWAY, MOORED];

pub(super) fn read(name: &str) -> Option<Vec<u8>> {
    let beside_the_project = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/nmea");
    let folder = std::env::var_os("AVL_TEST_DATA").map_or_else(beside_the_project, PathBuf::from);
    let log = std::fs::read(folder.join(name)).ok();
    if log.is_none() {
        let absent = format!("no {name} in {} (set AVL_TEST_DATA)", folder.display());
        assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{absent}");
        eprintln!("SKIPPED: {absent}");
    }
    log
}

/// Bodies of the lines that are a sentence with a right checksum.
fn bodies(log: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(log)
        .lines()
        .filter_map(|line| {
            let (body, printed) = line.trim().strip_prefix('$')?.rsplit_once('*')?;
            (u8::from_str_radix(printed, 16).ok()? == checksum(body)).then(|| body.to_owned())
        })
        .collect()
}

/// What RMC and GGA print of one instant.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Printed {
    time: String,
    date: Option<String>,
    pub(super) place: [String; 4],
    speed: Option<String>,
    course: Option<String>,
    altitude: Option<String>,
    hdop: Option<String>,
    satellites: Option<String>,
}

fn printed(log: &[u8]) -> Vec<Printed> {
    let mut all: Vec<Printed> = Vec::new();
    for body in bodies(log) {
        let fields: Vec<&str> = body.split(',').collect();
        let kind = fields[0].get(2..).unwrap_or_default();
        if kind != "RMC" && kind != "GGA" {
            continue;
        }
        if all.last().is_none_or(|last| last.time != fields[1]) {
            all.push(Printed { time: fields[1].to_owned(), ..Printed::default() });
        }
        let last = all.last_mut().unwrap();
        let field = |at: usize| Some(fields[at].to_owned()).filter(|text| !text.is_empty());
        if kind == "RMC" {
            last.place = [3, 4, 5, 6].map(|at| fields[at].to_owned());
            (last.speed, last.course, last.date) = (field(7), field(8), field(9));
        } else {
            last.place = [2, 3, 4, 5].map(|at| fields[at].to_owned());
            (last.satellites, last.hdop, last.altitude) = (field(7), field(8), field(9));
        }
    }
    all
}

/// A fix printed again the way a receiver would.
pub(super) fn reprinted(fix: &Fix) -> Printed {
    let time = DateTime::from_timestamp_millis(fix.time.unwrap()).unwrap();
    let place = |minutes: Decimal, width: usize, [positive, negative]: [&str; 2]| {
        let unit = 10_i64.pow(u32::from(minutes.scale()));
        let (size, scale) = (minutes.mantissa().abs(), usize::from(minutes.scale()));
        let (degrees, rest) = (size / (60 * unit), size % (60 * unit));
        let hemisphere = if minutes.mantissa() < 0 { negative } else { positive };
        [format!("{degrees:0width$}{:02}.{:0scale$}", rest / unit, rest % unit), hemisphere.to_owned()]
    };
    let [latitude, ns] = place(fix.latitude.unwrap(), 2, ["N", "S"]);
    let [longitude, ew] = place(fix.longitude.unwrap(), 3, ["E", "W"]);
    let text = |value: Option<Decimal>| value.map(|value| value.to_string());
    Printed {
        time: time.format("%H%M%S%.3f").to_string(),
        date: Some(time.format("%d%m%y").to_string()),
        place: [latitude, ns, longitude, ew],
        speed: text(fix.speed),
        course: text(fix.course),
        altitude: text(fix.altitude),
        hdop: text(fix.hdop),
        satellites: fix.satellites.map(|count| count.to_string()),
    }
}

fn same_number(a: Option<&String>, b: Option<&String>) -> bool {
    // Leading zeros are no digits of the number; every other digit counts.
    let trimmed = |text: Option<&String>| text.map(|text| text.trim_start_matches('0').to_owned());
    let spelt = |text: Option<&String>| {
        trimmed(text).map(|text| if text.starts_with('.') { format!("0{text}") } else { text })
    };
    spelt(a) == spelt(b)
}

fn every_instant_is_a_fix_with_the_printed_digits(name: &str, instants: usize) {
    let Some(log) = read(name) else { return };
    let expected = printed(&log);
    let (all, _) = observe(&log);
    assert_eq!((all.len(), expected.len()), (instants, instants));
    for (Observation { fix, .. }, want) in all.iter().zip(&expected) {
        let got = reprinted(fix);
        assert!(fix.verdict.is_empty(), "{want:?} {:?}", fix.verdict);
        assert_eq!(got.place, want.place);
        assert_eq!(got.time[..want.time.len().min(10)], want.time[..want.time.len().min(10)]);
        assert!(want.date.is_none() || got.date == want.date, "{want:?}");
        for (got, want) in [
            (&got.speed, &want.speed),
            (&got.course, &want.course),
            (&got.altitude, &want.altitude),
            (&got.hdop, &want.hdop),
            (&got.satellites, &want.satellites),
        ] {
            assert!(same_number(got.as_ref(), want.as_ref()), "{got:?} {want:?} at {}", fix.time.unwrap());
        }
    }
}

#[test]
fn every_instant_of_the_urban_drive_is_a_fix_with_the_printed_digits() {
    every_instant_is_a_fix_with_the_printed_digits(URBAN, 1653);
}

#[test]
fn every_instant_of_the_highway_drive_is_a_fix_with_the_printed_digits() {
    every_instant_is_a_fix_with_the_printed_digits(HIGHWAY, 4469);
}

/// 1201 RMC, and a last GGA behind which the log was cut off: it has time and place, so it is a fix.
#[test]
fn every_instant_of_the_moored_boat_is_a_fix_with_the_printed_digits() {
    every_instant_is_a_fix_with_the_printed_digits(MOORED, 1202);
}

#[test]
fn the_counts_are_those_of_the_lines() {
    let Some(log) = read(URBAN) else { return };
    let (_, counts) = observe(&log);
    let valid = bodies(&log).len() as u64;
    let lines = String::from_utf8_lossy(&log).lines().filter(|line| line.contains('$')).count() as u64;
    let expected = Counts {
        sentences: valid,
        bad_checksums: lines - valid,
        unknown: 1,
        // A GLL whose RMC and GGA the receiver had no room to send.
        fragments: 1,
        fixes: 1653,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
}

#[test]
fn a_live_receiver_gives_the_same_fixes_as_a_recorded_one() {
    for name in ALL {
        let Some(log) = read(name) else { return };
        let (mut receiver, mut live) = (Receiver::live(), Vec::new());
        for chunk in log.chunks(37) {
            receiver.push(chunk, None, |observation| live.push(observation.fix));
        }
        receiver.finish(None, |observation| live.push(observation.fix));
        let recorded: Vec<Fix> = observe(&log).0.into_iter().map(|observation| observation.fix).collect();
        assert!(live == recorded, "{name}");
        assert_eq!(receiver.counts().late, 0, "{name}");
    }
}

#[test]
fn reading_is_taken_up_anywhere_in_a_real_log() {
    for name in ALL {
        let Some(log) = read(name) else { return };
        let (all, _) = observe(&log);
        for (done, observed) in all.iter().enumerate().step_by(97) {
            let (mut receiver, mut next) = (Receiver::resumed(&observed.resume), Vec::new());
            let rest = &log[usize::try_from(observed.resume.offset).unwrap()..];
            receiver.push(&rest[..rest.len().min(20_000)], None, |observation| next.push(observation));
            assert!(next.len() > 3 || done + 20 > all.len());
            assert!(all[done + 1..].starts_with(&next), "{name}: behind fix {done}");
        }
    }
}

#[test]
fn the_sky_of_the_urban_drive_is_the_one_its_receiver_printed() {
    use super::Constellation;
    use avl_shared::fix::FixMode;

    let Some(log) = read(URBAN) else { return };
    let (mut receiver, mut all) = (Receiver::recorded(), Vec::new());
    receiver.push(&log[..40_000], None, |observation| all.push(observation));
    let rows = receiver.sky();
    let counted = |constellation, used: bool| {
        rows.iter().filter(|row| row.constellation == constellation && (row.used || !used)).count()
    };
    // In its first second: 10 of GPS, 9 of GLONASS of which one has no number yet.
    assert_eq!((counted(Constellation::Gps, false), counted(Constellation::Gps, true)), (10, 9));
    assert_eq!((counted(Constellation::Glonass, false), counted(Constellation::Glonass, true)), (8, 5));
    assert_eq!(counted(Constellation::Galileo, true), 6);
    assert_eq!(counted(Constellation::Beidou, true), 5);
    assert!(rows.iter().all(|row| row.cn0_dbhz.is_none_or(|level| (5..60).contains(&level))));
    let extras = all.last().unwrap().extras;
    assert_eq!(extras.mode, Some(FixMode::ThreeD));
    assert_eq!(extras.pdop.unwrap().to_string(), "1.48");
    assert!(extras.satellites_in_view > Some(30));
}

/// The `nmea` crate reads the same numbers, rounded to binary, wherever it reads a sentence at all.
#[test]
fn the_nmea_crate_reads_the_same_values() {
    use super::fields::Field;
    use super::sentence::{Reading, Report};
    use nmea::ParseResult;

    fn close(name: &str, ours: Option<f64>, theirs: Option<f64>, body: &str) {
        let agree = match (ours, theirs) {
            (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1e-3),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        assert!(agree, "{name} of {body}: {ours:?}, the crate {theirs:?}");
    }
    let place = |report: &Report| match report.position {
        Field::Value(at) => (Some(at.latitude.to_f64() / 60.0), Some(at.longitude.to_f64() / 60.0)),
        _ => (None, None),
    };
    let number = |value: Option<Decimal>| value.map(Decimal::to_f64);
    let mut compared = 0;
    for name in ALL {
        let Some(log) = read(name) else { return };
        for body in bodies(&log) {
            let text = format!("${body}*{:02X}", checksum(&body));
            let (Reading::Report(ours) | Reading::Active(ours, ..), Ok(theirs)) =
                (super::sentence::read(&body), nmea::parse_str(&text))
            else {
                continue;
            };
            let (latitude, longitude) = place(&ours);
            compared += 1;
            match theirs {
                ParseResult::RMC(rmc) => {
                    close("latitude", latitude, rmc.lat, &body);
                    close("longitude", longitude, rmc.lon, &body);
                    close("speed", number(ours.speed), rmc.speed_over_ground.map(f64::from), &body);
                    close("course", number(ours.course), rmc.true_course.map(f64::from), &body);
                }
                ParseResult::GGA(gga) => {
                    close("latitude", latitude, gga.latitude, &body);
                    close("longitude", longitude, gga.longitude, &body);
                    close("altitude", number(ours.altitude), gga.altitude.map(f64::from), &body);
                    close("hdop", number(ours.hdop), gga.hdop.map(f64::from), &body);
                    assert_eq!(ours.satellites.map(u32::from), gga.fix_satellites);
                }
                ParseResult::GLL(gll) => {
                    close("latitude", latitude, gll.latitude, &body);
                    close("longitude", longitude, gll.longitude, &body);
                }
                ParseResult::VTG(vtg) => {
                    close("speed", number(ours.speed), vtg.speed_over_ground.map(f64::from), &body);
                    close("course", number(ours.course), vtg.true_course.map(f64::from), &body);
                }
                ParseResult::GSA(gsa) => close("hdop", number(ours.hdop), gsa.hdop.map(f64::from), &body),
                _ => compared -= 1,
            }
        }
    }
    assert!(compared > 25_000, "{compared}");
}

/// A checksum does not see two equal digits missing, so damage can leave a shorter number.
pub(super) fn without_zeros(text: &str) -> String {
    text.trim().trim_start_matches('0').to_owned()
}

/// The fields of every sentence with a right checksum, wherever in the bytes it starts: what a fix may be made of.
pub(super) fn printed_coordinates(bytes: &[u8]) -> HashSet<String> {
    let text: String =
        bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{1}' }).collect();
    let bodies = text.match_indices('$').filter_map(|(at, _)| {
        let (body, after) = text[at + 1..].split_once('*')?;
        (u8::from_str_radix(after.get(..2)?, 16).ok()? == checksum(body)).then_some(body)
    });
    bodies.flat_map(|body| body.split(',').map(without_zeros).collect::<Vec<_>>()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn damage_to_a_real_log_never_makes_a_fix_of_a_damaged_sentence(
        name in prop::sample::select(ALL.to_vec()),
        from in 0_usize..300_000,
        damage in prop::collection::vec((0_usize..12_000, any::<u8>(), 0_u8..4), 1..200),
    ) {
        let Some(log) = read(name) else { return Ok(()) };
        let mut bytes = log[from..(from + 12_000).min(log.len())].to_vec();
        for (at, byte, how) in damage {
            let at = at % bytes.len();
            match how {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                2 => bytes.insert(at, byte),
                _ => bytes[at] ^= 1 << (byte % 8),
            }
        }
        let sources = printed_coordinates(&bytes);
        for Observation { fix, .. } in observe(&bytes).0.iter().filter(|seen| seen.fix.latitude.is_some()) {
            if fix.time.is_none() {
                continue;
            }
            let place = reprinted(fix).place;
            let known = [0, 2].map(|at| sources.contains(&without_zeros(&place[at])));
            prop_assert_eq!(known, [true; 2], "{:?}", place);
        }
    }
}
