//! The two lanes: what to send when on one connection. No I/O, and the time comes from outside.
//!
//! The live lane carries new fixes, each batch when its oldest has waited long enough or when it is full. The backlog lane
//! carries what was held when the connection was made, oldest first, and what the live lane fell behind with. The
//! newest block goes by the live lane first of all: where the vehicle is matters more than where it was.
//!
//! What always holds, for one connection:
//!
//! 1. Every held number is sent by exactly one lane, once; only [`Lanes::finish`] sends a batch again, to ask.
//! 2. A live batch that is due is never held back by anything of the backlog.
//! 3. The backlog never stands still for want of an acknowledgement that nobody asked for.
//!
//! Asking for an acknowledgement is part of sending, since the request travels as a flag on a batch. Each lane keeps
//! order in itself and none to the other, so each has a request of its own: it is answered when nothing that this lane
//! had sent before it is held any more.

use std::time::Duration;

use avl_shared::sequence::{RangeSet, SequenceRange};
use tokio::time::Instant;

use super::Pace;
use super::window::Window;
use crate::buffer::Status;

/// Fixes in one batch on the wire, at most. Beyond it the codec gains nothing more.
pub const BATCH_FIXES: u64 = 300;

/// Ask for an acknowledgement when so many fixes are sent without one: some 25 KB that a broken connection would
/// send again.
const UNACKNOWLEDGED_FIXES: u64 = 6_000;

/// A live lane with more than this to send has fallen behind: its link takes less than the receiver gives.
const BEHIND_FIXES: u64 = 2 * BATCH_FIXES;

#[derive(Clone, Copy, Debug)]
pub struct LanePolicy {
    /// What a fix may have waited before it became durable; the lane waits only for the rest of the pace's latency.
    pub durability: Duration,
    pub ack_interval: Duration,
    pub ack_timeout: Duration,
    /// Bytes a second of the backlog, at most; 0 for no limit but the link's.
    pub backlog_rate: u64,
}

/// What the lanes may do at present.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    pub pace: Pace,
    /// Without it the backlog stays where it is.
    pub backlog: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneName {
    Live,
    Backlog,
}

/// The batch whose first block holds `from`, of no more fixes than this unless that block alone has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub from: u64,
    pub max_fixes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send what each lane has next as soon as the link takes it, live first. Decide again at `wake_at`, or when the
    /// buffer changes or the cloud speaks.
    Go { live: Option<Next>, backlog: Option<Next>, wake_at: Option<Instant> },
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
    /// Enough is sent and not acknowledged to ask for it out of turn.
    pub much_unacknowledged: bool,
    /// The last batch before the agent ends.
    pub last_of_all: bool,
}

/// Whether a batch asks for an acknowledgement.
#[must_use]
pub fn ack_wanted(policy: &LanePolicy, now: AckSituation) -> bool {
    let worthwhile = now.since_last >= policy.ack_interval || now.much_unacknowledged;
    now.last_of_all || (!now.outstanding && worthwhile)
}

#[derive(Clone, Debug)]
struct Request {
    made: Instant,
    /// When it was made, or last seen to progress.
    at: Instant,
    /// Answered when none of these is held.
    waits_for: RangeSet,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    /// Sent on this connection, and held when last looked at.
    sent: RangeSet,
    last_sent: Option<SequenceRange>,
    request: Option<Request>,
}

impl Lane {
    /// Forgets what is no longer held. Returns the request that this answers.
    fn settle(&mut self, held: &RangeSet) -> Option<Request> {
        self.sent = common(&self.sent, held);
        let answered =
            self.request.as_ref().is_some_and(|request| common(&request.waits_for, held).is_empty());
        if answered { self.request.take() } else { None }
    }
}

#[derive(Clone, Debug)]
pub struct Lanes {
    policy: LanePolicy,
    live: Lane,
    backlog: Lane,
    /// Unsent numbers from here on are the live lane's, those below it the backlog's. On a block's border once the live
    /// lane has sent from it.
    split: u64,
    /// The newest block, which shows where the vehicle is, has not been sent yet: first of all.
    head: bool,
    /// Since when the live lane has something to send.
    unsent_since: Option<Instant>,
    last_ack: Instant,
    window: Window,
    /// The backlog's rate allows nothing before this time.
    paced_until: Instant,
    finishing: bool,
}

