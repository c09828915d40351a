//! Real sled files, damaged as flash damages them.

use std::collections::BTreeMap;

use avl_shared::fix::Fix;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::open::{directory, open};
use super::super::{OldEpoch, Outbox, UploadLimits, epochs};
use super::*;
use crate::buffer::Bounds;

const OLD: Epoch = Epoch(7);
const NEW: Epoch = Epoch(8);
const LIMITS: UploadLimits = UploadLimits { max_fixes: 300, max_bytes: batch::MAX_BYTES };

fn fix(n: u64) -> Fix {
    Fix { time: Some(1_700_000_000_000 + i64::try_from(n).unwrap() * 1000), ..Fix::default() }
}

fn append(outbox: &mut Outbox, count: u64) {
    let first = outbox.status().next_sequence;
    outbox.append((first..first + count).map(fix).collect(), 1, Some(b"place".to_vec())).unwrap();
}

fn set(first: u64, last: u64) -> RangeSet {
    SequenceRange::new(first, last).into_iter().collect()
}

fn everything(outbox: &mut Outbox) -> BTreeMap<u64, Fix> {
    let (mut all, mut from) = (BTreeMap::new(), 0);
    while let Some(upload) = outbox.next_upload(from, LIMITS, &mut |_, _, _| {}).unwrap() {
        let batch = batch::decode(&upload.bytes).unwrap();
        all.extend((batch.first..).zip(batch.fixes));
        from = upload.range.last() + 1;
    }
    all
}

/// A buffer of 3,000 fixes in blocks of five, the first 600 of them acknowledged, closed in order.
fn drive(state_dir: &Path) {
    let mut outbox = open(state_dir, Bounds::bytes(64 << 20), OLD).unwrap().outbox;
    (0..600).for_each(|_| append(&mut outbox, 5));
    outbox.forget(&set(0, 599)).unwrap();
    let inode = super::super::extent::inode(&directory(state_dir)).unwrap();
    Extent { epoch: OLD, next: 2_900, inode }.write(state_dir).unwrap();
}

fn take_old(state_dir: &Path) -> Outbox {
    let path = epochs::path(state_dir, OLD);
    super::super::open::open_once(&path, Bounds::bytes(u64::MAX), Epoch(0)).unwrap()
}

/// Every number below `next` of the old epoch, in exactly one place.
fn assert_accounted(outbox: &mut Outbox, acknowledged: &RangeSet, next: u64) -> usize {
    let there = everything(outbox);
    assert!(there.iter().all(|(number, got)| *got == fix(*number)), "nothing is invented");
    let status = outbox.status();
    let mut all = status.lost.all();
    all.extend_from(acknowledged);
    there.keys().for_each(|n| drop(all.insert(SequenceRange::new(*n, *n).unwrap())));
    assert_eq!(status.next_sequence, next);
    assert_eq!(all, set(0, next - 1), "each number is saved, declared or acknowledged");
    there.len()
}

#[test]
fn a_store_without_its_structure_gives_every_block_back() {
    let state = tempfile::tempdir().unwrap();
    drive(state.path());
    // Without sled's own configuration it cannot be opened, and every block is still there.
    std::fs::write(directory(state.path()).join("conf"), b"not a configuration of sled").unwrap();
    let opened = open(state.path(), Bounds::bytes(64 << 20), NEW).unwrap();
    let saved = opened.set_aside.unwrap().salvaged.unwrap();
    assert_eq!((saved.epoch, saved.held, saved.lost), (OLD, set(600, 2_999), RangeSet::new()));
    assert_eq!(opened.outbox.cursor(), b"place", "a replay goes on where it was");
    assert_eq!((opened.outbox.status().epoch, opened.outbox.status().next_sequence), (NEW, 0));
    assert_eq!(assert_accounted(&mut take_old(state.path()), &set(0, 599), 3_000), 2_400);
}

