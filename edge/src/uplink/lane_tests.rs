use avl_shared::link::LossReason;
use avl_shared::sequence::Epoch;

use super::*;
use crate::buffer::{FlashView, Losses};

#[path = "lane_properties.rs"]
mod properties;

const POLICY: LanePolicy = LanePolicy {
    durability: Duration::from_secs(5),
    ack_interval: Duration::from_secs(180),
    ack_timeout: Duration::from_secs(60),
    backlog_rate: 0,
};
const PACE: Pace = Pace { latency: Duration::from_secs(25), stay_connected: true, urgent_below: 0 };
const ORDERS: Orders = Orders { pace: PACE, backlog: true };
const WAIT: Duration = Duration::from_secs(20);
/// As real batches weigh, roughly.
const BYTES_A_FIX: u64 = 4;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn range(first: u64, last: u64) -> SequenceRange {
    SequenceRange::new(first, last).unwrap()
}

/// A buffer that holds `first..next`.
fn holding(first: u64, next: u64) -> Status {
    let held = next.checked_sub(1).and_then(|last| SequenceRange::new(first, last)).into_iter().collect();
    status(held, next)
}

fn status(held: RangeSet, next: u64) -> Status {
    Status {
        epoch: Epoch(1),
        next_sequence: next,
        held,
        lost: Losses::default(),
        bytes: 0,
        flash: FlashView::default(),
    }
}

fn go(live: Option<(u64, u64)>, backlog: Option<(u64, u64)>, wake_at: Option<Instant>) -> Decision {
    let next = |next: Option<(u64, u64)>| next.map(|(from, max_fixes)| Next { from, max_fixes });
    Decision::Go { live: next(live), backlog: next(backlog), wake_at }
}

/// Sends and returns whether the batch asks.
fn send(lanes: &mut Lanes, lane: LaneName, first: u64, last: u64, status: &Status, now: Instant) -> bool {
    lanes.sending(lane, range(first, last), (last - first + 1) * BYTES_A_FIX, status, now)
}

use LaneName::{Backlog, Live};

#[test]
fn the_newest_block_goes_first_by_the_live_lane_and_the_rest_in_order_by_the_other() {
    let now = Instant::now();
    let status = holding(100, 760);
    let mut lanes = Lanes::new(POLICY, &status, now);
    assert_eq!(lanes.decide(&status, ORDERS, now), go(Some((759, 1)), None, None));
    // The block that holds the last number is 700 to 759.
    assert!(!send(&mut lanes, Live, 700, 759, &status, now));
    assert_eq!(lanes.decide(&status, ORDERS, now), go(None, Some((100, 300)), None));
    assert!(!send(&mut lanes, Backlog, 100, 399, &status, now));
    assert_eq!(lanes.decide(&status, ORDERS, now), go(None, Some((400, 300)), None));
    send(&mut lanes, Backlog, 400, 699, &status, now);
    assert_eq!(lanes.decide(&status, ORDERS, now), go(None, None, None));
}

#[test]
fn a_live_batch_that_is_due_goes_beside_any_backlog() {
    let now = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 30_000), now);
    send(&mut lanes, Live, 29_940, 29_999, &holding(0, 30_000), now);
    lanes.decide(&holding(0, 30_025), ORDERS, now);
    let decision = lanes.decide(&holding(0, 30_025), ORDERS, now + WAIT);
    assert_eq!(decision, go(Some((30_000, 25)), Some((0, 300)), None));
}

#[test]
fn a_new_fix_waits_for_company_but_not_longer_than_allowed() {
    let now = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    let due = now + WAIT;
    assert_eq!(lanes.decide(&holding(0, 5), ORDERS, now), go(None, None, Some(due)));
    assert_eq!(lanes.decide(&holding(0, 10), ORDERS, now + seconds(5)), go(None, None, Some(due)));
    assert_eq!(lanes.decide(&holding(0, 25), ORDERS, due), go(Some((0, 25)), None, None));
    send(&mut lanes, Live, 0, 24, &holding(0, 25), due);
    // The next one waits anew.
    let later = due + seconds(5);
    assert_eq!(lanes.decide(&holding(0, 30), ORDERS, later), go(None, None, Some(later + WAIT)));
}

