//! What every live source does with the bytes it gets, however they arrive.
//!
//! [`Intake`] feeds the receiver, sends its fixes on, tells it when the line has paused, and keeps the view: once for
//! each fix, and once a second while none comes.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Observed, ReceiverView, SourceState, Surroundings};
use crate::fix_json::FixRow;
use crate::health::View;
use crate::receiver::{Counts, Observation, Receiver};
use crate::run::uptime_ms;

/// Silence within an epoch is at most what a receiver needs to compute between two sentences (200 ms were seen); half
/// a second of it means that the epoch is over, whatever usually follows.
pub(super) const SILENCE: Duration = Duration::from_millis(500);

/// How often a source looks at its clock while nothing arrives.
const TICK: Duration = Duration::from_secs(1);

/// Without a valid sentence for so long, a source is called silent. Receivers print at least every other second; some
/// leave their line alone for several seconds while they start.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// Nobody takes fixes any more: the agent is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConsumerGone;

/// What waiting for bytes has led to.
#[derive(Debug)]
pub(super) enum Waited<T> {
    Got(T),
    Failed(String),
    /// Nothing came; time for whoever waits to look at the clock.
    Quiet,
}

pub(super) struct Intake<'a> {
    receiver: Receiver,
    fixes: &'a mpsc::Sender<Observed>,
    view: &'a View<ReceiverView>,
    around: &'a Surroundings,
    started: Instant,
    observed: Vec<Observation>,
    bytes: u64,
    paused: bool,
    /// Valid sentences at the last look, and when their number last rose.
    sentences: u64,
    heard: Instant,
    shown: Instant,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        receiver: Receiver,
        fixes: &'a mpsc::Sender<Observed>,
        view: &'a View<ReceiverView>,
        around: &'a Surroundings,
    ) -> Self {
        let now = Instant::now();
        Self {
            receiver,
            fixes,
            view,
            around,
            started: now,
            observed: Vec::new(),
            bytes: 0,
            paused: false,
            sentences: 0,
            heard: now,
            shown: now,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.receiver.counts()
    }

    /// Bytes taken since the start.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn view(&self) -> &'a View<ReceiverView> {
        self.view
    }

    /// How long no valid sentence has come.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Awaits `reading`, which has to lose nothing when it is dropped; a pause of the line ends the receiver's epoch.
    pub(super) async fn wait<T>(
        &mut self,
        reading: impl Future<Output = io::Result<T>>,
    ) -> Result<Waited<T>, ConsumerGone> {
        let limit = if self.paused { TICK } else { SILENCE };
        let fixes = self.fixes;
        let read = tokio::select! {
            read = timeout(limit, reading) => read,
            () = fixes.closed() => return Err(ConsumerGone),
        };
        match read {
            Ok(Ok(got)) => Ok(Waited::Got(got)),
            Ok(Err(error)) => Ok(Waited::Failed(error.to_string())),
            Err(_silent) => {
                if !self.paused {
                    self.paused = true;
                    let arrived_ms = self.arrived_ms();
                    self.receiver.pause(arrived_ms, |observation| self.observed.push(observation));
                    self.send().await?;
                }
                self.show_counts();
                Ok(Waited::Quiet)
            }
        }
    }

    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), ConsumerGone> {
        self.paused = false;
        self.bytes += bytes.len() as u64;
        if let Some(utc) = self.around.trusted_utc() {
            self.receiver.trust_date(utc);
        }
        let arrived_ms = self.arrived_ms();
        self.receiver.push(bytes, arrived_ms, |observation| self.observed.push(observation));
        let sentences = self.receiver.counts().sentences;
        if sentences > self.sentences {
            (self.sentences, self.heard) = (sentences, Instant::now());
        }
        self.send().await?;
        if self.shown.elapsed() >= TICK {
            self.show_counts();
        }
        Ok(())
    }

    /// The line was interrupted: what had come is a fix, and a sentence that had begun is given up.
    pub(super) async fn interrupted(&mut self) -> Result<(), ConsumerGone> {
        let arrived_ms = self.arrived_ms();
        self.receiver.finish(arrived_ms, |observation| self.observed.push(observation));
        self.send().await
    }

    /// Says that the source is open.
    pub(super) fn opened(&mut self) {
        self.heard = Instant::now();
        self.view.update(|view| view.state = SourceState::Reading);
    }

    /// Waits before the next try, unless the agent ends.
    pub(super) async fn rest(&self, pause: Duration) -> Result<(), ConsumerGone> {
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.fixes.closed() => Err(ConsumerGone),
        }
    }

    /// Ends when the agent does.
    pub(super) async fn gone(&self) -> ConsumerGone {
        self.fixes.closed().await;
        ConsumerGone
    }

    /// For a source that is open: whether sentences arrive.
    pub(super) fn show_state(&self) {
        let state =
            if self.silent_for() >= SILENT_AFTER { SourceState::Silent } else { SourceState::Reading };
        if self.view.watch().borrow().state != state {
            if state == SourceState::Silent {
                tracing::warn!(
                    bytes = self.bytes,
                    "no valid sentence for {SILENT_AFTER:?}: check the receiver's power, its rate and that it prints NMEA"
                );
            }
            self.view.update(|view| view.state = state);
        }
    }

    fn arrived_ms(&self) -> Option<u64> {
        u64::try_from(self.started.elapsed().as_millis()).ok()
    }

    fn show_counts(&mut self) {
        self.shown = Instant::now();
        let counts = self.receiver.counts();
        if self.view.watch().borrow().counts != counts {
            self.view.update(|view| view.counts = counts);
        }
    }

    async fn send(&mut self) -> Result<(), ConsumerGone> {
        for Observation { fix, extras, .. } in std::mem::take(&mut self.observed) {
            self.shown = Instant::now();
            let row = FixRow::from(&fix);
            self.view.update(|view| {
                view.counts = self.receiver.counts();
                view.doubt(fix.verdict);
                (view.sky, view.extras) = (self.receiver.sky(), extras);
                view.antenna = self.receiver.antenna();
                (view.last_fix, view.last_fix_uptime_ms) = (Some(row), uptime_ms());
            });
            let observed = Observed { fix, extras, cursor: None };
            self.fixes.send(observed).await.map_err(|_| ConsumerGone)?;
        }
        Ok(())
    }
}

/// Waits that double from `first` to `longest`, and start anew once something was heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Retry {
    pub(super) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause
    }

    pub(super) const fn succeeded(&mut self) {
        self.next = self.first;
    }
}

/// Says the same trouble once, however often it is met.
#[derive(Debug, Default)]
pub(super) struct Complaint(Option<String>);

impl Complaint {
    pub(super) fn say(&mut self, view: &View<ReceiverView>, cause: String) {
        if self.0.as_ref() != Some(&cause) {
            tracing::warn!("{cause}; trying again");
            view.update(|view| view.state = SourceState::Absent { cause: cause.clone() });
            self.0 = Some(cause);
        }
    }

    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}