/// Pages of the file flipped, zeroed or cut off at random, until the store does not open any more: what is whole is
/// saved, the rest is declared, nothing is invented.
#[test]
fn random_damage_is_saved_from_or_declared() {
    let pristine = tempfile::tempdir().unwrap();
    drive(pristine.path());
    let whole = std::fs::read(directory(pristine.path()).join("db")).unwrap();
    let mut dice = StdRng::seed_from_u64(11);
    let (mut set_aside, mut saved) = (0, 0);
    for round in 0..24 {
        let state = tempfile::tempdir().unwrap();
        let folder = directory(state.path());
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(directory(pristine.path()).join("conf"), folder.join("conf")).unwrap();
        let mut damaged = whole.clone();
        for _ in 0..dice.random_range(1..6) {
            let at = dice.random_range(0..damaged.len());
            let end = (at + dice.random_range(1..8192)).min(damaged.len());
            match round % 3 {
                0 => damaged[at..end].fill(0),
                1 => damaged[at..end].iter_mut().for_each(|byte| *byte ^= 0xFF),
                _ => damaged.truncate(at.max(4096)),
            }
        }
        if round % 2 == 0 {
            std::fs::write(folder.join("conf"), b"not a configuration of sled").unwrap();
        }
        std::fs::write(folder.join("db"), damaged).unwrap();
        Extent { epoch: OLD, next: 2_900, inode: 0 }.write(state.path()).unwrap();
        let opened = open(state.path(), Bounds::bytes(64 << 20), NEW).unwrap();
        let Some(aside) = opened.set_aside else { continue };
        set_aside += 1;
        let salvaged = aside.salvaged.expect("the extent names the epoch at least");
        let next = take_old(state.path()).status().next_sequence;
        assert!((2_900..=3_000).contains(&next), "{next}");
        // Where no state record was found the acknowledged ones are among the saved or the lost.
        let mut known = salvaged.held.clone();
        known.extend_from(&salvaged.lost);
        let acknowledged = if known.contains(0) { RangeSet::new() } else { set(0, 599) };
        saved += assert_accounted(&mut take_old(state.path()), &acknowledged, next);
        drop(opened.outbox);
        // The next start has nothing to save any more, and the old epoch still waits.
        assert!(open(state.path(), Bounds::bytes(64 << 20), Epoch(9)).unwrap().set_aside.is_none());
        assert_eq!(super::super::old_epochs(state.path()), [epochs::path(state.path(), OLD)]);
    }
    println!("{set_aside} of 24 stores were set aside; {saved} fixes were saved from them");
    assert!(set_aside >= 12 && saved > 5_000, "{set_aside}, {saved}");
}

#[test]
fn a_salvage_that_was_killed_is_done_again() {
    let state = tempfile::tempdir().unwrap();
    drive(state.path());
    std::fs::rename(directory(state.path()), state.path().join("buffer.damaged")).unwrap();
    std::fs::create_dir_all(state.path().join("buffer.old-00000007.new/half")).unwrap();
    drop(open(state.path(), Bounds::bytes(64 << 20), NEW).unwrap());
    assert_eq!(assert_accounted(&mut take_old(state.path()), &set(0, 599), 3_000), 2_400);
}

/// Old versions of thinned blocks lie about in the log; they must not come back beside what replaced them.
#[test]
fn what_was_thinned_is_not_saved_under_its_old_numbers() {
    let state = tempfile::tempdir().unwrap();
    let bounds = Bounds { max_bytes: 6_000, thin: Some(crate::thinning::ThinLimits::within(10.0)) };
    let mut outbox = open(state.path(), bounds, OLD).unwrap().outbox;
    let mut recorded = 0;
    while outbox.status().lost.is_empty() {
        outbox.append((recorded..recorded + 60).map(fix).collect(), 1, None).unwrap();
        recorded += 60;
    }
    let before: Vec<Fix> = everything(&mut outbox).into_values().collect();
    drop(outbox);
    std::fs::write(directory(state.path()).join("conf"), b"not a configuration of sled").unwrap();
    drop(open(state.path(), Bounds::bytes(64 << 20), NEW).unwrap());
    let after: Vec<Fix> = everything(&mut take_old(state.path())).into_values().collect();
    assert!(after == before, "{} saved of {}", after.len(), before.len());
}

#[test]
fn a_store_that_was_put_there_from_a_copy_gets_no_new_numbers() {
    let state = tempfile::tempdir().unwrap();
    drive(state.path());
    let copy = state.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["conf", "db"] {
        std::fs::copy(directory(state.path()).join(name), copy.join(name)).unwrap();
    }
    std::fs::remove_dir_all(directory(state.path())).unwrap();
    std::fs::rename(&copy, directory(state.path())).unwrap();
    let opened = open(state.path(), Bounds::bytes(64 << 20), NEW).unwrap();
    assert_eq!((opened.moved, opened.outbox.cursor()), (Some(OLD), &b"place"[..]));
    assert_eq!((opened.outbox.status().epoch, opened.outbox.status().next_sequence), (NEW, 0));
    let old = OldEpoch::open(state.path(), &epochs::path(state.path(), OLD)).unwrap();
    assert_eq!(old.buffer.status().borrow().held, set(600, 2_999));
    assert!(!old.close(), "it waits until everything is acknowledged");
}