#[test]
fn an_urgent_fix_does_not_wait_and_a_changed_pace_counts_at_once() {
    let now = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    let at = |pace| Orders { pace, backlog: true };
    assert_eq!(lanes.decide(&holding(0, 5), ORDERS, now), go(None, None, Some(now + WAIT)));
    let hourly = Pace { latency: seconds(3605), ..PACE };
    let due = now + seconds(3600);
    assert_eq!(lanes.decide(&holding(0, 5), at(hourly), now), go(None, None, Some(due)));
    let alarm = Pace { urgent_below: 5, ..hourly };
    assert_eq!(lanes.decide(&holding(0, 5), at(alarm), now), go(Some((0, 5)), None, None));
    send(&mut lanes, Live, 0, 4, &holding(0, 5), now);
    assert_eq!(lanes.decide(&holding(0, 6), at(alarm), now), go(None, None, Some(due)), "that alarm is over");
}

#[test]
fn a_full_batch_does_not_wait() {
    let now = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    assert_eq!(lanes.decide(&holding(0, BATCH_FIXES - 1), ORDERS, now), go(None, None, Some(now + WAIT)));
    assert_eq!(lanes.decide(&holding(0, BATCH_FIXES), ORDERS, now), go(Some((0, 300)), None, None));
}

#[test]
fn a_live_lane_that_falls_behind_leaves_what_it_missed_to_the_backlog() {
    let now = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    send(&mut lanes, Live, 0, 59, &holding(0, 60), now);
    let behind = holding(0, 60 + BEHIND_FIXES);
    assert_eq!(lanes.decide(&behind, ORDERS, now), go(Some((659, 1)), None, None));
    send(&mut lanes, Live, 600, 659, &behind, now);
    assert_eq!(lanes.decide(&behind, ORDERS, now), go(None, Some((60, 300)), None));
    // The run ends where the live lane has sent from.
    send(&mut lanes, Backlog, 60, 359, &behind, now);
    assert_eq!(lanes.decide(&behind, ORDERS, now), go(None, Some((360, 240)), None));
}

#[test]
fn a_forbidden_backlog_stays_where_it_is() {
    let now = Instant::now();
    let status = holding(0, 1000);
    let mut lanes = Lanes::new(POLICY, &status, now);
    let live_only = Orders { backlog: false, ..ORDERS };
    assert_eq!(lanes.decide(&status, live_only, now), go(Some((999, 1)), None, None));
    send(&mut lanes, Live, 940, 999, &status, now);
    assert_eq!(lanes.decide(&status, live_only, now), go(None, None, None));
    assert_eq!(lanes.depths(&status), (0, 940));
}

#[test]
fn the_backlogs_rate_is_kept() {
    let now = Instant::now();
    let status = holding(0, 1000);
    let mut lanes = Lanes::new(LanePolicy { backlog_rate: 1200, ..POLICY }, &status, now);
    send(&mut lanes, Live, 940, 999, &status, now);
    // 300 fixes are 1,200 bytes.
    send(&mut lanes, Backlog, 0, 299, &status, now);
    assert_eq!(lanes.decide(&status, ORDERS, now), go(None, None, Some(now + seconds(1))));
    assert_eq!(lanes.decide(&status, ORDERS, now + seconds(1)), go(None, Some((300, 300)), None));
}

