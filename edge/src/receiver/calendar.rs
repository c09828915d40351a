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

/// GPS counts weeks with ten bits (IS-GPS-200, 20.3.3.3.1.1), so a receiver that does not know which 1024 weeks it is
/// in is off by 7168 days, or a multiple of them.
const ERA_DAYS: i64 = 1024 * 7;

/// A day of the proleptic Gregorian calendar, as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    pub(super) const fn from_days(days: i64) -> Self {
        Self(days)
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
/// This is the one place where a printed date becomes an instant. A recorded log's dates are taken as printed: a
/// receiver whose week number has rolled over is off by 1024 weeks, but so is a log of 2005 seen from today. Of a
/// receiver that is listened to it is known that today is not before some day (when this program was built), so an
/// earlier date is a week number that has rolled over, or no date at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Calendar {
    latest: Option<UtcMillis>,
    /// Live only, so never stored.
    #[serde(skip)]
    earliest: Option<Earliest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Earliest {
    date: Date,
    /// By how many times 1024 weeks this receiver was behind when it had a position; 0 while it was not.
    eras_behind: i64,
    /// Whether `latest` was corrected.
    corrected: bool,
}

/// An instant, and whether its date had to be corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub instant: UtcMillis,
    pub rolled_over: bool,
}

impl Calendar {
    /// For a receiver that is listened to: today is `earliest` or later.
    pub(super) const fn since(earliest: Date) -> Self {
        Self { latest: None, earliest: Some(Earliest { date: earliest, eras_behind: 0, corrected: false }) }
    }

    /// Takes the day from elsewhere, for a receiver that has not printed one yet.
    pub(super) fn trust(&mut self, utc: UtcMillis) {
        self.latest = self.latest.or(Some(utc));
    }

    /// The instant of `time`: on `date` where the epoch printed one, otherwise on the day that puts it nearest to the
    /// last known instant, which carries an epoch over midnight. `None` while no date has been seen that can be right.
    ///
    /// `located` when the receiver had a position. Without one it may print the date that it starts with, which no
    /// number of weeks makes right, so a date that is too early is corrected only if it is behind by as much as this
    /// receiver was when it had one.
    pub(super) fn resolve(&mut self, time: TimeOfDay, date: Option<Date>, located: bool) -> Option<Resolved> {
        let instant = match date {
            Some(date) => self.correct(date, located)?.at(time),
            None => {
                let latest = self.latest?;
                let ahead = (i64::from(time.0) - latest).rem_euclid(MILLIS_PER_DAY);
                latest + if ahead < MILLIS_PER_DAY / 2 { ahead } else { ahead - MILLIS_PER_DAY }
            }
        };
        self.latest = Some(instant);
        Some(Resolved { instant, rolled_over: self.earliest.is_some_and(|earliest| earliest.corrected) })
    }

