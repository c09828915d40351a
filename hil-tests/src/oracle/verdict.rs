//! Printed against returned: every fix exactly once, equal at receiver resolution, none that was not printed.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use avl_shared::fix::Quality;
use chrono::DateTime;

use super::api::Row;
use super::truth::{Digits, Truth};

/// A report lists this many differences of a kind in full and counts the others.
const LISTED: usize = 8;
const METRES_PER_SECOND_PER_KNOT: f64 = 1852.0 / 3600.0;

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub printed: usize,
    pub returned: usize,
    /// Printed, never returned.
    pub missing: Vec<String>,
    /// Returned, never printed, or returned more often than printed.
    pub extra: Vec<String>,
    /// Returned with another value than printed.
    pub different: Vec<String>,
    /// Two rows claim the same (epoch, sequence), or rows come out of order.
    pub disorder: Vec<String>,
}

impl Report {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty()
            && self.extra.is_empty()
            && self.different.is_empty()
            && self.disorder.is_empty()
    }

    /// # Errors
    /// The whole report, when it is not clean.
    pub fn require_clean(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_clean(), "the oracle disagrees: {self}");
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} printed, {} returned", self.printed, self.returned)?;
        let kinds = [
            ("missing", &self.missing),
            ("extra", &self.extra),
            ("different", &self.different),
            ("disordered", &self.disorder),
        ];
        for (name, list) in kinds {
            if list.is_empty() {
                continue;
            }
            write!(f, "\n  {} {name}:", list.len())?;
            for line in list.iter().take(LISTED) {
                write!(f, "\n    {line}")?;
            }
            if list.len() > LISTED {
                write!(f, "\n    … and {} more", list.len() - LISTED)?;
            }
        }
        Ok(())
    }
}

/// Compares everything that was printed with everything that was returned.
#[must_use]
pub fn compare(printed: &[Truth], returned: &[Row]) -> Report {
    let mut report = Report { printed: printed.len(), returned: returned.len(), ..Report::default() };
    let mut by_time: BTreeMap<Option<i64>, Vec<&Row>> = BTreeMap::new();
    for row in returned {
        match row.time.as_deref().map(millis).transpose() {
            Ok(time) => by_time.entry(time).or_default().push(row),
            Err(error) => report.different.push(format!("time {:?}: {error}", row.time)),
        }
    }
    for truth in printed {
        let rows = by_time.entry(truth.time).or_default();
        if rows.is_empty() {
            report.missing.push(format!("{} (byte {} of the log)", shown(truth.time), truth.bytes.start));
            continue;
        }
        // Two fixes of the same instant: take the row that agrees, if there is one.
        let chosen = rows.iter().position(|row| differences(truth, row).is_empty()).unwrap_or(0);
        let row = rows.remove(chosen);
        let differences = differences(truth, row);
        if !differences.is_empty() {
            report.different.push(format!("{}: {}", shown(truth.time), differences.join("; ")));
        }
    }
    for (time, rows) in by_time {
        for row in rows {
            report.extra.push(format!(
                "{} (epoch {:?}, sequence {:?})",
                shown(time),
                row.epoch,
                row.sequence
            ));
        }
    }
    order(returned, &mut report);
    report
}

fn order(returned: &[Row], report: &mut Report) {
    let mut identities = HashSet::new();
    for row in returned {
        if let (Some(epoch), Some(sequence)) = (&row.epoch, row.sequence)
            && !identities.insert((epoch, sequence))
        {
            report.disorder.push(format!("epoch {epoch}, sequence {sequence} was returned twice"));
        }
    }
    for pair in returned.windows(2) {
        if let (Some(first), Some(second)) = (&pair[0].time, &pair[1].time)
            && first > second
        {
            report.disorder.push(format!("{second} was returned behind {first}"));
        }
    }
}

