use avl_shared::link::LossReason;
use avl_shared::sequence::Epoch;

use super::*;
use crate::buffer::{FlashView, Losses};

const POLICY: LanePolicy = LanePolicy {
    durability: Duration::from_secs(5),
    ack_interval: Duration::from_secs(180),
    ack_timeout: Duration::from_secs(60),
};

const PACE: Pace = Pace { latency: Duration::from_secs(25), stay_connected: true, urgent_below: 0 };
const WAIT: Duration = Duration::from_secs(20);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn range(first: u64, last: u64) -> SequenceRange {
    SequenceRange::new(first, last).unwrap()
}

/// A buffer that holds `first..next`.
fn holding(first: u64, next: u64) -> Status {
    let held = next.checked_sub(1).and_then(|last| SequenceRange::new(first, last)).into_iter().collect();
    Status {
        epoch: Epoch(1),
        next_sequence: next,
        held,
        lost: Losses::default(),
        bytes: 0,
        flash: FlashView::default(),
    }
}

#[test]
fn what_was_held_at_the_start_goes_at_once_and_in_order() {
    let now = Instant::now();
    let status = holding(100, 700);
    let mut lane = Lane::new(POLICY, &status, now);
    assert_eq!(lane.decide(&status, PACE, now), Decision::Send { from: 100 });
    assert!(!lane.sending(range(100, 399), &status, now));
    assert_eq!(lane.decide(&status, PACE, now), Decision::Send { from: 400 });
    lane.sending(range(400, 699), &status, now);
    assert_eq!(lane.decide(&status, PACE, now), Decision::Wait { until: None });
}

#[test]
fn a_new_fix_waits_for_company_but_not_longer_than_allowed() {
    let now = Instant::now();
    let mut lane = Lane::new(POLICY, &holding(0, 0), now);
    let due = now + WAIT;
    assert_eq!(lane.decide(&holding(0, 5), PACE, now), Decision::Wait { until: Some(due) });
    assert_eq!(lane.decide(&holding(0, 10), PACE, now + seconds(5)), Decision::Wait { until: Some(due) });
    assert_eq!(lane.decide(&holding(0, 25), PACE, due), Decision::Send { from: 0 });
    lane.sending(range(0, 24), &holding(0, 25), due);
    // The next one waits anew.
    let later = due + seconds(5);
    assert_eq!(lane.decide(&holding(0, 30), PACE, later), Decision::Wait { until: Some(later + WAIT) });
}

#[test]
fn an_urgent_fix_does_not_wait_and_a_changed_pace_counts_at_once() {
    let now = Instant::now();
    let mut lane = Lane::new(POLICY, &holding(0, 0), now);
    assert_eq!(lane.decide(&holding(0, 5), PACE, now), Decision::Wait { until: Some(now + WAIT) });
    let hourly = Pace { latency: seconds(3605), ..PACE };
    assert_eq!(lane.decide(&holding(0, 5), hourly, now), Decision::Wait { until: Some(now + seconds(3600)) });
    let alarm = Pace { urgent_below: 5, ..hourly };
    assert_eq!(lane.decide(&holding(0, 5), alarm, now), Decision::Send { from: 0 });
    lane.sending(range(0, 4), &holding(0, 5), now);
    assert!(matches!(lane.decide(&holding(0, 6), alarm, now), Decision::Wait { .. }), "that alarm is over");
}

#[test]
fn a_full_batch_does_not_wait() {
    let now = Instant::now();
    let mut lane = Lane::new(POLICY, &holding(0, 0), now);
    assert!(matches!(lane.decide(&holding(0, BATCH_FIXES - 1), PACE, now), Decision::Wait { .. }));
    assert_eq!(lane.decide(&holding(0, BATCH_FIXES), PACE, now), Decision::Send { from: 0 });
}

#[test]
fn an_acknowledgement_is_asked_for_every_few_minutes_and_not_more() {
    let start = Instant::now();
    let mut lane = Lane::new(POLICY, &holding(0, 0), start);
    let asked: Vec<u64> = (1..=10)
        .filter(|n| {
            let (now, status) = (start + seconds(25 * n), holding(0, 25 * n));
            lane.sending(range(25 * (n - 1), 25 * n - 1), &status, now)
        })
        .collect();
    // 180 s are over at the eighth batch; the request then stands until it is answered.
    assert_eq!(asked, [8]);
    let now = start + seconds(251);
    lane.acknowledged(&holding(200, 250), now);
    assert!(!lane.sending(range(250, 274), &holding(200, 275), now + seconds(179)));
    assert!(lane.sending(range(275, 299), &holding(200, 300), now + seconds(180)));
}

