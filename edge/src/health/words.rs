//! Figures as people read them: sizes, durations, times in the reader's zone.

use std::fmt::Display;

use chrono::{DateTime, Local, TimeZone, Utc};

/// `1.2 MB`: decimal units, as data plans are sold in.
#[must_use]
#[allow(clippy::cast_precision_loss)] // three digits are shown
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count as f64 / 1e3, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    let decimals = usize::from(value < 9.95);
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// The two largest units that matter: `4 s`, `12 min`, `3 h 5 min`, `2 d 4 h`.
#[must_use]
pub fn duration_ms(millis: u64) -> String {
    let seconds = millis / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 if !seconds.is_multiple_of(60) => format!("{minutes} min {} s", seconds % 60),
        60..3600 => format!("{minutes} min"),
        3600..86400 if !minutes.is_multiple_of(60) => format!("{hours} h {} min", minutes % 60),
        3600..86400 => format!("{hours} h"),
        _ if !hours.is_multiple_of(24) => format!("{days} d {} h", hours % 24),
        _ => format!("{days} d"),
    }
}

/// `1 fix`, `2 fixes`.
#[must_use]
pub fn fixes(count: u64) -> String {
    if count == 1 { "1 fix".to_owned() } else { format!("{} fixes", grouped(count)) }
}

/// `12 345`: digits in threes.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Date and time in the reader's own zone, `TZ` or that of the machine.
#[must_use]
pub fn local_time(utc_ms: i64) -> String {
    time_in(&Local, utc_ms)
}

/// The day of a UTC time, in the reader's zone.
#[must_use]
pub fn local_date(utc_ms: i64) -> String {
    local_time(utc_ms).chars().take("2026-01-31".len()).collect()
}

/// An RFC 3339 time in the reader's zone; as it was when it is none.
#[must_use]
pub fn local_time_of(rfc3339: &str) -> String {
    DateTime::parse_from_rfc3339(rfc3339)
        .map_or_else(|_| rfc3339.to_owned(), |time| local_time(time.timestamp_millis()))
}

fn time_in<Zone: TimeZone<Offset: Display>>(zone: &Zone, utc_ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(utc_ms).map_or_else(
        || format!("{utc_ms} ms after 1970"),
        |time| time.with_timezone(zone).format("%Y-%m-%d %H:%M:%S %:z").to_string(),
    )
}

/// `47.16823° N, 8.52310° E`, to about a metre.
#[must_use]
pub fn position(latitude: f64, longitude: f64) -> String {
    let (north, east) = (if latitude < 0.0 { 'S' } else { 'N' }, if longitude < 0.0 { 'W' } else { 'E' });
    format!("{:.5}° {north}, {:.5}° {east}", latitude.abs(), longitude.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    #[test]
    fn sizes_have_at_most_three_digits() {
        let cases = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_940, "9.9 kB"), (12_345, "12 kB")];
        for (count, expected) in
            cases.into_iter().chain([(999_499, "999 kB"), (999_501, "1.0 MB"), (3 << 30, "3.2 GB")])
        {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn durations_have_the_two_units_that_matter() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (65, "1 min 5 s"),
            (605, "10 min"),
            (3600, "1 h"),
            (3900, "1 h 5 min"),
            (86_400, "1 d"),
            (100_000, "1 d 3 h"),
        ] {
            assert_eq!(duration_ms(seconds * 1000), expected);
        }
    }

    #[test]
    fn counts_are_grouped() {
        for (count, expected) in [(7, "7"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(count), expected);
        }
        assert_eq!((fixes(1), fixes(0)), ("1 fix".to_owned(), "0 fixes".to_owned()));
    }

    #[test]
    fn times_carry_the_zone_that_they_are_in() {
        let zone = FixedOffset::east_opt(2 * 3600).unwrap();
        assert_eq!(time_in(&zone, 1_700_000_000_000), "2023-11-15 00:13:20 +02:00");
        assert_eq!(local_time_of("nonsense"), "nonsense");
    }

    #[test]
    fn positions_name_their_hemispheres() {
        assert_eq!(position(-33.5, 18.25), "33.50000° S, 18.25000° E");
        assert_eq!(position(37.0, -122.0), "37.00000° N, 122.00000° W");
    }
}
