//! The state directory: is it there, may it be written, does the flash take what is given to it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::check::Outcome;
use crate::buffer;
use crate::config::sense::free_bytes;
use crate::config::{ByteSize, Config};
use crate::health::words::{bytes, duration_ms, fixes};

/// Below it sled cannot make its next segments, and the agent stops with the next fix.
const LEAST_FREE: u64 = 16 << 20;
/// A block of fixes is written in some milliseconds by healthy flash; dying flash retries for seconds.
const SLOW_SYNC: Duration = Duration::from_secs(2);

/// Writes a small file there, syncs and removes it.
pub(super) fn state_directory(config: &Config) -> Outcome {
    let directory = &config.state_dir;
    if !directory.exists() {
        return Outcome::failed(
            format!("{} does not exist", directory.display()),
            "'avl-edge enrol' makes it; or make it for the agent's user alone (mode 0700)",
        );
    }
    let free = free_bytes(directory);
    match write_and_sync(&directory.join(".doctor")) {
        Err(error) => {
            let cure = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run this as the agent's user ('sudo -u avl-edge avl-edge doctor') or give that user the directory"
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free space: the agent stops when it cannot write"
                }
                io::ErrorKind::ReadOnlyFilesystem => {
                    "the file system went read-only, which dying flash does: look at 'dmesg', replace the card"
                }
                _ => "look at 'dmesg' for the drive's errors",
            };
            Outcome::failed(format!("{} cannot be written: {error}", directory.display()), cure)
        }
        Ok(_) if free.is_some_and(|free| free < LEAST_FREE) => Outcome::failed(
            format!(
                "only {} are free in {}: the disk is full",
                bytes(free.unwrap_or_default()),
                directory.display()
            ),
            format!("free space; the buffer alone may take {}", config.buffer.max_bytes),
        ),
        Ok(took) if took > SLOW_SYNC => Outcome::warning(
            format!(
                "{} takes {} to make a small file durable",
                directory.display(),
                duration_ms(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
            ),
            "the flash is worn out or busy: look at 'dmesg' and who writes ('iotop'); replace the card in time",
        ),
        Ok(_) => {
            let free = free.map(|free| format!(", {} free", bytes(free))).unwrap_or_default();
            Outcome::good(format!("{} can be written{free}", directory.display()))
        }
    }
}

fn write_and_sync(path: &Path) -> io::Result<Duration> {
    let started = Instant::now();
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file: File| file.write_all(&[0; 4096]).and_then(|()| file.sync_all()));
    let took = started.elapsed();
    let removed = fs::remove_file(path);
    written.and(removed).map(|()| took)
}

/// What lies in the buffer of a stopped agent.
pub(super) fn buffer(config: &Config) -> (Outcome, Option<buffer::Status>) {
    let damaged = config.state_dir.join("buffer.damaged");
    match buffer::inspect(&config.state_dir) {
        Ok(outbox) => {
            let status = outbox.status();
            let fact = format!(
                "waiting for the cloud: {}, {} on flash",
                fixes(status.held.count()),
                bytes(status.bytes)
            );
            let outcome = if damaged.exists() {
                Outcome::warning(
                    format!("{fact}; an earlier buffer was damaged and set aside in {}", damaged.display()),
                    "if that happens again the flash is failing: replace it; delete the folder once it was looked at",
                )
            } else {
                Outcome::good(fact)
            };
            (outcome, Some(status))
        }
        Err(buffer::OpenError::Absent { .. }) => {
            (Outcome::good(format!("none yet; it may grow to {}", ByteSize(config.buffer.max_bytes.0))), None)
        }
        Err(error) => (
            Outcome::failed(
                format!("the buffer cannot be opened: {error}"),
                "start the agent: it sets a damaged buffer aside and begins a new one; what was unsent is lost",
            ),
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthy_directory_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write_and_sync(&folder.path().join(".doctor")).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