#[test]
fn an_acknowledgement_is_asked_for_every_few_minutes_and_not_more() {
    let start = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), start);
    let asked: Vec<u64> = (1..=10)
        .filter(|n| {
            let (now, status) = (start + seconds(25 * n), holding(0, 25 * n));
            send(&mut lanes, Live, 25 * (n - 1), 25 * n - 1, &status, now)
        })
        .collect();
    // 180 s are over at the eighth batch; the request then stands until it is answered.
    assert_eq!(asked, [8]);
    let now = start + seconds(251);
    lanes.acknowledged(&holding(200, 250), now);
    assert!(!send(&mut lanes, Live, 250, 274, &holding(200, 275), now + seconds(179)));
    assert!(send(&mut lanes, Live, 275, 299, &holding(200, 300), now + seconds(180)));
}

#[test]
fn a_large_backlog_is_acknowledged_piece_by_piece_and_never_all_on_its_way() {
    let now = Instant::now();
    let mut status = holding(0, 30_000);
    let mut lanes = Lanes::new(POLICY, &status, now);
    send(&mut lanes, Live, 29_940, 29_999, &status, now);
    let (mut asked, mut sent_to, mut answers) = (None, 0, 0);
    loop {
        match lanes.decide(&status, ORDERS, now) {
            Decision::Go { backlog: Some(Next { from, max_fixes }), .. } => {
                sent_to = from + max_fixes;
                if send(&mut lanes, Backlog, from, sent_to - 1, &status, now) {
                    assert_eq!(asked, None, "one request at a time");
                    asked = Some(sent_to);
                }
                let in_flight = sent_to - status.held.first().unwrap();
                assert!(in_flight * BYTES_A_FIX <= 64 * 1024 + 1200, "{in_flight} fixes on their way");
            }
            Decision::Go { backlog: None, .. } if sent_to < 29_940 => {
                // The window is full; the answer opens it.
                status = holding(asked.take().unwrap(), 30_000);
                lanes.acknowledged(&status, now);
                answers += 1;
            }
            other => break assert_eq!((other, sent_to), (go(None, None, lanes.deadline()), 29_940)),
        }
    }
    assert!((2..=10).contains(&answers), "{answers}");
}

#[test]
fn an_unanswered_request_gives_the_connection_up() {
    let now = Instant::now();
    let status = holding(0, 10);
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    let asked = now + POLICY.ack_interval;
    assert!(send(&mut lanes, Live, 0, 9, &status, asked));
    assert_eq!(lanes.decide(&status, ORDERS, asked), go(None, None, Some(asked + POLICY.ack_timeout)));
    assert_eq!(lanes.decide(&status, ORDERS, asked + POLICY.ack_timeout), Decision::Unanswered);
}

#[test]
fn a_live_request_does_not_wait_for_the_backlog_and_the_other_way_round() {
    let now = Instant::now();
    let start = holding(0, 3000);
    let mut lanes = Lanes::new(POLICY, &start, now);
    let later = now + POLICY.ack_interval;
    assert!(send(&mut lanes, Live, 2940, 2999, &start, later));
    assert!(send(&mut lanes, Backlog, 0, 299, &start, later));
    // The head alone is durable: the live request is answered.
    let mut held = start.held.clone();
    held.remove(range(2940, 2999));
    lanes.acknowledged(&status(held.clone(), 3000), later);
    assert!(lanes.live.request.is_none() && lanes.backlog.request.is_some());
    held.remove(range(0, 299));
    lanes.acknowledged(&status(held, 3000), later);
    assert!(lanes.backlog.request.is_none());
}

#[test]
fn progress_extends_the_patience_and_the_answer_ends_it() {
    let now = Instant::now();
    let status = holding(0, 10);
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    let asked = now + POLICY.ack_interval;
    assert!(send(&mut lanes, Live, 0, 9, &status, asked));
    lanes.acknowledged(&holding(5, 10), asked + seconds(50));
    assert!(matches!(lanes.decide(&holding(5, 10), ORDERS, asked + seconds(70)), Decision::Go { .. }));
    lanes.acknowledged(&holding(10, 10), asked + seconds(80));
    assert_eq!(lanes.decide(&holding(10, 10), ORDERS, asked + seconds(1000)), go(None, None, None));
}

