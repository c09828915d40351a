//! Flash that fails and comes back, with a clock of the test's own.

use avl_shared::batch;
use avl_shared::fix::Fix;

use super::super::outbox::{Bounds, UploadLimits};
use super::super::testing::Memory;
use super::*;

const LIMITS: UploadLimits = UploadLimits { max_fixes: 300, max_bytes: batch::MAX_BYTES };

fn fix(n: i64) -> Fix {
    Fix { time: Some(n * 1000), ..Fix::default() }
}

fn block(first: i64, count: i64) -> Unwritten {
    Unwritten { fixes: (first..first + count).map(fix).collect(), boot_id: 1, cursor: Some(vec![7]) }
}

fn open(memory: &Memory) -> Result<Outbox, String> {
    // A disk that takes no write cannot be opened either.
    if memory.content().remaining == Some(0) {
        return Err("no space left".to_owned());
    }
    Outbox::open(Box::new(memory.clone()), Bounds::bytes(u64::MAX), Epoch(3))
        .map_err(|error| error.to_string())
}

struct Scene {
    memory: Memory,
    keeper: Keeper,
    now: Instant,
}

impl Scene {
    fn new(memory_bytes: usize) -> Self {
        let (memory, now) = (Memory::default(), Instant::now());
        let folder = memory.clone();
        let opener: Opener = Box::new(move || open(&folder));
        let keeper = Keeper::new(open(&memory), opener, memory_bytes, now, 0);
        Self { memory, keeper, now }
    }

    fn append(&mut self, first: i64, count: i64) {
        self.keeper.append(block(first, count), self.now, 0).unwrap();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.keeper.tick(self.now, 0).unwrap();
    }

    fn repair(&mut self) {
        self.memory.content().remaining = None;
        self.pass(LONGEST_PAUSE * 2);
    }

    /// All fixes on flash, by number.
    fn held(&mut self) -> Vec<(u64, i64)> {
        let (mut all, mut from) = (Vec::new(), 0);
        let outbox = self.keeper.outbox().expect("the store is open");
        while let Some(upload) = outbox.next_upload(from, LIMITS, &mut |_, _, _| {}).unwrap() {
            let batch = batch::decode(&upload.bytes).unwrap();
            all.extend((batch.first..).zip(batch.fixes.iter().map(|fix| fix.time.unwrap() / 1000)));
            from = upload.range.last() + 1;
        }
        all
    }
}

fn numbered(count: i64) -> Vec<(u64, i64)> {
    (0..count).map(|n| (u64::try_from(n).unwrap(), n)).collect()
}

#[test]
fn fixes_wait_in_memory_while_the_disk_is_full_and_are_written_when_it_is_not() {
    let mut scene = Scene::new(MEMORY);
    scene.append(0, 5);
    scene.memory.content().remaining = Some(0);
    scene.append(5, 5);
    scene.append(10, 5);
    let status = scene.keeper.status();
    assert!(matches!(status.flash.store, StoreState::Away { .. }));
    assert_eq!((status.next_sequence, status.flash.waiting_fixes), (5, 10), "they have no numbers yet");
    assert!(!status.is_settled());
    scene.pass(FIRST_PAUSE * 4);
    assert!(!scene.keeper.status().flash.store.is_open(), "still full");
    scene.repair();
    scene.append(15, 5);
    let status = scene.keeper.status();
    assert!(status.flash.store.is_open() && status.flash.waiting_fixes == 0);
    assert_eq!(scene.held(), numbered(20));
    assert!(scene.keeper.status().lost.is_empty());
}

const MEMORY: usize = super::super::pending::MEMORY_BYTES;

