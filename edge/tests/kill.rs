//! `kill -9` in the middle of writing: everything that was reported durable is there, once, and nothing else.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use avl_edge::buffer;
use avl_shared::batch;
use avl_shared::fix::Fix;
use avl_shared::sequence::{Epoch, SequenceRange};

const CHILD: &str = "AVL_EDGE_TEST_APPENDS_IN";
const ROUNDS: u64 = 12;

fn fix(n: u64) -> Fix {
    Fix { time: Some(1_700_000_000_000 + i64::try_from(n).unwrap() * 1000), ..Fix::default() }
}

/// The child's part: appends blocks without end and says each time what is durable. Does nothing when run as a test.
#[test]
fn child_appends_until_it_is_killed() {
    let Some(state_dir) = std::env::var_os(CHILD) else { return };
    let mut outbox = buffer::open(state_dir.as_ref(), 8 << 10, Epoch(5)).unwrap().outbox;
    loop {
        let first = outbox.status().next_sequence;
        let count = 1 + first % 60;
        let cursor = (first + count).to_be_bytes().to_vec();
        outbox.append((first..first + count).map(fix).collect(), 1, Some(cursor)).unwrap();
        println!("durable {}", first + count);
        // Acknowledgements interleave, some of them for half a block.
        if first.is_multiple_of(7) {
            outbox.forget(&SequenceRange::new(first / 2, first / 2 + 100).into_iter().collect()).unwrap();
        }
    }
}

#[test]
fn everything_reported_durable_survives_kill_9() {
    let state = tempfile::tempdir().unwrap();
    let mut reported = 0_u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_appends_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, state.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed while it writes: after another number of appends each round, at no special moment.
        let (mut appends, deadline) = (0, Instant::now() + Duration::from_secs(60));
        while appends < 5 + round * 9 {
            assert!(Instant::now() < deadline, "the child does not append");
            let line = lines.next().expect("the child ended").unwrap();
            if let Some(next) = line.strip_prefix("durable ") {
                reported = next.parse().unwrap();
                appends += 1;
            }
        }
        child.kill().unwrap();
        // What it reported between our last look and its end counts as well.
        for line in lines.map_while(Result::ok) {
            if let Some(next) = line.strip_prefix("durable ").and_then(|next| next.parse().ok()) {
                reported = next;
            }
        }
        child.wait().unwrap();

        let opened = buffer::open(state.path(), 8 << 10, Epoch(6)).unwrap();
        assert!(opened.set_aside.is_none(), "a kill is no damage");
        let mut outbox = opened.outbox;
        let status = outbox.status();
        assert_eq!(status.epoch, Epoch(5));
        assert!(status.next_sequence >= reported, "{} is there of {reported}", status.next_sequence);
        assert_eq!(
            outbox.cursor(),
            status.next_sequence.to_be_bytes(),
            "cursor and numbers are of one write"
        );
        assert_eq!(
            outbox.newest_fix().unwrap(),
            Some((status.next_sequence - 1, fix(status.next_sequence - 1)))
        );
        let limits = buffer::UploadLimits { max_fixes: 300, max_bytes: batch::MAX_BYTES };
        let mut from = 0;
        while let Some(upload) = outbox.next_upload(from, limits, &mut |_, _, _| panic!("damaged")).unwrap() {
            let batch = batch::decode(&upload.bytes).unwrap();
            assert_eq!(batch.fixes, (batch.first..).take(batch.fixes.len()).map(fix).collect::<Vec<_>>());
            from = upload.range.last() + 1;
        }
        reported = status.next_sequence;
    }
    assert!(reported > 1000, "too few appends to prove anything");
}