fn differences(truth: &Truth, row: &Row) -> Vec<String> {
    let mut found = Vec::new();
    let mut numbers = |name: &str, printed: Option<Digits>, got: Option<f64>| {
        let equal = match (printed, got) {
            (Some(printed), Some(got)) => printed.covers(got),
            (None, None) => true,
            _ => false,
        };
        if !equal {
            found.push(format!("{name} printed {printed:?}, returned {got:?}"));
        }
    };
    numbers("latitude (arc-minutes)", truth.latitude, row.lat.map(|degrees| degrees * 60.0));
    numbers("longitude (arc-minutes)", truth.longitude, row.lon.map(|degrees| degrees * 60.0));
    numbers("altitude (m)", truth.altitude_m, row.alt_m);
    numbers("speed (knots)", truth.speed_knots, row.speed_mps.map(|mps| mps / METRES_PER_SECOND_PER_KNOT));
    numbers("course (degrees)", truth.course_deg, row.course_deg);
    numbers("HDOP", truth.hdop, row.hdop);
    if truth.satellites != row.satellites {
        found.push(format!("satellites printed {:?}, returned {:?}", truth.satellites, row.satellites));
    }
    if let Some(name) = truth.quality.and_then(Quality::from_code).map(Quality::name)
        && name != row.quality
    {
        found.push(format!("quality printed {name}, returned {}", row.quality));
    }
    found
}

fn millis(text: &str) -> Result<i64, chrono::ParseError> {
    Ok(DateTime::parse_from_rfc3339(text)?.timestamp_millis())
}

fn shown(time: Option<i64>) -> String {
    time.and_then(DateTime::from_timestamp_millis).map_or_else(
        || "no time".to_owned(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Drive;
    use crate::oracle::truth;
    use crate::receiver::ublox;

    fn drive() -> (Vec<Truth>, Vec<Row>) {
        let readings: Vec<_> = Drive::seeded(5, 1_790_000_000_000, 1).take(200).collect();
        let text: Vec<u8> = readings.iter().flat_map(ublox::print).collect();
        let rows = readings.iter().enumerate().map(|(sequence, reading)| {
            let fix = reading.fix();
            let rounded =
                |value: f64, decimals: i32| (value * 10_f64.powi(decimals)).round() / 10_f64.powi(decimals);
            Row {
                time: Some(shown(fix.time)),
                lat: fix.latitude_degrees().map(|value| rounded(value, 9)),
                lon: fix.longitude_degrees().map(|value| rounded(value, 9)),
                alt_m: fix.altitude_metres(),
                speed_mps: fix.speed_mps().map(|value| rounded(value, 4)),
                course_deg: fix.course_degrees(),
                hdop: fix.hdop.map(avl_shared::fix::Decimal::to_f64),
                satellites: fix.satellites,
                quality: fix.quality.name().to_owned(),
                verdict: "ok".to_owned(),
                epoch: Some("0000abcd".to_owned()),
                sequence: Some(sequence as u64),
                received_at: None,
                inputs: None,
                odometer_m: None,
            }
        });
        (truth::read(&text), rows.collect())
    }

    #[test]
    fn a_faithful_system_is_clean() {
        let (printed, returned) = drive();
        let report = compare(&printed, &returned);
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.printed, report.returned), (200, 200));
    }

    #[test]
    fn a_lost_a_repeated_and_an_invented_fix_are_found() {
        let (printed, mut returned) = drive();
        returned.remove(17);
        returned.push(returned[30].clone());
        returned.push(Row { time: Some("2027-01-01T00:00:00.000Z".to_owned()), ..returned[3].clone() });
        let report = compare(&printed, &returned);
        assert_eq!((report.missing.len(), report.extra.len(), report.different.len()), (1, 2, 0), "{report}");
        assert!(!report.disorder.is_empty());
        assert!(report.require_clean().is_err());
    }

    #[test]
    fn a_value_off_by_one_unit_of_the_last_digit_is_found() {
        type Change = fn(&mut Row);
        let changes: [Change; 8] = [
            |row| row.lat = row.lat.map(|lat| lat + 0.000_01 / 60.0),
            |row| row.lon = row.lon.map(|lon| lon - 0.000_01 / 60.0),
            |row| row.alt_m = row.alt_m.map(|altitude| altitude + 0.1),
            |row| row.speed_mps = row.speed_mps.map(|speed| speed + 0.001 * METRES_PER_SECOND_PER_KNOT),
            |row| row.course_deg = row.course_deg.map(|course| course - 0.01),
            |row| row.hdop = None,
            |row| row.satellites = Some(3),
            |row| row.quality = "rtk".to_owned(),
        ];
        for change in changes {
            let (printed, mut returned) = drive();
            change(&mut returned[100]);
            assert_eq!(compare(&printed, &returned).different.len(), 1);
        }
    }
}
