//! What is printed: a recorded log, or a drive that goes on for ever.

use std::ops::Range;
use std::sync::Arc;

use avl_shared::fix::UtcMillis;

use super::ublox;
use crate::drive::Drive;
use crate::oracle::truth::{self, Truth};

/// Everything a receiver prints at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    pub bytes: Vec<u8>,
    pub time: Option<UtcMillis>,
}

#[derive(Debug)]
pub enum Feed {
    Log {
        text: Arc<[u8]>,
        instants: Vec<(Range<usize>, Option<UtcMillis>)>,
        next: usize,
    },
    /// As long as `left` lasts, or for ever.
    Drive {
        drive: Box<Drive>,
        left: Option<usize>,
    },
}

impl Feed {
    /// The log byte for byte, cut where a new instant begins.
    #[must_use]
    pub fn log(text: impl Into<Arc<[u8]>>) -> Self {
        let text: Arc<[u8]> = text.into();
        let fixes = truth::read(&text);
        let instants = fixes.iter().map(|fix: &Truth| (fix.bytes.clone(), fix.time)).collect();
        Self::Log { text, instants, next: 0 }
    }

    /// Bytes that are no sentences, printed at once; none for a receiver that is silent.
    #[must_use]
    pub fn noise(bytes: Vec<u8>) -> Self {
        let instants = if bytes.is_empty() { Vec::new() } else { vec![(0..bytes.len(), None)] };
        Self::Log { text: bytes.into(), instants, next: 0 }
    }

    #[must_use]
    pub fn drive(drive: Drive, instants: Option<usize>) -> Self {
        Self::Drive { drive: Box::new(drive), left: instants }
    }

    /// Goes on just behind the instant `time`; with `None`, from the start. Only a log can go back.
    ///
    /// # Errors
    /// When this is not a log, or the log has no such instant.
    pub fn continue_after(&mut self, time: Option<UtcMillis>) -> anyhow::Result<()> {
        let Self::Log { instants, next, .. } = self else {
            anyhow::bail!("a simulated drive cannot go back: replay a log to rewind")
        };
        *next = match time {
            None => 0,
            Some(time) => {
                let found = instants.iter().rposition(|(_, instant)| *instant == Some(time));
                found.ok_or_else(|| {
                    anyhow::anyhow!("the log has no instant at {time} ms: the claim is false")
                })? + 1
            }
        };
        Ok(())
    }

    /// How many instants a log holds.
    #[must_use]
    pub fn instants(&self) -> usize {
        match self {
            Self::Log { instants, .. } => instants.len(),
            Self::Drive { left, .. } => left.unwrap_or(usize::MAX),
        }
    }
}

impl Iterator for Feed {
    type Item = Burst;

    fn next(&mut self) -> Option<Burst> {
        match self {
            Self::Log { text, instants, next } => {
                let (range, time) = instants.get(*next)?.clone();
                *next += 1;
                Some(Burst { bytes: text[range].to_vec(), time })
            }
            Self::Drive { drive, left } => {
                if let Some(left) = left {
                    *left = left.checked_sub(1)?;
                }
                let reading = drive.next()?;
                Some(Burst { bytes: ublox::print(&reading), time: Some(reading.time) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_replayed_byte_for_byte() {
        let mut text = b"startup noise\r\n".to_vec();
        for reading in Drive::seeded(4, 1_790_000_000_000, 5).take(40) {
            text.extend(ublox::print(&reading));
        }
        let bursts: Vec<Burst> = Feed::log(text.clone()).collect();
        assert_eq!(bursts.len(), 40);
        assert_eq!(bursts.concat_bytes(), text);
    }

    #[test]
    fn it_continues_just_behind_a_claimed_instant_and_refuses_one_it_never_printed() {
        let start = 1_790_000_000_000;
        let text: Vec<u8> =
            Drive::seeded(4, start, 1).take(10).flat_map(|reading| ublox::print(&reading)).collect();
        let mut feed = Feed::log(text);
        feed.continue_after(Some(start + 6000)).unwrap();
        assert_eq!(feed.next().unwrap().time, Some(start + 7000));
        assert!(feed.continue_after(Some(start + 10_000)).is_err());
        feed.continue_after(None).unwrap();
        assert_eq!(feed.next().unwrap().time, Some(start));
    }

    trait ConcatBytes {
        fn concat_bytes(&self) -> Vec<u8>;
    }

    impl ConcatBytes for Vec<Burst> {
        fn concat_bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|burst| burst.bytes.clone()).collect()
        }
    }
}
