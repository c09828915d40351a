//! GNSS time: the time of day that every sentence prints, joined with a date that only some print.

use avl_shared::fix::UtcMillis;
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

pub(super) const MILLIS_PER_DAY: i64 = 86_400_000;

/// Milliseconds since midnight UTC. In a leap second it is beyond the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TimeOfDay(u32);

impl TimeOfDay {
    /// Second 60 is taken in every minute: in 23:59 it is a leap second, elsewhere a receiver that rounded 59.9996 up,
    /// and both mean the instant in which the next minute begins.
    #[must_use]
    pub(super) const fn new(hour: u32, minute: u32, second: u32, millis: u32) -> Option<Self> {
        if hour > 23 || minute > 59 || second > 60 || millis > 999 {
            return None;
        }
        Some(Self(((hour * 60 + minute) * 60 + second) * 1000 + millis))
    }

    #[must_use]
    pub(super) const fn millis(self) -> u32 {
        self.0
    }
}

/// A day of the proleptic Gregorian calendar, as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date(i64);

impl Date {
    /// `ddmmyy`. Years 80 to 99 are 19xx: GPS time starts in 1980, and no sentence is older.
    #[must_use]
    pub(super) fn from_ddmmyy(text: &str) -> Option<Self> {
        let number: u32 = Some(text).filter(|text| text.len() == 6 && is_digits(text))?.parse().ok()?;
        let (day, month, year) = (number / 10_000, number / 100 % 100, number % 100);
        Self::new(if year >= 80 { 1900 } else { 2000 } + year, month, day)
    }

    /// As ZDA prints it, in three fields.
    #[must_use]
    pub(super) fn from_fields(day: &str, month: &str, year: &str) -> Option<Self> {
        let number = |text: &str| Some(text).filter(|text| is_digits(text))?.parse::<u32>().ok();
        Self::new(number(year).filter(|year| *year >= 1980)?, number(month)?, number(day)?)
    }

    fn new(year: u32, month: u32, day: u32) -> Option<Self> {
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
        Some(Self(i64::from(date.num_days_from_ce() - epoch.num_days_from_ce())))
    }

    #[must_use]
    pub(super) fn at(self, time: TimeOfDay) -> UtcMillis {
        self.0 * MILLIS_PER_DAY + i64::from(time.0)
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Knows which day it is, from the last sentence that said so.
///
/// This is the one place where a printed date becomes an instant. Dates are taken as printed: a receiver whose week
/// number has rolled over is off by 1024 weeks, but so is a log of 2005 seen from today, and only knowledge from
/// outside the stream (when the firmware was built, what the server's clock says) can tell them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Calendar {
    latest: Option<UtcMillis>,
}

impl Calendar {
    /// The instant of `time`: on `date` where the epoch printed one, otherwise on the day that puts it nearest to the
    /// last known instant, which carries an epoch over midnight. `None` while no date has been seen.
    pub(super) fn resolve(&mut self, time: TimeOfDay, date: Option<Date>) -> Option<UtcMillis> {
        let instant = match date {
            Some(date) => date.at(time),
            None => {
                let latest = self.latest?;
                let ahead = (i64::from(time.0) - latest).rem_euclid(MILLIS_PER_DAY);
                latest + if ahead < MILLIS_PER_DAY / 2 { ahead } else { ahead - MILLIS_PER_DAY }
            }
        };
        self.latest = Some(instant);
        Some(instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u32, minute: u32, second: u32) -> TimeOfDay {
        TimeOfDay::new(hour, minute, second, 0).unwrap()
    }

    #[test]
    fn two_digit_years_turn_at_eighty() {
        let printed = |text| Date::from_ddmmyy(text).unwrap();
        assert_eq!(printed("060180"), Date::from_fields("06", "01", "1980").unwrap());
        assert_eq!(printed("311299"), Date::from_fields("31", "12", "1999").unwrap());
        assert_eq!(printed("010179"), Date::from_fields("1", "1", "2079").unwrap());
        assert_eq!(printed("250905").at(at(23, 52, 34)), 1_127_692_354_000);
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for bad in ["000000", "300220", "011320", "01012", "0101200", "01-120"] {
            assert_eq!(Date::from_ddmmyy(bad), None, "{bad}");
        }
        assert_eq!(Date::from_fields("29", "02", "2100"), None);
        assert_eq!(Date::from_fields("1", "1", "99999999999"), None);
        assert_eq!(Date::from_fields("1", "1", "20"), None);
    }

    #[test]
    fn no_date_no_instant() {
        assert_eq!(Calendar::default().resolve(at(1, 2, 3), None), None);
    }

    #[test]
    fn an_undated_epoch_is_carried_over_midnight_both_ways() {
        let mut calendar = Calendar::default();
        let date = Date::from_ddmmyy("311219").unwrap();
        let evening = calendar.resolve(at(23, 59, 59), Some(date)).unwrap();
        let midnight = calendar.resolve(at(0, 0, 0), None).unwrap();
        assert_eq!(midnight - evening, 1000);
        assert_eq!(calendar.resolve(at(23, 59, 58), None), Some(evening - 1000));
    }

    #[test]
    fn a_leap_second_is_the_instant_in_which_the_next_day_begins() {
        let mut calendar = Calendar::default();
        let date = Date::from_ddmmyy("311216").unwrap();
        let before = calendar.resolve(at(23, 59, 59), Some(date)).unwrap();
        assert_eq!(calendar.resolve(at(23, 59, 60), None), Some(before + 1000));
        assert_eq!(calendar.resolve(at(0, 0, 0), None), Some(before + 1000));
        assert_eq!(date.at(at(23, 59, 60)), before + 1000);
    }
}
