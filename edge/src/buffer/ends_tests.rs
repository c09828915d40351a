//! What proves an append, and real sled files whose newest part is damaged.

use std::fs;
use std::path::Path;

use avl_shared::batch::{self, Batch};
use avl_shared::fix::Fix;
use avl_shared::sequence::{RangeSet, SequenceRange};

use super::super::block;
use super::super::open::{Opened, directory, inspect, open, open_once};
use super::super::state::State;
use super::super::{Bounds, epochs};
use super::*;

const OLD: Epoch = Epoch(7);
const NEW: Epoch = Epoch(8);
const BOUNDS: Bounds = Bounds { max_bytes: 64 << 20, thin: None };

fn fix(n: u64) -> Fix {
    Fix { time: Some(1_700_000_000_000 + i64::try_from(n).unwrap() * 1000), ..Fix::default() }
}

fn set(first: u64, last: u64) -> RangeSet {
    SequenceRange::new(first, last).into_iter().collect()
}

/// Blocks alone, and records, prove that there was an append; parts of one and other epochs do not.
#[test]
fn all_ends_but_the_highest_are_proven() {
    let folder = tempfile::tempdir().unwrap();
    let wrapped = |epoch, first, kind| {
        let fixes = (first..first + 5).map(fix).collect();
        block::wrap(kind, &batch::encode(&Batch { epoch, first, boot_id: None, fixes }).unwrap())
    };
    let record = State { next: 20, ..State::new(OLD) }.encode();
    let thinned = Kind::Thinned(SequenceRange::new(0, 4).unwrap());
    let mut file = Vec::new();
    let mut reach = |piece: &[u8], known| {
        file.extend_from_slice(piece);
        fs::write(folder.path().join("db"), &file).unwrap();
        let Reach { proven, last } = Ends::read(folder.path(), known).unwrap().of(OLD);
        (proven, last)
    };
    assert_eq!(reach(&[], None), (0, 0));
    assert_eq!(reach(&wrapped(OLD, 5, Kind::Plain), None), (0, 10));
    assert_eq!(reach(&wrapped(NEW, 90, Kind::Plain), None), (0, 10));
    assert_eq!(reach(&wrapped(OLD, 10, thinned), None), (0, 10));
    assert_eq!(reach(&wrapped(OLD, 10, Kind::Plain)[..20], None), (0, 10));
    assert_eq!(reach(&wrapped(OLD, 10, Kind::Plain), None), (10, 15));
    assert_eq!(reach(&record, None), (15, 20));
    assert_eq!(reach(&wrapped(OLD, 5, Kind::Plain), None), (15, 20), "the log's order says nothing");
    let extent = |next, inode| Some(Extent { epoch: OLD, next, inode });
    assert_eq!(reach(&[], extent(18, 0)), (18, 20));
    assert_eq!(reach(&[], extent(25, 0)), (25, 25));
    assert_eq!(reach(&[], extent(25, 1)), (15, 20), "the extent is of the file that this one is a copy of");
}

#[test]
fn one_end_that_is_not_shown_was_cut_short_and_two_are_damage() {
    let ends = Ends { epochs: vec![(OLD, Reach { proven: 15, last: 20 })] };
    assert_eq!(ends.judge(OLD, 20), Shown::All);
    assert_eq!(ends.judge(OLD, 15), Shown::Without(5));
    assert_eq!(ends.judge(OLD, 10), Shown::Damaged);
    assert_eq!(ends.judge(NEW, 0), Shown::All);
}

/// A buffer of 3,000 fixes in blocks of five whose process was killed; the extent lags behind as it does in a vehicle.
fn killed(state_dir: &Path) {
    let mut outbox = open(state_dir, BOUNDS, OLD).unwrap().outbox;
    for first in (0..3_000).step_by(5) {
        outbox.append((first..first + 5).map(fix).collect(), 1, None).unwrap();
    }
    drop(outbox);
    let inode = extent::inode(&directory(state_dir)).unwrap();
    Extent { epoch: OLD, next: 2_800, inode }.write(state_dir).unwrap();
    // A kill leaves none, and with one sled does not read the log before it.
    for entry in fs::read_dir(directory(state_dir)).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Flips a byte in each copy of the block that begins with `first`.
fn damage(state_dir: &Path, first: u64) {
    let path = directory(state_dir).join("db");
    let mut file = fs::read(&path).unwrap();
    let fixes = (first..first + 5).map(fix).collect();
    let batch = batch::encode(&Batch { epoch: OLD, first, boot_id: None, fixes }).unwrap();
    let block = block::wrap(Kind::Plain, &batch);
    let places: Vec<usize> =
        file.windows(block.len()).enumerate().filter(|(_, at)| *at == block).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{first} is in the file");
    places.iter().for_each(|at| file[at + block.len() / 2] ^= 0x10);
    fs::write(path, file).unwrap();
}

/// Each number below 3,000 is held or declared lost, in the opened store or in what was saved of it, and none is given
/// again.
fn assert_no_number_twice(state_dir: &Path, Opened { outbox, set_aside, .. }: Opened) {
    let status = outbox.status();
    let of_old = match set_aside {
        None => status,
        Some(_) => {
            assert_eq!((status.epoch, status.next_sequence), (NEW, 0));
            open_once(&epochs::path(state_dir, OLD), BOUNDS, Epoch(0)).unwrap().status()
        }
    };
    let mut known = of_old.held;
    known.extend_from(&of_old.lost.all());
    assert_eq!((of_old.epoch, known, of_old.next_sequence), (OLD, set(0, 2_999), 3_000));
}

/// Of the very last append nothing is left when it is the one that is damaged: it cannot be told from a write that was cut.
#[test]
fn damage_near_the_end_of_the_log_gives_no_number_twice() {
    for first in [2_990, 2_985, 2_950, 2_900, 2_805, 2_700] {
        let state = tempfile::tempdir().unwrap();
        killed(state.path());
        damage(state.path(), first);
        let opened = open(state.path(), BOUNDS, NEW).unwrap();
        println!("{first}: {:?}", opened.set_aside.as_ref().map(|aside| &aside.cause));
        assert_no_number_twice(state.path(), opened);
    }
}

/// Whoever only looked at the store opened it too, and sled has cut its end off.
#[test]
fn what_was_proven_before_somebody_looked_is_still_known() {
    let state = tempfile::tempdir().unwrap();
    killed(state.path());
    damage(state.path(), 2_950);
    assert!(inspect(state.path()).is_err());
    let opened = open(state.path(), BOUNDS, NEW).unwrap();
    assert!(opened.set_aside.is_some());
    assert_no_number_twice(state.path(), opened);
}

#[test]
fn an_end_that_a_power_cut_tore_is_no_damage() {
    let state = tempfile::tempdir().unwrap();
    killed(state.path());
    damage(state.path(), 2_995);
    let opened = open(state.path(), BOUNDS, NEW).unwrap();
    assert!(opened.set_aside.is_none());
    assert_eq!(opened.outbox.status().held, set(0, 2_994));
}
