//! What a receiver printed, by a parser that shares no line with the agent's.
//!
//! Rule: RMC and GGA sentences with a right checksum, grouped by the time they print, are one fix a group.
//! All the other sentences say nothing that is compared.

use std::ops::Range;

use avl_shared::fix::{Fix, UtcMillis};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

/// A printed number, and how far a value may be from it to be printed the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Digits {
    pub value: f64,
    pub half_unit: f64,
}

impl Digits {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value: f64 = text.parse().ok()?;
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        Some(Self { value, half_unit: 0.5 * 10_f64.powi(-i32::try_from(decimals).ok()?) })
    }

    /// Whether `value` would be printed with these digits.
    #[must_use]
    pub fn covers(self, value: f64) -> bool {
        // The last factor lets a value on the very edge be on it in binary too.
        (value - self.value).abs() <= self.half_unit * (1.0 + 1e-6)
    }
}

/// One fix as it was printed.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// UTC; `None` until the receiver has printed a date.
    pub time: Option<UtcMillis>,
    /// Arc-minutes, north positive.
    pub latitude: Option<Digits>,
    /// Arc-minutes, east positive.
    pub longitude: Option<Digits>,
    pub altitude_m: Option<Digits>,
    pub speed_knots: Option<Digits>,
    pub course_deg: Option<Digits>,
    pub hdop: Option<Digits>,
    pub satellites: Option<u8>,
    pub quality: Option<u8>,
    /// Where it stands in the text: from its first sentence to the first of the next fix.
    pub bytes: Range<usize>,
}

#[derive(Default)]
struct Group {
    start: usize,
    clock: String,
    rmc: Option<Vec<String>>,
    gga: Option<Vec<String>>,
}

/// Every fix of a log, in order.
#[must_use]
pub fn read(text: &[u8]) -> Vec<Truth> {
    let mut groups: Vec<Group> = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let start = offset;
        offset += line.len();
        let Some(fields) = checked_fields(line) else {
            continue;
        };
        let kind = fields[0].get(2..).unwrap_or_default();
        if !matches!(kind, "RMC" | "GGA") || fields.len() < 10 || fields[1].is_empty() {
            continue;
        }
        if groups.last().is_none_or(|group| group.clock != fields[1]) {
            groups.push(Group { start, clock: fields[1].clone(), ..Group::default() });
        }
        if let Some(group) = groups.last_mut() {
            let slot = if kind == "RMC" { &mut group.rmc } else { &mut group.gga };
            slot.get_or_insert(fields);
        }
    }

    let mut fixes = Vec::with_capacity(groups.len());
    let mut before: Option<NaiveDateTime> = None;
    for (index, group) in groups.iter().enumerate() {
        let start = if index == 0 { 0 } else { group.start };
        let end = groups.get(index + 1).map_or(text.len(), |next| next.start);
        let instant = instant(group, before);
        before = instant.or(before);
        fixes.push(fix(group, instant, start..end));
    }
    fixes
}

/// The fields of a sentence with the right checksum and nothing behind it.
pub(crate) fn checked_fields(line: &[u8]) -> Option<Vec<String>> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let (body, checksum) = line.strip_prefix('$')?.split_once('*')?;
    let expected = u8::from_str_radix(checksum, 16).ok().filter(|_| checksum.len() == 2)?;
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    (sum == expected).then(|| body.split(',').map(str::to_owned).collect())
}

fn instant(group: &Group, before: Option<NaiveDateTime>) -> Option<NaiveDateTime> {
    let clock = clock(&group.clock)?;
    let printed = group.rmc.as_ref().and_then(|fields| fields.get(9)).and_then(|text| date(text));
    match (printed, before) {
        (Some(date), _) => Some(date.and_time(clock)),
        // GGA alone prints no date: it is the first such clock time from half a day before the last fix on.
        (None, Some(before)) => {
            let guess = before.date().and_time(clock);
            let half_a_day = TimeDelta::hours(12);
            Some(if guess < before - half_a_day { guess + TimeDelta::days(1) } else { guess })
        }
        (None, None) => None,
    }
}

fn clock(text: &str) -> Option<NaiveTime> {
    let part = |range: Range<usize>| text.get(range)?.parse::<u32>().ok();
    let (hour, minute, second) = (part(0..2)?, part(2..4)?, part(4..6)?);
    let fraction = text.get(6..).unwrap_or_default().strip_prefix('.').unwrap_or_default();
    let millis: u32 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    NaiveTime::from_hms_milli_opt(hour, minute, second, millis)
}

fn date(text: &str) -> Option<NaiveDate> {
    let part = |range: Range<usize>| text.get(range)?.parse::<u32>().ok();
    let (day, month, year) = (part(0..2)?, part(2..4)?, part(4..6)?);
    // Two digits: GPS began in 1980.
    let century = if year >= 80 { 1900 } else { 2000 };
    NaiveDate::from_ymd_opt(i32::try_from(century + year).ok()?, month, day)
}

