//! Which of two transports to use: a pure state machine. The time comes from outside; [`transport`] carries it out.
//!
//! One transport is preferred (QUIC, unless configured otherwise), the other one stands in for it, and only on evidence:
//! the preferred one has failed repeatedly, and the other one works right after it has failed again. In a tunnel both
//! fail, and the vehicle comes out of it on the transport that it prefers. While the stand-in carries the link the
//! preferred one is probed, ever more seldom, because a probe is a whole handshake (4.3 KB on QUIC); a change of
//! network, which is when a block may have ended, is a reason to probe at once.
//!
//! It does not flap: a return that does not last makes the wait for the next one longer.

mod transport;

pub use transport::{Failover, Settings};

use std::time::Duration;

use tokio::time::Instant;

use super::Ending;

/// Failures of the preferred transport in a row before the other one is tried: one is a lost packet too many.
const FAILURES: u32 = 2;
/// Between two probes, however often the network changes: a gateway on the border of two cells may change it each minute.
const BETWEEN_PROBES: Duration = Duration::from_secs(60);

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Preferred,
    StandIn,
}

#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Wait for the first probe, and how long a connection of the preferred transport must last to show that it works.
    pub first_probe: Duration,
    pub longest_probe: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Failures since the preferred transport was last known to work.
    Preferred {
        failures: u32,
    },
    StandIn {
        probe_at: Instant,
    },
}

#[derive(Clone, Debug)]
pub struct Choice {
    timing: Timing,
    state: State,
    /// Wait before the next probe to be planned.
    probe_wait: Duration,
    last_probe: Option<Instant>,
}

impl Choice {
    #[must_use]
    pub const fn new(timing: Timing) -> Self {
        let state = State::Preferred { failures: 0 };
        Self { timing, state, probe_wait: timing.first_probe, last_probe: None }
    }

    /// What to try now, one after the other without a wait between, until one connects.
    #[must_use]
    pub fn attempts(&self, now: Instant) -> &'static [Way] {
        match self.state {
            State::Preferred { failures } if failures + 1 < FAILURES => &[Way::Preferred],
            State::StandIn { probe_at } if now < probe_at => &[Way::StandIn, Way::Preferred],
            _ => &[Way::Preferred, Way::StandIn],
        }
    }

    /// An attempt or a probe has failed.
    pub fn failed(&mut self, way: Way, now: Instant) {
        match (way, &mut self.state) {
            (Way::Preferred, State::Preferred { failures }) => *failures = failures.saturating_add(1),
            (Way::Preferred, State::StandIn { probe_at }) if *probe_at <= now => {
                self.last_probe = Some(now);
                self.stand_in(now);
            }
            // Before the probe is due it was tried only because the stand-in failed: no network, no evidence.
            (Way::Preferred, State::StandIn { .. }) | (Way::StandIn, _) => {}
        }
    }

    /// An attempt or a probe was welcomed.
    pub fn connected(&mut self, way: Way, now: Instant) {
        match (way, self.state) {
            // On probation: one more failure, and the stand-in is tried again.
            (Way::Preferred, State::StandIn { .. }) => {
                self.state = State::Preferred { failures: FAILURES - 1 };
            }
            (Way::StandIn, State::Preferred { .. }) => self.stand_in(now),
            (Way::Preferred, State::Preferred { .. }) | (Way::StandIn, State::StandIn { .. }) => {}
        }
    }

    /// A connection that was made at `since` has ended.
    pub fn ended(&mut self, way: Way, ending: Ending, since: Instant, now: Instant) {
        let State::Preferred { failures } = &mut self.state else { return };
        if way == Way::StandIn {
            return;
        }
        if now.saturating_duration_since(since) >= self.timing.first_probe {
            *failures = 0;
            self.probe_wait = self.timing.first_probe;
        } else if ending == Ending::Broken {
            // A network that lets handshakes pass and nothing else looks like this.
            *failures = failures.saturating_add(1);
        }
    }

    /// When to probe the preferred transport while the stand-in carries the link.
    #[must_use]
    pub const fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::StandIn { probe_at } => Some(probe_at),
            State::Preferred { .. } => None,
        }
    }

    /// The vehicle is on another network: what failed on the last one says nothing about this one.
    pub fn network_changed(&mut self, now: Instant) {
        self.probe_wait = self.timing.first_probe;
        match &mut self.state {
            State::Preferred { failures } => *failures = 0,
            State::StandIn { probe_at } => {
                let allowed = self.last_probe.map_or(now, |last| (last + BETWEEN_PROBES).max(now));
                *probe_at = allowed.min(*probe_at);
            }
        }
    }

    fn stand_in(&mut self, now: Instant) {
        self.state = State::StandIn { probe_at: now + self.probe_wait };
        self.probe_wait = (self.probe_wait * 2).min(self.timing.longest_probe);
    }
}

#[cfg(test)]
#[path = "failover_tests.rs"]
mod tests;
