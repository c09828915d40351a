//! Keeps the month's account over restarts, and judges by it. One small write in ten minutes at most: what a power cut
//! forgets is less than that, and flash is dear.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use tokio::time::Instant;

use super::budget::{Account, Allowance, BudgetConfig, allowance};
use super::traffic::Traffic;

const FILE: &str = "uplink-account.json";
const EVERY: Duration = Duration::from_secs(600);
/// A clock that shows less has not been set since the gateway lost its power.
const FIRST_BELIEVABLE_YEAR: i32 = 2024;

/// What day it is by the best clock there is, if that is known.
#[derive(Clone)]
pub struct Calendar(Arc<dyn Fn() -> Option<DateTime<Utc>> + Send + Sync>);

impl Calendar {
    #[must_use]
    pub fn new(now: impl Fn() -> Option<DateTime<Utc>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The system clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| Some(Utc::now()))
    }

    fn now(&self) -> Option<DateTime<Utc>> {
        (self.0)().filter(|now| now.year() >= FIRST_BELIEVABLE_YEAR)
    }
}

impl std::fmt::Debug for Calendar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Calendar").field(&self.now()).finish()
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    config: BudgetConfig,
    path: PathBuf,
    calendar: Calendar,
    account: Account,
    traffic: Traffic,
    /// Of the traffic, what the account has already.
    booked: u64,
    written: Account,
    written_at: Option<Instant>,
}

impl Ledger {
    /// Takes up the account in `state_dir`. One that cannot be read is begun anew, and said so.
    #[must_use]
    pub(super) fn open(config: BudgetConfig, state_dir: &Path, traffic: Traffic, calendar: Calendar) -> Self {
        let path = state_dir.join(FILE);
        let account = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the month's account is damaged and begins anew");
                Account::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Account::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the month's account cannot be read and begins anew");
                Account::default()
            }
        };
        let booked = traffic.metered();
        Self { config, path, calendar, account, traffic, booked, written: account, written_at: None }
    }

    /// What is allowed now. Books what has been used since the last look.
    pub(super) fn judge(&mut self) -> Allowance {
        let now = self.calendar.now();
        self.book(now);
        if !self.traffic.is_metered() {
            return Allowance::Free;
        }
        allowance(&self.config, &self.account, self.traffic.is_roaming(), now)
    }

    #[must_use]
    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    #[must_use]
    pub(super) fn account(&self) -> Account {
        self.account
    }

    /// Bytes a month; `None` without a budget.
    #[must_use]
    pub(super) fn limit(&self) -> Option<u64> {
        Some(self.config.per_month.0).filter(|limit| *limit > 0)
    }

    fn book(&mut self, now: Option<DateTime<Utc>>) {
        let metered = self.traffic.metered();
        self.account.add(metered.saturating_sub(self.booked), &self.config, now);
        self.booked = metered;
        // Without a budget nobody asks for it after a restart.
        if self.limit().is_some() && self.written_at.is_none_or(|at| at.elapsed() >= EVERY) {
            self.write();
        }
    }

    fn write(&mut self) {
        self.written_at = Some(Instant::now());
        if self.account == self.written {
            return;
        }
        match replace(&self.path, &self.account) {
            Ok(()) => self.written = self.account,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the month's account cannot be written");
            }
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if self.limit().is_some() {
            self.book(self.calendar.now());
            self.write();
        }
    }
}

fn replace(path: &Path, account: &Account) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = fs::File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(account)?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;
    use tokio::sync::watch;

    fn config() -> BudgetConfig {
        BudgetConfig { per_month: ByteSize(10_000), ..BudgetConfig::default() }
    }

    #[tokio::test]
    async fn what_was_used_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let traffic = Traffic::default();
        let mut ledger = Ledger::open(config(), folder.path(), traffic.clone(), Calendar::system());
        traffic.add(6_000, 500);
        ledger.judge();
        traffic.add(0, 500);
        drop(ledger);
        let mut again = Ledger::open(config(), folder.path(), traffic.clone(), Calendar::system());
        assert_eq!(again.account().bytes, 7_000);
        traffic.add(3_000, 0);
        assert_eq!(again.judge(), Allowance::Slow);
    }

    #[tokio::test]
    async fn a_damaged_account_begins_anew_and_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"{\"since\":").unwrap();
        let traffic = Traffic::default();
        let mut ledger = Ledger::open(config(), folder.path(), traffic.clone(), Calendar::system());
        traffic.add(5, 0);
        ledger.judge();
        drop(ledger);
        assert_eq!(Ledger::open(config(), folder.path(), traffic, Calendar::system()).account().bytes, 5);
    }

    #[tokio::test]
    async fn flash_is_written_once_in_ten_minutes_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let traffic = Traffic::default();
        let mut ledger = Ledger::open(config(), folder.path(), traffic.clone(), Calendar::system());
        for _ in 0..5 {
            traffic.add(1, 0);
            ledger.judge();
        }
        let written: Account = serde_json::from_slice(&fs::read(folder.path().join(FILE)).unwrap()).unwrap();
        assert_eq!(written.bytes, 1);
    }

    #[test]
    fn a_clock_that_was_never_set_is_not_believed() {
        assert_eq!(Calendar::new(|| Some(DateTime::UNIX_EPOCH)).now(), None);
    }

    #[tokio::test]
    async fn the_month_is_the_trusted_clocks() {
        let folder = tempfile::tempdir().unwrap();
        let (traffic, today) = (Traffic::default(), watch::Sender::new(None));
        let seen = today.subscribe();
        let calendar = Calendar::new(move || *seen.borrow());
        let mut ledger = Ledger::open(config(), folder.path(), traffic.clone(), calendar);
        traffic.add(20_000, 0);
        assert_ne!(ledger.judge(), Allowance::Slow, "no date is known yet");
        let day = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        today.send_replace(day("2031-05-20T12:00:00Z"));
        assert_eq!(ledger.judge(), Allowance::Slow);
        today.send_replace(day("2031-06-02T12:00:00Z"));
        assert_ne!(ledger.judge(), Allowance::Slow, "a new month, whatever the system clock says");
    }
}
