//! The month's data: how much may be used, how much is, and what the vehicle does about it. No I/O, and the time comes
//! from outside.
//!
//! As long as no larger part of the budget is used than of the month is over, nothing changes. Beyond that the latency
//! grows and the backlog waits, so that the budget lasts until the month is over; only when it is used up does
//! `over_budget` decide. While the gateway does not know the date, bytes are counted and nothing is judged.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::Pace;
use super::lane::Orders;
use crate::config::ByteSize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetConfig {
    /// Both directions, headers included; 0 is no budget.
    pub per_month: ByteSize,
    /// Day of the month, UTC, on which the tariff counts anew; 1 to 28.
    pub reset_day: u32,
    pub roaming: Roaming,
    pub over_budget: OverBudget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Roaming {
    Allow,
    LiveOnly,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverBudget {
    Slow,
    LiveOnly,
    Stop,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { per_month: ByteSize(0), reset_day: 1, roaming: Roaming::Allow, over_budget: OverBudget::Slow }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a day that every month has: give 1 to 28")]
pub struct BadResetDay(u32);

impl BudgetConfig {
    /// # Errors
    /// For a day that not every month has.
    pub fn validate(&self) -> Result<(), BadResetDay> {
        if (1..=28).contains(&self.reset_day) { Ok(()) } else { Err(BadResetDay(self.reset_day)) }
    }
}

/// How far ahead of the month the use may be before the vehicle saves, at the month's beginning: a drive in the
/// morning is no overuse.
const SLACK: f64 = 0.05;
/// Further steps, in parts of the budget, and how much longer a fix waits from there on.
const STEPS: [(f64, u32); 3] = [(0.30, 8), (0.15, 4), (0.0, 2)];
/// A vehicle that is over its budget and goes on reports this seldom.
const OVER_LATENCY: Duration = Duration::from_secs(3600);
/// Saving never makes a report wait longer than this before the budget is used up.
const LONGEST_SAVING: Duration = Duration::from_secs(600);

/// What is used of one month. Kept over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// First day of the month that the tariff counts; none while the date is not known.
    pub since: Option<NaiveDate>,
    pub bytes: u64,
}

impl Account {
    /// So many bytes more. A new month begins with them.
    pub fn add(&mut self, bytes: u64, config: &BudgetConfig, now: Option<DateTime<Utc>>) {
        if let Some(month) = now.and_then(|now| month_of(now.date_naive(), config.reset_day)) {
            match self.since {
                // A clock that steps back does not give the month's bytes once more.
                Some(since) if month > since => *self = Self { since: Some(month), bytes: 0 },
                Some(_) => {}
                None => self.since = Some(month),
            }
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What the budget allows at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// As if there were none.
    Free,
    /// The backlog waits, and a fix waits so many times as long.
    Save(u32),
    /// New fixes only, at their usual pace.
    LiveOnly,
    /// New fixes only, once an hour.
    Slow,
    /// No connection.
    Stop,
}

#[must_use]
pub fn allowance(
    config: &BudgetConfig,
    account: &Account,
    roaming: bool,
    now: Option<DateTime<Utc>>,
) -> Allowance {
    let abroad = match config.roaming {
        Roaming::Off if roaming => return Allowance::Stop,
        Roaming::LiveOnly if roaming => Allowance::LiveOnly,
        _ => Allowance::Free,
    };
    let limit = config.per_month.0;
    let (Some(now), Some(since)) = (now, account.since) else { return abroad };
    if limit == 0 {
        return abroad;
    }
    if account.bytes >= limit {
        return match config.over_budget {
            OverBudget::Slow => Allowance::Slow,
            OverBudget::LiveOnly => Allowance::LiveOnly,
            OverBudget::Stop => Allowance::Stop,
        };
    }
    // The margins shrink with what is left of the month, so that the last of the budget meets its end.
    let over = month_over(since, now);
    let ahead = part_of(account.bytes, limit) - over;
    let step = STEPS.iter().find(|(from, _)| ahead > (SLACK + from) * (1.0 - over));
    step.map_or(abroad, |(_, factor)| Allowance::Save(*factor))
}

impl Allowance {
    /// What the lanes may do, given what the vehicle would like.
    #[must_use]
    pub fn orders(self, pace: Pace) -> Orders {
        let slower = |latency: Duration| Pace { latency: latency.max(pace.latency), ..pace };
        match self {
            Self::Free => Orders { pace, backlog: true },
            Self::Save(factor) => {
                let latency = pace.latency.saturating_mul(factor).min(LONGEST_SAVING);
                Orders { pace: slower(latency), backlog: false }
            }
            Self::LiveOnly => Orders { pace, backlog: false },
            // Nobody waits for an answer from it.
            Self::Slow | Self::Stop => {
                Orders { pace: Pace { stay_connected: false, ..slower(OVER_LATENCY) }, backlog: false }
            }
        }
    }
}

/// First day of the tariff's month that a day is in.
fn month_of(day: NaiveDate, reset_day: u32) -> Option<NaiveDate> {
    let this = day.with_day(reset_day)?;
    if day < this { this.checked_sub_months(Months::new(1)) } else { Some(this) }
}

/// How much of the month is over, 0 to 1.
fn month_over(since: NaiveDate, now: DateTime<Utc>) -> f64 {
    let Some(end) = since.checked_add_months(Months::new(1)) else { return 1.0 };
    let days = (end - since).num_days();
    let gone = now.naive_utc() - since.and_time(chrono::NaiveTime::MIN);
    (gone.as_seconds_f64() / (days as f64 * 86_400.0)).clamp(0.0, 1.0)
}

#[allow(clippy::cast_precision_loss)]
fn part_of(bytes: u64, limit: u64) -> f64 {
    bytes as f64 / limit as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONFIG: BudgetConfig = BudgetConfig {
        per_month: ByteSize(1_000_000),
        reset_day: 10,
        roaming: Roaming::LiveOnly,
        over_budget: OverBudget::Slow,
    };

    fn at(text: &str) -> Option<DateTime<Utc>> {
        Some(DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    fn used(bytes: u64) -> Account {
        Account { since: NaiveDate::from_ymd_opt(2026, 5, 10), bytes }
    }

    #[test]
    fn a_month_begins_on_the_reset_day_and_never_twice() {
        let mut account = Account::default();
        account.add(5, &CONFIG, None);
        assert_eq!(account, Account { since: None, bytes: 5 }, "counted before the date is known");
        account.add(5, &CONFIG, at("2026-06-09T23:59:59Z"));
        assert_eq!(account, used(10));
        account.add(7, &CONFIG, at("2026-06-10T00:00:00Z"));
        assert_eq!(account, Account { since: NaiveDate::from_ymd_opt(2026, 6, 10), bytes: 7 });
        account.add(1, &CONFIG, at("1970-01-01T00:00:00Z"));
        assert_eq!(account.bytes, 8, "a clock that steps back gives nothing away");
    }

    #[test]
    fn what_keeps_step_with_the_month_is_free_and_what_runs_ahead_saves() {
        // Half of the 31 days are over.
        let now = at("2026-05-25T12:00:00Z");
        let judged = |bytes| allowance(&CONFIG, &used(bytes), false, now);
        assert_eq!(judged(500_000), Allowance::Free);
        assert_eq!(judged(560_000), Allowance::Save(2));
        assert_eq!(judged(610_000), Allowance::Save(4));
        assert_eq!(judged(710_000), Allowance::Save(8));
        assert_eq!(judged(1_000_000), Allowance::Slow);
        let stop = BudgetConfig { over_budget: OverBudget::Stop, ..CONFIG };
        assert_eq!(allowance(&stop, &used(1_000_000), false, now), Allowance::Stop);
    }

    #[test]
    fn roaming_is_judged_even_without_a_budget_or_a_date() {
        let off = BudgetConfig { roaming: Roaming::Off, ..BudgetConfig::default() };
        assert_eq!(allowance(&off, &Account::default(), true, None), Allowance::Stop);
        assert_eq!(allowance(&off, &Account::default(), false, None), Allowance::Free);
        assert_eq!(allowance(&CONFIG, &used(0), true, at("2026-05-25T12:00:00Z")), Allowance::LiveOnly);
    }

    #[test]
    fn saving_makes_fixes_wait_longer_and_the_backlog_stay() {
        let pace = Pace { latency: Duration::from_secs(25), stay_connected: true, urgent_below: 9 };
        let orders = Allowance::Save(4).orders(pace);
        assert_eq!((orders.pace.latency, orders.backlog), (Duration::from_secs(100), false));
        assert_eq!(orders.pace.urgent_below, 9, "an alarm goes at once all the same");
        let parked = Pace { latency: Duration::from_secs(7200), ..pace };
        assert_eq!(
            Allowance::Save(8).orders(parked).pace.latency,
            parked.latency,
            "never sooner than asked for"
        );
        assert!(!Allowance::Slow.orders(pace).pace.stay_connected);
    }

    /// A vehicle that would use three times its budget: saving makes it last, if less is used when more is saved.
    #[test]
    fn a_thirsty_month_is_survived() {
        let (mut account, start) = (used(0), at("2026-05-10T00:00:00Z").unwrap());
        for hour in 0..31 * 24 {
            let now = Some(start + chrono::TimeDelta::hours(hour));
            let thirst = match allowance(&CONFIG, &account, false, now) {
                Allowance::Free | Allowance::LiveOnly => 4000,
                Allowance::Save(factor) => 4000 / u64::from(factor),
                Allowance::Slow | Allowance::Stop => panic!("used up after {hour} hours"),
            };
            account.add(thirst, &CONFIG, now);
        }
        assert!(account.bytes > 900_000, "{} of it were used", account.bytes);
    }

    proptest! {
        #[test]
        fn more_used_is_never_judged_more_kindly(less in 0_u64..1_500_000, more in 0_u64..500_000, hour in 0_i64..744) {
            let now = at("2026-05-10T00:00:00Z").map(|start| start + chrono::TimeDelta::hours(hour));
            let latency = |bytes| {
                let pace = Pace { latency: Duration::from_secs(25), stay_connected: true, urgent_below: 0 };
                allowance(&CONFIG, &used(bytes), false, now).orders(pace).pace.latency
            };
            prop_assert!(latency(less) <= latency(less + more));
        }
    }
}
