//! The running receiver: a task that prints burst after burst and can be halted, wound back and let go on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::feed::{Burst, Feed};
use super::port::Port;

/// A recording's gaps are not waited out: no pause is longer than this many ordinary periods.
const LONGEST_GAP_PERIODS: f64 = 3.0;
/// A pseudo-terminal does not always say that it has room again: look at least this often.
const ROOM_CHECK: Duration = Duration::from_millis(20);

/// How fast bursts follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the reader takes them.
    Unpaced,
    /// By their own times, so many times as fast; waits for a reader that is slower.
    Accelerated(f64),
    /// By their own times. What nobody reads in time is lost, as on a serial line.
    Real,
}

/// One burst that was printed whole.
#[derive(Clone, Copy, Debug)]
pub struct Printed {
    pub time: Option<UtcMillis>,
    pub at: Instant,
}

#[derive(Clone, Debug, Default)]
struct Record {
    /// Only of a log: a drive goes on for ever.
    printed: Vec<Printed>,
    count: usize,
    /// Bursts cut short because nobody read.
    overruns: u64,
}

enum Order {
    Halt(oneshot::Sender<()>),
    ContinueAfter(Option<UtcMillis>, oneshot::Sender<anyhow::Result<()>>),
    Go,
}

/// Dropping it takes the device away.
#[derive(Debug)]
pub struct VirtualReceiver {
    device: PathBuf,
    orders: mpsc::Sender<Order>,
    record: Arc<Mutex<Record>>,
    finished: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl VirtualReceiver {
    /// Plugs the receiver in; it prints at once.
    ///
    /// # Errors
    /// When there is no pseudo-terminal, or `link` cannot be made to point to it.
    pub fn plug_in(feed: Feed, pace: Pace, link: Option<&Path>) -> anyhow::Result<Self> {
        let port = Port::open(link)?;
        let device = port.path().to_owned();
        let (orders, inbox) = mpsc::channel(4);
        let (finished_sender, finished) = watch::channel(false);
        let record = Arc::new(Mutex::new(Record::default()));
        let printer = Printer {
            port,
            feed,
            pace,
            record: Arc::clone(&record),
            finished: finished_sender,
            burst: None,
            written: 0,
            due: Instant::now(),
            before: None,
            period: Duration::ZERO,
        };
        let task = tokio::spawn(printer.run(inbox));
        Ok(Self { device, orders, record, finished, task })
    }

    /// The serial device to read.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Stops printing, in the middle of a sentence if need be, and throws away what nobody has read.
    pub async fn halt(&self) {
        let (done, halted) = oneshot::channel();
        if self.orders.send(Order::Halt(done)).await.is_ok() {
            let _ = halted.await;
        }
    }

    /// Winds a halted log to just behind the instant `time`, or to its start.
    ///
    /// # Errors
    /// When the log has no such instant.
    pub async fn continue_after(&self, time: Option<UtcMillis>) -> anyhow::Result<()> {
        let (done, outcome) = oneshot::channel();
        self.orders.send(Order::ContinueAfter(time, done)).await?;
        outcome.await?
    }

    /// Prints again.
    pub async fn go(&self) {
        let _ = self.orders.send(Order::Go).await;
    }

    /// What was printed whole of a log so far, in order; what was printed twice stands there twice.
    #[must_use]
    pub fn printed(&self) -> Vec<Printed> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).printed.clone()
    }

    /// How many bursts were printed whole so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    #[must_use]
    pub fn overruns(&self) -> u64 {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).overruns
    }

    /// Whether a log has been printed to its end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        *self.finished.borrow()
    }

    /// Returns when a log has been printed to its end.
    pub async fn finished(&self) {
        let _ = self.finished.clone().wait_for(|finished| *finished).await;
    }
}

impl Drop for VirtualReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Printer {
    port: Port,
    feed: Feed,
    pace: Pace,
    record: Arc<Mutex<Record>>,
    finished: watch::Sender<bool>,
    burst: Option<Burst>,
    written: usize,
    due: Instant,
    before: Option<UtcMillis>,
    period: Duration,
}