#[test]
fn what_memory_cannot_hold_gets_numbers_and_is_declared() {
    let mut scene = Scene::new(2_000);
    scene.append(0, 5);
    scene.memory.content().remaining = Some(0);
    (1..200).for_each(|n| scene.append(n * 5, 5));
    let waiting = scene.keeper.status().flash;
    assert_eq!(waiting.waiting_fixes + waiting.dropped_fixes, 995);
    assert!(waiting.dropped_fixes > 500);
    scene.repair();
    let status = scene.keeper.status();
    assert_eq!(status.next_sequence, 1000);
    let lost: RangeSet =
        avl_shared::sequence::SequenceRange::new(5, 4 + waiting.dropped_fixes).into_iter().collect();
    assert_eq!(status.lost.sets(), [(LossReason::Storage, lost)]);
    let there = scene.held();
    assert!(
        there.iter().all(|(number, n)| *number == u64::try_from(*n).unwrap()),
        "numbers are those of the recording"
    );
}

#[test]
fn a_failed_write_that_reached_the_flash_after_all_is_not_repeated() {
    let mut scene = Scene::new(MEMORY);
    scene.append(0, 5);
    // The change arrives, and the sync behind it fails.
    scene.memory.content().fails_behind = true;
    scene.append(5, 5);
    assert!(!scene.keeper.status().flash.store.is_open());
    scene.append(10, 5);
    scene.memory.content().fails_behind = false;
    scene.repair();
    assert_eq!(scene.held(), numbered(15));
}

#[test]
fn a_write_that_fails_again_while_memory_is_written_loses_nothing() {
    let mut scene = Scene::new(MEMORY);
    scene.append(0, 5);
    scene.memory.content().remaining = Some(0);
    (1..10).for_each(|n| scene.append(n * 5, 5));
    scene.memory.content().remaining = Some(4);
    scene.pass(FIRST_PAUSE);
    assert!(!scene.keeper.status().flash.store.is_open(), "full again in the middle");
    assert!(scene.keeper.status().next_sequence > 5);
    scene.repair();
    assert_eq!(scene.held(), numbered(50));
}

#[test]
fn pauses_grow_and_end_at_the_longest() {
    let mut scene = Scene::new(MEMORY);
    scene.memory.content().remaining = Some(0);
    scene.append(0, 1);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let at = scene.keeper.wake_at().unwrap();
        waits.push((at - scene.now).as_secs());
        scene.now = at;
        scene.keeper.tick(at, 0).unwrap();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn an_agent_that_starts_on_dead_flash_records_as_soon_as_it_works() {
    let (memory, now) = (Memory::default(), Instant::now());
    memory.content().remaining = Some(0);
    let folder = memory.clone();
    let keeper = Keeper::new(open(&memory), Box::new(move || open(&folder)), MEMORY, now, 0);
    let mut scene = Scene { memory, keeper, now };
    scene.append(0, 5);
    assert!(matches!(scene.keeper.status().flash.store, StoreState::Unopened { .. }));
    scene.repair();
    assert_eq!(scene.held(), numbered(5));
    assert_eq!(scene.keeper.status().epoch, Epoch(3));
}

#[test]
fn a_store_that_panics_is_closed_like_one_that_fails() {
    let mut scene = Scene::new(MEMORY);
    scene.append(0, 5);
    let answer =
        scene.keeper.attempt(scene.now, 0, |_| -> Result<(), BufferError> { panic!("damaged page") });
    assert!(answer.unwrap().is_none());
    assert!(!scene.keeper.status().flash.store.is_open());
    scene.append(5, 5);
    scene.repair();
    assert_eq!(scene.held(), numbered(10));
}

#[test]
fn the_end_of_the_agent_tries_once_more() {
    let mut scene = Scene::new(MEMORY);
    scene.memory.content().remaining = Some(0);
    scene.append(0, 5);
    scene.memory.content().remaining = None;
    assert_eq!(scene.keeper.finish(scene.now, 0), 0);
    assert_eq!(scene.held(), numbered(5));
    scene.memory.content().remaining = Some(0);
    scene.append(5, 5);
    assert_eq!(scene.keeper.finish(scene.now, 0), 5, "and says how many are lost");
}
