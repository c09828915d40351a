//! The outbox on sled: restarts, locks and damage.

use avl_shared::fix::Fix;
use avl_shared::sequence::{RangeSet, SequenceRange};

use super::*;
use crate::buffer::UploadLimits;

const LIMITS: UploadLimits = UploadLimits { max_fixes: 300, max_bytes: 256 * 1024 };

fn timed(n: u64) -> Fix {
    Fix { time: Some(1_700_000_000_000 + i64::try_from(n).unwrap() * 1000), ..Fix::default() }
}

fn append(outbox: &mut Outbox, count: u64) {
    let first = outbox.status().next_sequence;
    outbox.append((first..first + count).map(timed).collect(), 1, Some(b"cursor".to_vec())).unwrap();
}

fn set(first: u64, last: u64) -> RangeSet {
    SequenceRange::new(first, last).into_iter().collect()
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let mut outbox = open(state.path(), 1 << 20, Epoch(7)).unwrap().outbox;
    (0..5).for_each(|_| append(&mut outbox, 60));
    outbox.forget(&set(0, 69)).unwrap();
    drop(outbox);
    let opened = open(state.path(), 1 << 20, Epoch(8)).unwrap();
    assert!(opened.set_aside.is_none());
    let mut outbox = opened.outbox;
    let status = outbox.status();
    assert_eq!((status.epoch, status.next_sequence, status.held), (Epoch(7), 300, set(70, 299)));
    assert_eq!(outbox.cursor(), b"cursor");
    assert_eq!(outbox.newest_fix().unwrap(), Some((299, timed(299))));
    let upload = outbox.next_upload(0, LIMITS, &mut |_, _, _| {}).unwrap().unwrap();
    assert_eq!((upload.range.first(), upload.range.last()), (60, 299));
}

#[test]
fn a_second_agent_is_told_who_is_in_the_way() {
    let state = tempfile::tempdir().unwrap();
    let first = open(state.path(), 1 << 20, Epoch(7)).unwrap();
    let error = open(state.path(), 1 << 20, Epoch(8)).err().unwrap().to_string();
    assert!(error.contains("in use by another avl-edge") && error.contains("state_dir"), "{error}");
    let error = inspect(state.path()).err().unwrap().to_string();
    assert!(error.contains("in use by another avl-edge"), "{error}");
    drop(first);
    assert_eq!(open(state.path(), 1 << 20, Epoch(8)).unwrap().outbox.status().epoch, Epoch(7));
}

#[test]
fn looking_at_a_buffer_never_makes_one() {
    let state = tempfile::tempdir().unwrap();
    assert!(matches!(inspect(state.path()), Err(OpenError::Absent { .. })));
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn a_store_that_is_not_one_is_set_aside_and_a_new_epoch_starts() {
    let state = tempfile::tempdir().unwrap();
    append(&mut open(state.path(), 1 << 20, Epoch(7)).unwrap().outbox, 60);
    let directory = state.path().join("buffer");
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("conf"), b"not a configuration of sled").unwrap();
    std::fs::write(directory.join("db"), vec![0xa5; 100_000]).unwrap();
    let mut opened = open(state.path(), 1 << 20, Epoch(8)).unwrap();
    let moved_to = opened.set_aside.expect("damage is reported").moved_to;
    assert_eq!(std::fs::read(moved_to.join("db")).unwrap().len(), 100_000);
    assert_eq!((opened.outbox.status().epoch, opened.outbox.status().next_sequence), (Epoch(8), 0));
    append(&mut opened.outbox, 1);
    drop(opened.outbox);
    assert!(open(state.path(), 1 << 20, Epoch(9)).unwrap().set_aside.is_none());
}

#[test]
fn a_store_that_ended_the_process_each_time_is_set_aside() {
    let state = tempfile::tempdir().unwrap();
    append(&mut open(state.path(), 1 << 20, Epoch(7)).unwrap().outbox, 60);
    std::fs::write(state.path().join("buffer.opening"), MAX_UNFINISHED_OPENINGS.to_string()).unwrap();
    let opened = open(state.path(), 1 << 20, Epoch(8)).unwrap();
    assert_eq!(opened.set_aside.unwrap().salvaged.unwrap().held, set(0, 59), "it was whole");
    assert!(!state.path().join("buffer.opening").exists());
}

#[test]
fn one_process_killed_while_opening_costs_nothing() {
    let state = tempfile::tempdir().unwrap();
    append(&mut open(state.path(), 1 << 20, Epoch(7)).unwrap().outbox, 60);
    std::fs::write(state.path().join("buffer.opening"), "1").unwrap();
    let opened = open(state.path(), 1 << 20, Epoch(8)).unwrap();
    assert!(opened.set_aside.is_none());
    assert_eq!(opened.outbox.status().held, set(0, 59));
}

/// Whatever bytes of the file are damaged, the agent comes up, says what it has lost or starts anew, and never
/// shows a fix that was not recorded.
#[test]
fn damage_anywhere_in_the_file_never_stops_the_agent() {
    let pristine = tempfile::tempdir().unwrap();
    let mut outbox = open(pristine.path(), 1 << 20, Epoch(7)).unwrap().outbox;
    (0..40).for_each(|_| append(&mut outbox, 60));
    drop(outbox);
    let whole = std::fs::read(pristine.path().join("buffer/db")).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for step in 0..24 {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("buffer");
        std::fs::create_dir(&directory).unwrap();
        // Without sled's snapshot file, opening has to read the log itself.
        std::fs::copy(pristine.path().join("buffer/conf"), directory.join("conf")).unwrap();
        let mut damaged = whole.clone();
        let at = used * step / 24;
        damaged[at..(at + 64).min(whole.len())].fill(0x5a);
        std::fs::write(directory.join("db"), damaged).unwrap();
        let opened = open(state.path(), 1 << 20, Epoch(8)).unwrap();
        let mut outbox = opened.outbox;
        let (mut from, mut sent) = (0, RangeSet::new());
        while let Some(upload) = outbox.next_upload(from, LIMITS, &mut |_, _, _| {}).unwrap() {
            let batch = avl_shared::batch::decode(&upload.bytes).unwrap();
            assert_eq!(batch.fixes, (batch.first..).take(batch.fixes.len()).map(timed).collect::<Vec<_>>());
            sent.insert(upload.range);
            from = upload.range.last() + 1;
        }
        let status = outbox.status();
        if opened.set_aside.is_none() {
            sent.extend_from(&status.lost.all());
            let all = status.next_sequence.checked_sub(1).map(|last| set(0, last)).unwrap_or_default();
            assert_eq!(sent, all, "damage at {at}: every number is sent or lost");
        }
        append(&mut outbox, 60);
    }
}