impl Lanes {
    /// For a connection that has just been welcomed, after the buffer forgot what the cloud has.
    #[must_use]
    pub fn new(policy: LanePolicy, status: &Status, now: Instant) -> Self {
        Self {
            policy,
            live: Lane::default(),
            backlog: Lane::default(),
            split: status.held.last().unwrap_or(status.next_sequence),
            head: !status.held.is_empty(),
            unsent_since: None,
            last_ack: now,
            window: Window::new(),
            paced_until: now,
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
        self.live.request.is_none() && self.backlog.request.is_none() && self.unsent(status).is_empty()
    }

    /// Numbers that the lanes have still to send on this connection: (live, backlog).
    #[must_use]
    pub fn depths(&self, status: &Status) -> (u64, u64) {
        let (live, backlog) = self.divided(status);
        (live.count(), backlog.count())
    }

    /// When an outstanding request for an acknowledgement has stood for too long.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let requests = [&self.live.request, &self.backlog.request].into_iter().flatten();
        requests.map(|request| request.at + self.policy.ack_timeout).min()
    }

    pub fn decide(&mut self, status: &Status, orders: Orders, now: Instant) -> Decision {
        self.settle(status, now);
        let deadline = self.deadline();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Decision::Unanswered;
        }
        let (mut live, mut backlog) = self.divided(status);
        if live.count() >= BEHIND_FIXES {
            self.split = live.last().unwrap_or(self.split);
            self.head = true;
            (live, backlog) = self.divided(status);
        }
        self.head &= !live.is_empty();
        if self.finishing && live.is_empty() && backlog.is_empty() {
            return self.decide_last(status, deadline);
        }
        let (live, due) = self.live_next(&live, orders.pace, now);
        // The split may lie within the newest block until that has been sent.
        let may_go = orders.backlog && !self.head;
        let (backlog, paced) = if may_go { self.backlog_next(&backlog, now) } else { (None, None) };
        Decision::Go { live, backlog, wake_at: [deadline, due, paced].into_iter().flatten().min() }
    }

    /// This batch of so many bytes goes out now. Returns whether it asks for an acknowledgement.
    pub fn sending(
        &mut self,
        lane: LaneName,
        range: SequenceRange,
        bytes: u64,
        status: &Status,
        now: Instant,
    ) -> bool {
        let unacknowledged = self.live.sent.count().saturating_add(range.count());
        let much_unacknowledged = match lane {
            LaneName::Live => {
                self.split = self.split.min(range.first());
                self.head = false;
                self.unsent_since = None;
                unacknowledged >= UNACKNOWLEDGED_FIXES
            }
            LaneName::Backlog => {
                self.window.sent(range, bytes);
                self.pace_backlog(bytes, now);
                self.window.is_half_full()
            }
        };
        let state = self.lane(lane);
        state.sent.insert(range);
        state.last_sent = Some(range);
        let asked = state.request.as_ref().map(|request| request.at);
        let outstanding = asked.is_some();
        let (live, backlog) = self.divided(status);
        let last = if lane == LaneName::Live { live.is_empty() } else { backlog.is_empty() };
        let since = asked.map_or(self.last_ack, |asked| asked.max(self.last_ack));
        let situation = AckSituation {
            outstanding,
            since_last: now.saturating_duration_since(since),
            much_unacknowledged,
            last_of_all: self.finishing && last,
        };
        let wanted = ack_wanted(&self.policy, situation);
        if wanted {
            let state = self.lane(lane);
            let waits_for = common(&state.sent, &status.held);
            state.request = Some(Request { made: now, at: now, waits_for });
        }
        wanted
    }

    /// Whether live batches gather what several blocks hold, so that one more small block pays.
    #[must_use]
    pub fn gathers(&self, pace: Pace) -> bool {
        !self.finishing && pace.latency > self.policy.durability
    }

    /// The same live batch with all that the buffer holds by now.
    #[must_use]
    pub fn filled(&self, next: Next, status: &Status) -> Next {
        let (live, _) = self.divided(status);
        let run = live.ranges().iter().find(|run| run.contains(next.from));
        run.and_then(|run| SequenceRange::new(next.from, run.last())).map_or(next, self::next)
    }

    /// The cloud acknowledged, and the buffer has forgotten accordingly.
    pub fn acknowledged(&mut self, status: &Status, now: Instant) {
        self.last_ack = now;
        self.settle(status, now);
        for lane in [&mut self.live, &mut self.backlog] {
            if let Some(request) = &mut lane.request {
                request.at = now;
            }
        }
    }

    fn settle(&mut self, status: &Status, now: Instant) {
        self.live.settle(&status.held);
        self.window.settle(&status.held);
        if let Some(answered) = self.backlog.settle(&status.held) {
            self.window.answered(now.saturating_duration_since(answered.made));
        }
    }

    fn live_next(&mut self, unsent: &RangeSet, pace: Pace, now: Instant) -> (Option<Next>, Option<Instant>) {
        let Some(run) = unsent.ranges().first() else {
            self.unsent_since = None;
            return (None, None);
        };
        let since = *self.unsent_since.get_or_insert(now);
        let due = since + pace.latency.saturating_sub(self.policy.durability);
        let at_once =
            self.head || self.finishing || run.first() < pace.urgent_below || unsent.count() >= BATCH_FIXES;
        if at_once || due <= now { (Some(next(*run)), None) } else { (None, Some(due)) }
    }

    fn backlog_next(&self, unsent: &RangeSet, now: Instant) -> (Option<Next>, Option<Instant>) {
        let Some(run) = unsent.ranges().first() else { return (None, None) };
        // Without a request nothing would ever empty a full window: then one more goes, and asks.
        if self.backlog.request.is_some() && self.window.is_full() {
            return (None, None);
        }
        if self.paced_until > now {
            return (None, Some(self.paced_until));
        }
        (Some(next(*run)), None)
    }

    /// All is sent and nothing more will come.
    fn decide_last(&self, status: &Status, deadline: Option<Instant>) -> Decision {
        if status.is_settled() {
            return Decision::Done;
        }
        // Only a batch can ask: where nothing asks yet, the last one again.
        let again = |lane: &Lane| {
            let last = lane.last_sent?;
            let from = status.held.within(last).first()?;
            lane.request.is_none().then_some(Next { from, max_fixes: last.count() })
        };
        Decision::Go { live: again(&self.live), backlog: again(&self.backlog), wake_at: deadline }
    }

    fn pace_backlog(&mut self, bytes: u64, now: Instant) {
        if let Some(micros) = bytes.saturating_mul(1_000_000).checked_div(self.policy.backlog_rate) {
            self.paced_until = self.paced_until.max(now) + Duration::from_micros(micros);
        }
    }

    fn lane(&mut self, lane: LaneName) -> &mut Lane {
        match lane {
            LaneName::Live => &mut self.live,
            LaneName::Backlog => &mut self.backlog,
        }
    }

    fn unsent(&self, status: &Status) -> RangeSet {
        without(&without(&status.held, &self.live.sent), &self.backlog.sent)
    }

    /// What is unsent, for (live, backlog).
    fn divided(&self, status: &Status) -> (RangeSet, RangeSet) {
        let unsent = self.unsent(status);
        let part = |range: Option<SequenceRange>| range.map(|range| unsent.within(range)).unwrap_or_default();
        let below = self.split.checked_sub(1).and_then(|last| SequenceRange::new(0, last));
        (part(SequenceRange::new(self.split, u64::MAX)), part(below))
    }
}

/// Not beyond the run: what follows it is on its way already, or acknowledged, or the other lane's.
fn next(run: SequenceRange) -> Next {
    Next { from: run.first(), max_fixes: run.count().min(BATCH_FIXES) }
}

fn common(these: &RangeSet, those: &RangeSet) -> RangeSet {
    these.ranges().iter().flat_map(|range| those.within(*range).ranges().to_vec()).collect()
}

fn without(these: &RangeSet, those: &RangeSet) -> RangeSet {
    these.ranges().iter().flat_map(|range| those.missing_within(*range).ranges().to_vec()).collect()
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
