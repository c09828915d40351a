//! The live lane: what to send when on one connection. No I/O, and the time comes from outside.
//!
//! Fixes are sent in the order of their numbers. What was held when the connection was made goes at once; after that
//! a batch goes when its oldest fix has waited long enough, or when it is full. Asking for an acknowledgement is
//! part of sending, since the request travels as a flag on a batch.

use std::time::Duration;

use avl_shared::sequence::{RangeSet, SequenceRange};
use tokio::time::Instant;

use super::Pace;
use crate::buffer::Status;

/// Fixes in one batch on the wire, at most. Beyond it the codec gains nothing more.
pub const BATCH_FIXES: u64 = 300;

/// Ask for an acknowledgement when so many fixes are sent without one: some 25 KB that a broken connection would
/// send again.
const UNACKNOWLEDGED_FIXES: u64 = 6_000;

#[derive(Clone, Copy, Debug)]
pub struct LanePolicy {
    /// What a fix may have waited before it became durable; the lane waits only for the rest of the pace's latency.
    pub durability: Duration,
    pub ack_interval: Duration,
    pub ack_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send the batch that starts at this number, or at the first one held behind it.
    Send { from: u64 },
    /// Nothing to do before this time, or before the buffer changes or the cloud speaks.
    Wait { until: Option<Instant> },
    /// Everything is acknowledged, and nothing more will come.
    Done,
    /// The cloud owes an acknowledgement for too long: a half-open connection.
    Unanswered,
}

/// What decides whether a batch asks for an acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct AckSituation {
    /// A request has not been answered yet.
    pub outstanding: bool,
    /// Since the cloud last acknowledged or was last asked.
    pub since_last: Duration,
    /// Sent and not acknowledged, this batch included.
    pub unacknowledged: u64,
    /// The last batch before the agent ends.
    pub last_of_all: bool,
}

/// Whether a batch asks for an acknowledgement.
#[must_use]
pub fn ack_wanted(policy: &LanePolicy, now: AckSituation) -> bool {
    let worthwhile = now.since_last >= policy.ack_interval || now.unacknowledged >= UNACKNOWLEDGED_FIXES;
    now.last_of_all || (!now.outstanding && worthwhile)
}

#[derive(Clone, Copy, Debug)]
struct Request {
    /// When it was made, or last seen to progress.
    at: Instant,
    /// Answered when nothing up to this number is held.
    up_to: u64,
}

#[derive(Clone, Debug)]
pub struct Lane {
    policy: LanePolicy,
    /// The next number to send.
    next: u64,
    /// Numbers below were held when the connection was made: no reason to wait with them.
    backlog_end: u64,
    /// Since when there is something to send.
    unsent_since: Option<Instant>,
    request: Option<Request>,
    last_ack: Instant,
    last_sent: Option<SequenceRange>,
    finishing: bool,
}

impl Lane {
    /// For a connection that has just been welcomed, after the buffer forgot what the cloud has.
    #[must_use]
    pub fn new(policy: LanePolicy, status: &Status, now: Instant) -> Self {
        let next = status.held.first().unwrap_or(status.next_sequence);
        Self {
            policy,
            next,
            backlog_end: status.next_sequence,
            unsent_since: None,
            request: None,
            last_ack: now,
            last_sent: None,
            finishing: false,
        }
    }

    /// No more fixes will come: send what there is and have it acknowledged.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// Whether the cloud owes nothing and there is nothing for it.
    #[must_use]
    pub fn is_quiet(&self, status: &Status) -> bool {
        self.request.is_none() && self.unsent(status).is_empty()
    }

    /// When an outstanding request for an acknowledgement has stood for too long.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.request.map(|request| request.at + self.policy.ack_timeout)
    }

    pub fn decide(&mut self, status: &Status, pace: Pace, now: Instant) -> Decision {
        let deadline = self.deadline();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Decision::Unanswered;
        }
        let unsent = self.unsent(status);
        if let Some(first) = unsent.first() {
            let since = *self.unsent_since.get_or_insert(now);
            let due = since + pace.latency.saturating_sub(self.policy.durability);
            let urgent = first < self.backlog_end.max(pace.urgent_below)
                || unsent.count() >= BATCH_FIXES
                || self.finishing;
            return if urgent || due <= now {
                Decision::Send { from: first }
            } else {
                Decision::Wait { until: Some(deadline.map_or(due, |deadline| due.min(deadline))) }
            };
        }
        self.unsent_since = None;
        if self.finishing && self.request.is_none() {
            if status.is_settled() {
                return Decision::Done;
            }
            // All is sent, but nothing asked for an acknowledgement, and only a batch can ask: the last one again.
            if let Some(last) = self.last_sent.filter(|last| !status.held.within(*last).is_empty()) {
                return Decision::Send { from: last.first() };
            }
        }
        Decision::Wait { until: deadline }
    }

    /// This batch goes out now. Returns whether it asks for an acknowledgement.
    pub fn sending(&mut self, range: SequenceRange, status: &Status, now: Instant) -> bool {
        self.next = self.next.max(range.last().saturating_add(1));
        self.last_sent = Some(range);
        self.unsent_since = None;
        let asked = self.request.map_or(self.last_ack, |request| request.at.max(self.last_ack));
        let wanted = ack_wanted(
            &self.policy,
            AckSituation {
                outstanding: self.request.is_some(),
                since_last: now.saturating_duration_since(asked),
                unacknowledged: below(self.next, &status.held).count(),
                last_of_all: self.finishing && self.unsent(status).is_empty(),
            },
        );
        if wanted {
            self.request = Some(Request { at: now, up_to: self.next.saturating_sub(1) });
        }
        wanted
    }

    /// The cloud acknowledged, and the buffer has forgotten accordingly.
    pub fn acknowledged(&mut self, status: &Status, now: Instant) {
        self.last_ack = now;
        if let Some(request) = &mut self.request {
            if below(request.up_to.saturating_add(1), &status.held).is_empty() {
                self.request = None;
            } else {
                request.at = now;
            }
        }
    }

    fn unsent(&self, status: &Status) -> RangeSet {
        SequenceRange::new(self.next, u64::MAX).map(|rest| status.held.within(rest)).unwrap_or_default()
    }
}

fn below(end: u64, held: &RangeSet) -> RangeSet {
    end.checked_sub(1)
        .and_then(|last| SequenceRange::new(0, last))
        .map(|sent| held.within(sent))
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