/// A refused batch is no longer held, and no acknowledgement may follow.
#[test]
fn what_is_given_up_needs_no_answer() {
    let now = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    let asked = now + POLICY.ack_interval;
    assert!(send(&mut lanes, Live, 0, 9, &holding(0, 10), asked));
    assert_eq!(lanes.decide(&holding(10, 10), ORDERS, asked + POLICY.ack_timeout), go(None, None, None));
}

#[test]
fn finishing_sends_at_once_asks_and_ends_when_all_is_acknowledged() {
    let now = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    let status = holding(0, 7);
    assert_eq!(lanes.decide(&status, ORDERS, now), go(None, None, Some(now + WAIT)));
    lanes.finish();
    assert_eq!(lanes.decide(&status, ORDERS, now), go(Some((0, 7)), None, None));
    assert!(send(&mut lanes, Live, 0, 6, &status, now));
    assert_eq!(lanes.decide(&status, ORDERS, now), go(None, None, lanes.deadline()));
    let empty = holding(7, 7);
    lanes.acknowledged(&empty, now);
    assert_eq!(lanes.decide(&empty, ORDERS, now), Decision::Done);
}

#[test]
fn finishing_after_the_last_batch_sends_each_lanes_last_again_to_ask() {
    let now = Instant::now();
    let status = holding(0, 7);
    let mut lanes = Lanes::new(POLICY, &status, now);
    assert!(!send(&mut lanes, Live, 4, 6, &status, now));
    assert!(!send(&mut lanes, Backlog, 0, 3, &status, now));
    lanes.finish();
    assert_eq!(lanes.decide(&status, ORDERS, now), go(Some((4, 3)), Some((0, 4)), None));
    assert!(send(&mut lanes, Live, 4, 6, &status, now));
    assert!(send(&mut lanes, Backlog, 0, 3, &status, now));
    assert_eq!(lanes.decide(&status, ORDERS, now), go(None, None, lanes.deadline()));
}

#[test]
fn finishing_is_not_done_while_a_loss_is_undeclared() {
    let now = Instant::now();
    let mut status = holding(0, 0);
    status.lost.insert(LossReason::BufferFull, &[range(0, 3)].into_iter().collect());
    let mut lanes = Lanes::new(POLICY, &status, now);
    lanes.finish();
    assert_eq!(lanes.decide(&status, ORDERS, now), go(None, None, None));
}

#[test]
fn numbers_that_are_no_longer_held_are_skipped() {
    let now = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    send(&mut lanes, Live, 0, 299, &holding(0, 300), now);
    // The buffer overflowed meanwhile.
    assert_eq!(lanes.decide(&holding(350, 700), ORDERS, now), go(Some((350, 300)), None, None));
}

#[test]
fn a_live_batch_takes_along_what_became_durable_meanwhile() {
    let now = Instant::now();
    let mut lanes = Lanes::new(POLICY, &holding(0, 0), now);
    assert!(lanes.gathers(PACE));
    assert!(!lanes.gathers(Pace { latency: POLICY.durability, ..PACE }), "each block goes at once anyway");
    let Decision::Go { live: None, .. } = lanes.decide(&holding(0, 20), ORDERS, now) else { panic!() };
    let Decision::Go { live: Some(next), .. } = lanes.decide(&holding(0, 20), ORDERS, now + WAIT) else {
        panic!("it is due")
    };
    assert_eq!(lanes.filled(next, &holding(0, 25)), Next { from: 0, max_fixes: 25 });
    assert_eq!(lanes.filled(next, &holding(0, 500)), Next { from: 0, max_fixes: BATCH_FIXES });
    lanes.finish();
    assert!(!lanes.gathers(PACE), "nothing waits in memory any more");
}