impl Printer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let mut halted = false;
        loop {
            let idle = halted || *self.finished.borrow();
            tokio::select! {
                biased;
                order = inbox.recv() => match order {
                    None => return,
                    Some(Order::Halt(done)) => {
                        halted = true;
                        self.forget_unread();
                        let _ = done.send(());
                    }
                    Some(Order::ContinueAfter(time, done)) => {
                        let _ = done.send(self.feed.continue_after(time));
                    }
                    Some(Order::Go) => {
                        halted = false;
                        self.finished.send_replace(false);
                        self.due = Instant::now();
                        self.before = None;
                    }
                },
                () = self.print(), if !idle => {}
            }
        }
    }

    fn forget_unread(&mut self) {
        self.burst = None;
        self.written = 0;
        // Both fail only when the terminal is gone, and then there is nothing to forget.
        let _ = self.port.discard_unread();
        let _ = self.port.release_claim();
    }

    /// Prints the burst at hand, or takes the next. Cancelling it loses nothing: progress is in `self`.
    async fn print(&mut self) {
        if self.burst.is_none() {
            let Some(burst) = self.feed.next() else {
                self.finished.send_replace(true);
                return;
            };
            self.schedule(&burst);
            self.burst = Some(burst);
            self.written = 0;
        }
        tokio::time::sleep_until(self.due).await;
        // A simulated receiver is unplugged by dropping it, never by a reader's claim on the device.
        let _ = self.port.release_claim();
        let patience =
            (self.pace == Pace::Real).then(|| self.due + self.period.max(Duration::from_millis(100)));
        while let Some(burst) = &self.burst {
            let rest = burst.bytes.get(self.written..).unwrap_or_default();
            if rest.is_empty() {
                let printed = Printed { time: burst.time, at: Instant::now() };
                let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
                record.count += 1;
                if matches!(self.feed, Feed::Log { .. }) {
                    record.printed.push(printed);
                }
                self.burst = None;
                return;
            }
            if patience.is_some_and(|patience| Instant::now() > patience) {
                self.record.lock().unwrap_or_else(PoisonError::into_inner).overruns += 1;
                self.burst = None;
                return;
            }
            match tokio::time::timeout(ROOM_CHECK, self.port.write_some(rest)).await {
                Ok(Ok(count)) => self.written += count,
                // No room yet, or the terminal is in between two readers.
                Ok(Err(_)) => tokio::time::sleep(ROOM_CHECK).await,
                Err(_) => {}
            }
        }
    }

    fn schedule(&mut self, burst: &Burst) {
        let factor = match self.pace {
            Pace::Unpaced => return,
            Pace::Accelerated(factor) => factor,
            Pace::Real => 1.0,
        };
        let gap_s = match (self.before, burst.time) {
            (Some(before), Some(now)) if now > before => (now - before) as f64 / 1000.0 / factor,
            _ => 0.0,
        };
        let period_s = self.period.as_secs_f64();
        let gap_s = if period_s > 0.0 { gap_s.min(LONGEST_GAP_PERIODS * period_s) } else { gap_s.min(5.0) };
        let gap = Duration::from_secs_f64(gap_s);
        if self.period.is_zero() {
            self.period = gap;
        }
        // A late burst does not make the following ones hurry.
        self.due = (self.due + gap).max(Instant::now() - self.period);
        self.before = burst.time.or(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Drive;
    use crate::receiver::ublox;
    use std::io::Read as _;

    fn log(instants: usize) -> Vec<u8> {
        Drive::seeded(11, 1_790_000_000_000, 1)
            .take(instants)
            .flat_map(|reading| ublox::print(&reading))
            .collect()
    }

    async fn read_exactly(device: PathBuf, count: usize) -> Vec<u8> {
        tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::open(device).unwrap();
            let mut bytes = vec![0; count];
            file.read_exact(&mut bytes).unwrap();
            bytes
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn a_reader_gets_the_log_as_it_was_recorded() {
        let text = log(300);
        let receiver = VirtualReceiver::plug_in(Feed::log(text.clone()), Pace::Unpaced, None).unwrap();
        let got = read_exactly(receiver.device().to_owned(), text.len()).await;
        assert!(got == text, "the bytes differ");
        receiver.finished().await;
        assert_eq!(receiver.count(), 300);
    }

    #[tokio::test]
    async fn with_nobody_reading_it_neither_ends_nor_hangs_and_can_be_wound_back() {
        let text = log(300);
        let receiver = VirtualReceiver::plug_in(Feed::log(text.clone()), Pace::Unpaced, None).unwrap();
        while receiver.count() == 0 {
            tokio::task::yield_now().await;
        }
        receiver.halt().await;
        assert!(!receiver.is_finished(), "a pseudo-terminal holds less than this log");
        receiver.continue_after(None).await.unwrap();
        receiver.go().await;
        let got = read_exactly(receiver.device().to_owned(), text.len()).await;
        assert!(got == text, "something unread was left in the line");
    }

    #[tokio::test]
    async fn a_link_names_the_device_until_the_receiver_is_unplugged() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("gnss0");
        let receiver = VirtualReceiver::plug_in(Feed::log(log(1)), Pace::Unpaced, Some(&link)).unwrap();
        assert_eq!(receiver.device(), link);
        let target = std::fs::read_link(&link).unwrap();
        assert!(target.starts_with("/dev/pts"), "{}", target.display());
        drop(receiver);
        while std::fs::symlink_metadata(&link).is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