    fn correct(&mut self, date: Date, located: bool) -> Option<Date> {
        let Some(earliest) = &mut self.earliest else { return Some(date) };
        let eras = match earliest.date.0 - date.0 {
            ..=0 => 0,
            days => (days + ERA_DAYS - 1) / ERA_DAYS,
        };
        if located {
            earliest.eras_behind = eras;
        } else if eras != 0 && eras != earliest.eras_behind {
            return None;
        }
        earliest.corrected = eras > 0;
        Some(Date(date.0 + eras * ERA_DAYS))
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

    /// Without knowledge from outside.
    fn resolve(calendar: &mut Calendar, time: TimeOfDay, date: Option<Date>) -> Option<UtcMillis> {
        calendar.resolve(time, date, true).map(|resolved| resolved.instant)
    }

    #[test]
    fn no_date_no_instant() {
        assert_eq!(resolve(&mut Calendar::default(), at(1, 2, 3), None), None);
    }

    #[test]
    fn an_undated_epoch_is_carried_over_midnight_both_ways() {
        let mut calendar = Calendar::default();
        let date = Date::from_ddmmyy("311219").unwrap();
        let evening = resolve(&mut calendar, at(23, 59, 59), Some(date)).unwrap();
        let midnight = resolve(&mut calendar, at(0, 0, 0), None).unwrap();
        assert_eq!(midnight - evening, 1000);
        assert_eq!(resolve(&mut calendar, at(23, 59, 58), None), Some(evening - 1000));
    }

    #[test]
    fn a_leap_second_is_the_instant_in_which_the_next_day_begins() {
        let mut calendar = Calendar::default();
        let date = Date::from_ddmmyy("311216").unwrap();
        let before = resolve(&mut calendar, at(23, 59, 59), Some(date)).unwrap();
        assert_eq!(resolve(&mut calendar, at(23, 59, 60), None), Some(before + 1000));
        assert_eq!(resolve(&mut calendar, at(0, 0, 0), None), Some(before + 1000));
        assert_eq!(date.at(at(23, 59, 60)), before + 1000);
    }

    /// A receiver listened to by a program built on `built` prints `printed`: what day it is, and whether it says so.
    fn live(built: &str, printed: &str, located: bool) -> Option<(NaiveDate, bool)> {
        let mut calendar = Calendar::since(Date::from_ddmmyy(built).unwrap());
        let got = calendar.resolve(at(12, 0, 0), Date::from_ddmmyy(printed), located)?;
        let day = chrono::DateTime::from_timestamp_millis(got.instant).unwrap().date_naive();
        Some((day, got.rolled_over))
    }

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    #[test]
    fn receivers_of_the_two_rollovers_are_put_right_and_say_so() {
        // In the night to 7 April 2019 week 2047 became week 0, and printed as 22 August 1999.
        assert_eq!(live("010119", "060419", true), Some((day(2019, 4, 6), false)));
        assert_eq!(live("010119", "220899", true), Some((day(2019, 4, 7), true)));
        // On 22 August 1999 itself: 6 January 1980.
        assert_eq!(live("010199", "060180", true), Some((day(1999, 8, 22), true)));
        // Today's date, once and twice 1024 weeks behind, and firmware with an era of its own (2002, 2005, 2007).
        assert_eq!(live("010126", "100407", true), Some((day(2026, 11, 24), true)));
        assert_eq!(live("010126", "250887", true), Some((day(2026, 11, 24), true)));
        assert_eq!(live("010122", "190902", true), Some((day(2022, 5, 5), true)));
        assert_eq!(live("010124", "250905", true), Some((day(2025, 5, 11), true)));
    }

    #[test]
    fn a_date_since_the_program_was_built_is_right_as_printed() {
        assert_eq!(live("010126", "010126", true), Some((day(2026, 1, 1), false)));
        assert_eq!(live("010126", "241140", false), Some((day(2040, 11, 24), false)));
    }

    #[test]
    fn the_date_that_a_receiver_starts_with_is_no_date() {
        assert_eq!(live("010126", "060180", false), None);
        let mut calendar = Calendar::since(Date::from_ddmmyy("010126").unwrap());
        let mut resolve = |date: &str, located| {
            calendar.resolve(at(12, 0, 0), Date::from_ddmmyy(date), located).map(|got| got.rolled_over)
        };
        assert_eq!(resolve("060180", false), None);
        assert_eq!(resolve("100407", false), None);
        // With a position it is known how far behind this receiver is: then also without.
        assert_eq!(resolve("100407", true), Some(true));
        assert_eq!(resolve("110407", false), Some(true));
        assert_eq!(resolve("060180", false), None);
    }

    #[test]
    fn undated_epochs_of_a_corrected_receiver_are_marked_like_the_dated_ones() {
        let mut calendar = Calendar::since(Date::from_ddmmyy("010126").unwrap());
        calendar.resolve(at(23, 59, 59), Date::from_ddmmyy("100407"), true);
        let midnight = calendar.resolve(at(0, 0, 0), None, true).unwrap();
        assert!(midnight.rolled_over);
        assert_eq!(midnight.instant, Date::from_ddmmyy("251126").unwrap().at(at(0, 0, 0)));
    }

    #[test]
    fn a_day_from_elsewhere_dates_what_is_undated_and_yields_to_a_printed_date() {
        let mut calendar = Calendar::since(Date::from_ddmmyy("010126").unwrap());
        let known = Date::from_ddmmyy("241126").unwrap();
        calendar.trust(known.at(at(23, 59, 50)));
        let next = calendar.resolve(at(0, 0, 1), None, true).unwrap();
        assert_eq!(next.instant - known.at(at(23, 59, 50)), 11_000);
        calendar.trust(0);
        let printed = Date::from_ddmmyy("010127");
        assert_eq!(
            calendar.resolve(at(0, 0, 2), printed, true).unwrap().instant,
            printed.unwrap().at(at(0, 0, 2))
        );
    }
}