fn fix(group: &Group, instant: Option<NaiveDateTime>, bytes: Range<usize>) -> Truth {
    let rmc = |index: usize| {
        group.rmc.as_ref().and_then(|fields| fields.get(index)).filter(|text| !text.is_empty())
    };
    let gga = |index: usize| {
        group.gga.as_ref().and_then(|fields| fields.get(index)).filter(|text| !text.is_empty())
    };
    // Both print the position; GGA's is taken when there is one.
    let position = |from_gga: usize, from_rmc: usize| match gga(from_gga) {
        Some(text) => arc_minutes(text, gga(from_gga + 1)?),
        None => arc_minutes(rmc(from_rmc)?, rmc(from_rmc + 1)?),
    };
    Truth {
        time: instant.map(|instant| instant.and_utc().timestamp_millis()),
        latitude: position(2, 3),
        longitude: position(4, 5),
        altitude_m: gga(9).and_then(|text| Digits::parse(text)),
        speed_knots: rmc(7).and_then(|text| Digits::parse(text)),
        course_deg: rmc(8).and_then(|text| Digits::parse(text)),
        hdop: gga(8).and_then(|text| Digits::parse(text)),
        satellites: gga(7).and_then(|text| text.parse().ok()),
        quality: gga(6).and_then(|text| text.parse().ok()),
        bytes,
    }
}

fn arc_minutes(text: &str, hemisphere: &str) -> Option<Digits> {
    let point = text.find('.').unwrap_or(text.len());
    let (degrees, minutes) = text.split_at_checked(point.checked_sub(2)?)?;
    let degrees: f64 = if degrees.is_empty() { 0.0 } else { degrees.parse().ok()? };
    let minutes = Digits::parse(minutes)?;
    let sign = match hemisphere {
        "N" | "E" => 1.0,
        "S" | "W" => -1.0,
        _ => return None,
    };
    Some(Digits { value: sign * (degrees * 60.0 + minutes.value), half_unit: minutes.half_unit })
}

impl Truth {
    /// Compares with a fix in memory, digit for digit.
    ///
    /// # Errors
    /// The first column that differs, with both values.
    pub fn agrees_with_fix(&self, fix: &Fix) -> Result<(), String> {
        if self.time != fix.time {
            return Err(format!("time: printed {:?}, fix has {:?}", self.time, fix.time));
        }
        let columns = [
            ("latitude", self.latitude, fix.latitude),
            ("longitude", self.longitude, fix.longitude),
            ("altitude", self.altitude_m, fix.altitude),
            ("speed", self.speed_knots, fix.speed),
            ("course", self.course_deg, fix.course),
            ("hdop", self.hdop, fix.hdop),
        ];
        for (name, printed, got) in columns {
            let got = got.map(avl_shared::fix::Decimal::to_f64);
            let equal = match (printed, got) {
                (Some(printed), Some(got)) => printed.covers(got),
                (None, None) => true,
                _ => false,
            };
            if !equal {
                return Err(format!("{name}: printed {printed:?}, fix has {got:?}"));
            }
        }
        if self.satellites != fix.satellites {
            return Err(format!("satellites: printed {:?}, fix has {:?}", self.satellites, fix.satellites));
        }
        if self.quality != Some(fix.quality.code()) {
            return Err(format!("quality: printed {:?}, fix has {:?}", self.quality, fix.quality));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "junk\r\n\
        $GPGGA,235958.500,5222.3215,N,00454.5778,W,1,04,2.95,-16.0,M,47.0,M,,*62\r\n\
        $GPRMC,235958.500,A,5222.3215,N,00454.5778,W,0.58,251.34,311299,,,A*7E\r\n\
        $GPVTG,251.34,T,,M,0.58,N,1.07,K,A*37\r\n\
        $GPGGA,000001,5222.3215,N,00454.5778,E,1,04,2.95,16.0,M,47.0,M,,*47\r\n";

    #[test]
    fn groups_by_printed_time_and_carries_the_date_over_midnight() {
        let fixes = read(TWO.as_bytes());
        assert_eq!(fixes.len(), 2);
        assert_eq!(fixes[0].time, Some(946_684_798_500));
        assert_eq!(fixes[1].time, Some(946_684_801_000));
        assert_eq!(fixes[0].bytes.end, fixes[1].bytes.start);
        assert_eq!((fixes[0].bytes.start, fixes[1].bytes.end), (0, TWO.len()));
    }

    #[test]
    fn keeps_the_resolution_of_what_was_printed() {
        let fix = &read(TWO.as_bytes())[0];
        let latitude = fix.latitude.unwrap();
        assert!((latitude.value - 3142.3215).abs() < 1e-9);
        assert!(latitude.covers(3_142.321_54) && !latitude.covers(3_142.321_56));
        assert!(fix.longitude.unwrap().value < 0.0);
        assert_eq!(fix.speed_knots, Digits::parse("0.58"));
        assert_eq!((fix.satellites, fix.quality), (Some(4), Some(1)));
        assert_eq!(fix.altitude_m, Digits::parse("-16.0"));
    }

    #[test]
    fn a_sentence_with_a_wrong_checksum_or_a_tail_says_nothing() {
        let bad = TWO.replace("*62\r\n", "*61\r\n").replace("*47\r\n", "*47,2*77\r\n");
        let fixes = read(bad.as_bytes());
        assert_eq!(fixes.len(), 1);
        assert_eq!((fixes[0].hdop, fixes[0].quality), (None, None));
    }
}