#[test]
fn a_large_backlog_is_acknowledged_piece_by_piece() {
    let now = Instant::now();
    let status = holding(0, 30_000);
    let mut lane = Lane::new(POLICY, &status, now);
    let asked: Vec<u64> =
        (0..100).filter(|n| lane.sending(range(n * 300, n * 300 + 299), &status, now)).collect();
    assert_eq!(asked, [19], "6,000 fixes are 20 batches, and one request at a time");
    let mut lane = Lane::new(POLICY, &status, now);
    let mut held_from = 0;
    let asked = (0..100)
        .filter(|n| {
            let wanted = lane.sending(range(n * 300, n * 300 + 299), &holding(held_from, 30_000), now);
            if wanted {
                held_from = n * 300 + 300;
                lane.acknowledged(&holding(held_from, 30_000), now);
            }
            wanted
        })
        .count();
    assert_eq!(asked, 5);
}

#[test]
fn an_unanswered_request_gives_the_connection_up() {
    let now = Instant::now();
    let status = holding(0, 10);
    let mut lane = Lane::new(POLICY, &status, now);
    assert!(lane.sending(range(0, 9), &status, now + POLICY.ack_interval));
    let asked = now + POLICY.ack_interval;
    assert_eq!(lane.decide(&status, PACE, asked), Decision::Wait { until: Some(asked + POLICY.ack_timeout) });
    assert_eq!(lane.decide(&status, PACE, asked + POLICY.ack_timeout), Decision::Unanswered);
}

#[test]
fn progress_extends_the_patience_and_the_answer_ends_it() {
    let now = Instant::now();
    let status = holding(0, 10);
    let mut lane = Lane::new(POLICY, &status, now);
    let asked = now + POLICY.ack_interval;
    assert!(lane.sending(range(0, 9), &status, asked));
    lane.acknowledged(&holding(5, 10), asked + seconds(50));
    assert!(matches!(lane.decide(&holding(5, 10), PACE, asked + seconds(70)), Decision::Wait { .. }));
    lane.acknowledged(&holding(10, 10), asked + seconds(80));
    assert_eq!(lane.decide(&holding(10, 10), PACE, asked + seconds(1000)), Decision::Wait { until: None });
}

#[test]
fn finishing_sends_at_once_asks_and_ends_when_all_is_acknowledged() {
    let now = Instant::now();
    let mut lane = Lane::new(POLICY, &holding(0, 0), now);
    let status = holding(0, 7);
    assert!(matches!(lane.decide(&status, PACE, now), Decision::Wait { .. }));
    lane.finish();
    assert_eq!(lane.decide(&status, PACE, now), Decision::Send { from: 0 });
    assert!(lane.sending(range(0, 6), &status, now));
    assert!(matches!(lane.decide(&status, PACE, now), Decision::Wait { until: Some(_) }));
    let empty = holding(7, 7);
    lane.acknowledged(&empty, now);
    assert_eq!(lane.decide(&empty, PACE, now), Decision::Done);
}

#[test]
fn finishing_after_the_last_batch_sends_it_again_to_ask() {
    let now = Instant::now();
    let status = holding(0, 7);
    let mut lane = Lane::new(POLICY, &status, now);
    assert!(!lane.sending(range(0, 3), &status, now));
    assert!(!lane.sending(range(4, 6), &status, now));
    lane.finish();
    assert_eq!(lane.decide(&status, PACE, now), Decision::Send { from: 4 });
    assert!(lane.sending(range(4, 6), &status, now));
    assert!(matches!(lane.decide(&status, PACE, now), Decision::Wait { .. }));
}

#[test]
fn finishing_is_not_done_while_a_loss_is_undeclared() {
    let now = Instant::now();
    let mut status = holding(0, 0);
    status.lost.insert(LossReason::BufferFull, &[range(0, 3)].into_iter().collect());
    let mut lane = Lane::new(POLICY, &status, now);
    lane.finish();
    assert_eq!(lane.decide(&status, PACE, now), Decision::Wait { until: None });
}

#[test]
fn numbers_that_are_no_longer_held_are_skipped() {
    let now = Instant::now();
    let status = holding(0, 600);
    let mut lane = Lane::new(POLICY, &status, now);
    lane.sending(range(0, 299), &status, now);
    // The buffer overflowed meanwhile.
    assert_eq!(lane.decide(&holding(450, 700), PACE, now), Decision::Send { from: 450 });
}
