//! What the agent writes to flash, counted by the kernel and kept over restarts.
//!
//! The count is coarse on purpose: it is written once an hour, so a power cut costs an hour of counting.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two writes of the counter itself.
const SAVE_EVERY: Duration = Duration::from_secs(3600);
/// Less than this says nothing of a day.
const LEAST_OBSERVED: Duration = Duration::from_secs(60);
const DAY_S: f64 = 86_400.0;
const TIB: f64 = (1_u64 << 40) as f64;

/// Bytes written, and in how much time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub bytes: u64,
    pub observed: Duration,
}

impl Written {
    /// `None` until enough was observed.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn bytes_per_day(&self) -> Option<u64> {
        (self.observed >= LEAST_OBSERVED)
            .then(|| (self.bytes as f64 / self.observed.as_secs_f64() * DAY_S).round() as u64)
    }

    /// How long flash that takes `endurance_tib` lasts, in years of writing like this and nobody else writing.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn life_years(&self, endurance_tib: f64) -> Option<f64> {
        let daily = self.bytes_per_day().filter(|bytes| *bytes > 0)?;
        Some(endurance_tib * TIB / daily as f64 / 365.25)
    }

    fn parse(text: &str) -> Option<Self> {
        let (bytes, seconds) = text.trim().split_once(' ')?;
        Some(Self { bytes: bytes.parse().ok()?, observed: Duration::from_secs(seconds.parse().ok()?) })
    }
}

/// The counter of one state directory.
#[derive(Debug)]
pub(super) struct Wear {
    path: PathBuf,
    /// Of earlier runs.
    before: Written,
    /// Of this run: the kernel's count when it began, and since then.
    begun_at: u64,
    now: Written,
    saved: Duration,
}

impl Wear {
    /// Goes on with what earlier runs have counted. `process_bytes` as read now by [`process_bytes`].
    #[must_use]
    pub(super) fn resume(state_dir: &Path, process_bytes: u64) -> Self {
        Self {
            path: file(state_dir),
            before: read(state_dir),
            begun_at: process_bytes,
            now: Written::default(),
            saved: Duration::ZERO,
        }
    }

    /// `running`: since [`Wear::resume`].
    pub(super) fn observe(&mut self, process_bytes: u64, running: Duration) -> Written {
        self.now = Written { bytes: process_bytes.saturating_sub(self.begun_at), observed: running };
        if running.saturating_sub(self.saved) >= SAVE_EVERY {
            self.saved = running;
            self.save();
        }
        self.total()
    }

    #[must_use]
    pub(super) fn total(&self) -> Written {
        Written {
            bytes: self.before.bytes + self.now.bytes,
            observed: self.before.observed + self.now.observed,
        }
    }

    /// Losing the count harms nobody, so trouble with it stays here.
    pub(super) fn save(&self) {
        let Written { bytes, observed } = self.total();
        let fresh = self.path.with_extension("new");
        let saved = fs::write(&fresh, format!("{bytes} {}\n", observed.as_secs()))
            .and_then(|()| fs::rename(&fresh, &self.path));
        if let Err(error) = saved {
            tracing::debug!(%error, "the count of bytes written is not kept");
        }
    }
}

/// What was counted so far in a state directory.
#[must_use]
pub fn read(state_dir: &Path) -> Written {
    fs::read_to_string(file(state_dir)).ok().and_then(|text| Written::parse(&text)).unwrap_or_default()
}

/// Bytes that this process caused to be written to storage: `write_bytes` of `/proc/self/io` (proc_pid_io(5)), whole
/// pages, with everything that the file system's cache has taken and not written yet.
///
/// # Errors
/// When the kernel does not count them.
pub(super) fn process_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    text.lines()
        .find_map(|line| line.strip_prefix("write_bytes: ")?.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "no write_bytes in /proc/self/io"))
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("flash.written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_on_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let mut wear = Wear::resume(folder.path(), 1000);
        wear.observe(5000, Duration::from_secs(100));
        wear.save();
        let mut wear = Wear::resume(folder.path(), 70);
        let total = wear.observe(1070, Duration::from_secs(100));
        assert_eq!(total, Written { bytes: 5000, observed: Duration::from_secs(200) });
        assert_eq!(read(folder.path()).bytes, 4000, "not written more often than once an hour");
        wear.observe(1070, SAVE_EVERY);
        assert_eq!(read(folder.path()).bytes, 5000);
    }

    #[test]
    fn a_day_and_a_life_are_projected_from_what_was_seen() {
        let seen = Written { bytes: 1 << 20, observed: Duration::from_secs(8640) };
        assert_eq!(seen.bytes_per_day(), Some(10 << 20));
        assert!((seen.life_years(1.0).unwrap() - 287.1).abs() < 0.1);
        assert_eq!(Written { bytes: 1, observed: Duration::from_secs(59) }.bytes_per_day(), None);
        assert_eq!(Written { bytes: 0, observed: Duration::from_secs(99) }.life_years(1.0), None);
    }

    #[test]
    fn a_damaged_counter_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(file(folder.path()), "many").unwrap();
        assert_eq!(read(folder.path()), Written::default());
    }
}
