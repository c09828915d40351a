//! The outbox against a plain model: a map of numbers to fixes.

use avl_shared::fix::Decimal;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

use super::super::testing::Memory;
use super::*;

const EPOCH: Epoch = Epoch(0x1234_5678);
const LIMITS: UploadLimits = UploadLimits { max_fixes: 300, max_bytes: batch::MAX_BYTES };

fn fix(n: u64) -> Fix {
    let n = i64::try_from(n).unwrap();
    Fix {
        time: Some(1_700_000_000_000 + n * 1000),
        speed: Some(Decimal::new(n * 7 % 400, 1)),
        ..Fix::default()
    }
}

fn fixes(first: u64, count: u64) -> Vec<Fix> {
    (first..first + count).map(fix).collect()
}

fn range(first: u64, last: u64) -> SequenceRange {
    SequenceRange::new(first, last).unwrap()
}

fn set(ranges: &[(u64, u64)]) -> RangeSet {
    ranges.iter().map(|&(first, last)| range(first, last)).collect()
}

fn open(memory: &Memory, max_bytes: u64) -> Outbox {
    Outbox::open(Box::new(memory.clone()), Bounds::bytes(max_bytes), EPOCH).unwrap()
}

/// Appends `count` fixes whose content is their number.
fn append(outbox: &mut Outbox, count: u64) {
    let first = outbox.status().next_sequence;
    let cursor = (first + count).to_be_bytes().to_vec();
    outbox.append(fixes(first, count), 9, Some(cursor)).unwrap();
}

fn upload(outbox: &mut Outbox, from: u64) -> Option<Batch> {
    let upload = outbox.next_upload(from, LIMITS, &mut |_, _, _| {}).unwrap()?;
    let batch = batch::decode(&upload.bytes).unwrap();
    assert_eq!(upload.range, SequenceRange::starting_at(batch.first, batch.fixes.len() as u64).unwrap());
    Some(batch)
}

/// All that would be sent from the start, by number.
fn everything(outbox: &mut Outbox) -> BTreeMap<u64, Fix> {
    let (mut all, mut from) = (BTreeMap::new(), 0);
    while let Some(batch) = upload(outbox, from) {
        assert_eq!(batch.epoch, EPOCH);
        from = batch.first + batch.fixes.len() as u64;
        all.extend((batch.first..).zip(batch.fixes));
    }
    all
}

#[test]
fn numbers_start_at_zero_and_go_on_after_everything_was_forgotten() {
    let memory = Memory::default();
    let mut outbox = open(&memory, u64::MAX);
    append(&mut outbox, 3);
    outbox.forget(&set(&[(0, 2)])).unwrap();
    assert!(outbox.status().held.is_empty());
    let mut outbox = open(&memory, u64::MAX);
    append(&mut outbox, 2);
    assert_eq!(outbox.status().held, set(&[(3, 4)]));
    assert_eq!(everything(&mut outbox).into_keys().collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn the_newest_fix_is_known_even_after_it_was_acknowledged() {
    let memory = Memory::default();
    let mut outbox = open(&memory, u64::MAX);
    assert_eq!(outbox.newest_fix().unwrap(), None);
    append(&mut outbox, 5);
    append(&mut outbox, 5);
    outbox.forget(&set(&[(0, 9)])).unwrap();
    assert_eq!(open(&memory, u64::MAX).newest_fix().unwrap(), Some((9, fix(9))));
    assert_eq!(memory.blocks().len(), 1, "only the newest block stays");
    append(&mut outbox, 1);
    assert_eq!(outbox.newest_fix().unwrap(), Some((10, fix(10))));
    assert_eq!(memory.blocks().len(), 1);
}

#[test]
fn a_partly_acknowledged_block_stays_and_keeps_its_numbers() {
    let memory = Memory::default();
    let mut outbox = open(&memory, u64::MAX);
    append(&mut outbox, 10);
    append(&mut outbox, 10);
    outbox.forget(&set(&[(0, 3), (6, 12)])).unwrap();
    let mut outbox = open(&memory, u64::MAX);
    assert_eq!(outbox.status().held, set(&[(4, 5), (13, 19)]));
    assert_eq!(everything(&mut outbox), (0..20).map(|n| (n, fix(n))).collect());
    outbox.forget(&set(&[(4, 5)])).unwrap();
    assert_eq!(everything(&mut outbox), (10..20).map(|n| (n, fix(n))).collect());
}

#[test]
fn blocks_are_joined_up_to_the_limit_and_always_the_same_way() {
    let memory = Memory::default();
    let mut outbox = open(&memory, u64::MAX);
    (0..12).for_each(|_| append(&mut outbox, 60));
    let sizes: Vec<usize> = [0, 300, 600].map(|from| upload(&mut outbox, from).unwrap().fixes.len()).into();
    assert_eq!(sizes, [300, 300, 120]);
    let once = outbox.next_upload(0, LIMITS, &mut |_, _, _| {}).unwrap();
    append(&mut outbox, 60);
    assert_eq!(open(&memory, u64::MAX).next_upload(0, LIMITS, &mut |_, _, _| {}).unwrap(), once);
    let apart: usize = memory.blocks().range(..300).map(|(_, block)| block.len()).sum();
    assert!(once.unwrap().bytes.len() < apart, "joined blocks are smaller than apart");
    // A number in the middle of a block brings the whole block.
    assert_eq!(upload(&mut outbox, 61).unwrap().first, 60);
}

#[test]
fn blocks_of_different_boots_are_not_joined() {
    let memory = Memory::default();
    let mut outbox = open(&memory, u64::MAX);
    let timeless = |uptime| vec![Fix { uptime: Some(uptime), ..Fix::default() }];
    outbox.append(timeless(100), 1, None).unwrap();
    outbox.append(fixes(1, 1), 1, None).unwrap();
    outbox.append(timeless(50), 2, None).unwrap();
    let first = upload(&mut outbox, 0).unwrap();
    assert_eq!((first.boot_id, first.fixes.len()), (Some(1), 2));
    let second = upload(&mut outbox, 2).unwrap();
    assert_eq!((second.boot_id, second.fixes.len()), (Some(2), 1));
}

#[test]
fn a_full_buffer_drops_the_oldest_and_says_which_until_the_cloud_knows() {
    let memory = Memory::default();
    let mut outbox = open(&memory, 700);
    while outbox.status().lost.is_empty() {
        append(&mut outbox, 10);
    }
    let status = open(&memory, 700).status();
    assert_eq!(status.lost.sets(), [(LossReason::BufferFull, set(&[(0, 9)]))]);
    assert_eq!(status.held, set(&[(10, status.next_sequence - 1)]));
    assert!(status.bytes <= 700);
    outbox.forget(&set(&[(0, 4)])).unwrap();
    assert_eq!(open(&memory, 700).status().lost.all(), set(&[(5, 9)]));
    outbox.forget(&set(&[(5, 9)])).unwrap();
    assert!(open(&memory, 700).status().lost.is_empty());
}

#[test]
fn a_damaged_block_is_set_aside_and_declared_and_the_rest_goes_on() {
    let memory = Memory::default();
    let mut outbox = open(&memory, u64::MAX);
    (0..4).for_each(|_| append(&mut outbox, 10));
    memory.damage(10);
    memory.damage(30);
    let mut aside = Vec::new();
    let mut from = 0;
    let mut sent = Vec::new();
    while let Some(upload) =
        outbox.next_upload(from, LIMITS, &mut |first, reason, _| aside.push((first, reason))).unwrap()
    {
        sent.push((upload.range.first(), upload.range.last()));
        from = upload.range.last() + 1;
    }
    assert_eq!(sent, [(0, 9), (20, 29)]);
    assert_eq!(aside, [(10, LossReason::Corruption), (30, LossReason::Corruption)]);
    let status = open(&memory, u64::MAX).status();
    assert_eq!(status.lost.sets(), [(LossReason::Corruption, set(&[(10, 19), (30, 39)]))]);
    assert_eq!(status.held, set(&[(0, 9), (20, 29)]));
    append(&mut outbox, 1);
    assert_eq!(outbox.status().next_sequence, 41, "the numbers of damaged blocks are not used again");
}

#[test]
fn a_block_that_vanished_is_declared_and_not_waited_for() {
    let memory = Memory::default();
    let mut outbox = open(&memory, u64::MAX);
    (0..3).for_each(|_| append(&mut outbox, 10));
    memory.content().blocks.remove(&10);
    memory.content().blocks.remove(&0);
    assert_eq!(everything(&mut outbox).into_keys().collect::<Vec<_>>(), (20..30).collect::<Vec<_>>());
    assert_eq!(outbox.status().lost.sets(), [(LossReason::Corruption, set(&[(0, 19)]))]);
}

#[test]
fn a_refused_batch_is_set_aside_and_its_numbers_are_lost() {
    let memory = Memory::default();
    let mut outbox = open(&memory, u64::MAX);
    (0..3).for_each(|_| append(&mut outbox, 10));
    let mut aside = Vec::new();
    let blocks = memory.batches();
    outbox
        .give_up(range(0, 19), LossReason::Rejected, &mut |first, _, block| {
            aside.push((first, block.to_vec()));
        })
        .unwrap();
    assert_eq!(aside, blocks.range(..20).map(|(key, block)| (*key, block.clone())).collect::<Vec<_>>());
    assert_eq!(outbox.status().lost.sets(), [(LossReason::Rejected, set(&[(0, 19)]))]);
    assert_eq!(everything(&mut outbox).into_keys().collect::<Vec<_>>(), (20..30).collect::<Vec<_>>());
}

#[test]
fn an_append_that_fails_changes_nothing() {
    let memory = Memory::default();
    let mut outbox = open(&memory, u64::MAX);
    append(&mut outbox, 2);
    memory.content().remaining = Some(0);
    assert!(matches!(outbox.append(fixes(2, 1), 1, None), Err(BufferError::Table(TableError::Io(_)))));
    assert_eq!((outbox.status().next_sequence, outbox.status().held), (2, set(&[(0, 1)])));
}

#[test]
fn blocks_without_a_state_record_are_not_guessed_at() {
    let memory = Memory::default();
    append(&mut open(&memory, u64::MAX), 2);
    memory.content().state = None;
    assert!(matches!(
        Outbox::open(Box::new(memory), Bounds::bytes(u64::MAX), EPOCH),
        Err(BufferError::State)
    ));
}

#[derive(Clone, Debug)]
enum Action {
    Append(u64),
    Forget(Vec<(u64, u64)>),
    GiveUp(u64, u64),
    Reopen,
    Upload(u64),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let piece = (0_u64..300, 0_u64..40);
    let action = prop_oneof![
        4 => (1_u64..=60).prop_map(Action::Append),
        3 => prop::collection::vec(piece.clone(), 1..4).prop_map(Action::Forget),
        1 => piece.prop_map(|(first, length)| Action::GiveUp(first, length)),
        2 => Just(Action::Reopen),
        2 => (0_u64..400).prop_map(Action::Upload),
    ];
    prop::collection::vec(action, 1..40)
}

/// Where each number is, as invariant 4 of the module has it.
#[derive(Default)]
struct Model {
    next: u64,
    held: BTreeSet<u64>,
    lost: BTreeSet<u64>,
}

proptest! {
    #[test]
    fn every_number_is_held_lost_or_durable_and_never_two_of_them(actions in actions(), max_bytes in 200_u64..3000) {
        let memory = Memory::default();
        let mut outbox = open(&memory, max_bytes);
        let mut model = Model::default();
        for action in actions {
            match action {
                Action::Append(count) => {
                    append(&mut outbox, count);
                    model.held.extend(model.next..model.next + count);
                    model.next += count;
                    // What the bound dropped: the oldest, never the newest, and only as much as it had to.
                    let status = outbox.status();
                    let dropped: Vec<u64> = model.held.iter().copied().filter(|n| !status.held.contains(*n)).collect();
                    prop_assert!(dropped.iter().all(|n| status.lost.all().contains(*n)));
                    prop_assert!(dropped.iter().all(|n| status.held.first().is_some_and(|first| *n < first)));
                    for n in dropped {
                        model.held.remove(&n);
                        model.lost.insert(n);
                    }
                    prop_assert!(status.bytes <= max_bytes || memory.blocks().len() == 1);
                }
                Action::Forget(pieces) => {
                    let durable: RangeSet = pieces.iter().map(|&(first, length)| range(first, first + length)).collect();
                    outbox.forget(&durable).unwrap();
                    model.held.retain(|n| !durable.contains(*n));
                    model.lost.retain(|n| !durable.contains(*n));
                }
                Action::GiveUp(first, length) => {
                    let given_up = range(first, first + length);
                    outbox.give_up(given_up, LossReason::Rejected, &mut |_, _, _| {}).unwrap();
                    model.lost.extend(model.held.iter().copied().filter(|n| given_up.contains(*n)));
                    model.held.retain(|n| !given_up.contains(*n));
                }
                Action::Reopen => outbox = open(&memory, max_bytes),
                Action::Upload(from) => {
                    let expected = model.held.range(from..).next().copied();
                    let got = upload(&mut outbox, from);
                    prop_assert_eq!(got.is_some(), expected.is_some());
                    if let (Some(batch), Some(expected)) = (got, expected) {
                        let numbers = batch.first..batch.first + batch.fixes.len() as u64;
                        prop_assert!(numbers.contains(&expected));
                        for (n, sent) in numbers.zip(batch.fixes) {
                            prop_assert_eq!(sent, fix(n));
                        }
                    }
                }
            }
            let status = outbox.status();
            prop_assert_eq!(status.next_sequence, model.next);
            prop_assert_eq!(outbox.cursor(), if model.next == 0 { vec![] } else { model.next.to_be_bytes().to_vec() });
            let numbers = |set: &RangeSet| set.ranges().iter().flat_map(|r| r.first()..=r.last()).collect::<BTreeSet<u64>>();
            prop_assert_eq!(&numbers(&status.held), &model.held);
            prop_assert_eq!(&numbers(&status.lost.all()), &model.lost);
            prop_assert_eq!(status.bytes, memory.blocks().values().map(|block| block.len() as u64).sum::<u64>());
            prop_assert_eq!(outbox.newest_fix().unwrap(), model.next.checked_sub(1).map(|n| (n, fix(n))));
            // Whatever is held can be read, and nothing else than it needs is on flash.
            let readable = everything(&mut outbox);
            prop_assert!(model.held.iter().all(|n| readable.get(n) == Some(&fix(*n))));
            let newest = memory.blocks().keys().next_back().copied();
            for (key, block) in memory.batches() {
                let extent = batch::peek(&block).unwrap().range;
                prop_assert!(Some(key) == newest || model.held.iter().any(|n| extent.contains(*n)));
            }
        }
    }
}

/// A drive: straights at one speed, with a turn every ten minutes.
fn driven(n: u64) -> Fix {
    let n = i64::try_from(n).unwrap();
    let (leg, along) = (n / 600, n % 600);
    let (north, east) = (
        leg / 2 * 600 + if leg % 2 == 0 { along } else { 600 },
        leg / 2 * 600 + if leg % 2 == 0 { 0 } else { along },
    );
    Fix {
        time: Some(1_700_000_000_000 + n * 1000),
        latitude: Some(Decimal::new(46 * 60 * 1000 + north * 10, 3)),
        longitude: Some(Decimal::new(8 * 60 * 1000 + east * 10, 3)),
        speed: Some(Decimal::new(360, 1)),
        ..Fix::default()
    }
}

fn thinning(memory: &Memory, max_bytes: u64) -> Outbox {
    let bounds = Bounds { max_bytes, thin: Some(ThinLimits::within(10.0)) };
    Outbox::open(Box::new(memory.clone()), bounds, EPOCH).unwrap()
}

/// The number of the recording that a fix of [`driven`] is.
fn recorded(fix: &Fix) -> u64 {
    u64::try_from((fix.time.unwrap() - 1_700_000_000_000) / 1000).unwrap()
}

fn drive(outbox: &mut Outbox, from: u64, count: u64) {
    outbox.append((from..from + count).map(driven).collect(), 1, None).unwrap();
}

#[test]
fn a_full_buffer_thins_old_tracks_before_it_drops_anything() {
    let memory = Memory::default();
    let mut outbox = thinning(&memory, 12_000);
    (0..400).for_each(|n| drive(&mut outbox, n * 60, 60));
    let status = outbox.status();
    assert!(status.bytes <= 12_000);
    let reasons: Vec<LossReason> = status.lost.sets().iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, [LossReason::Thinned], "nothing had to be dropped");
    assert!(status.lost.all().ranges().len() <= 2, "a few ranges stand for all: {}", status.lost.all());
    let there: BTreeSet<u64> = everything(&mut outbox).values().map(recorded).collect();
    assert!(there.contains(&0) && there.contains(&23_999), "both ends of the track");
    let gaps = there.iter().zip(there.iter().skip(1)).map(|(a, b)| b - a).max();
    assert!(gaps.is_some_and(|gap| gap <= 120), "no gap is longer than the limit: {gaps:?}");
    // The newest fix is the newest in time as well, although kept ones got higher numbers than their neighbours.
    assert_eq!(outbox.newest_fix().unwrap().unwrap().1, driven(23_999));
    assert_eq!(thinning(&memory, 12_000).status(), outbox.status());
}

#[test]
fn what_may_have_been_sent_is_never_thinned_also_after_a_restart() {
    let memory = Memory::default();
    let mut outbox = thinning(&memory, u64::MAX);
    (0..100).for_each(|n| drive(&mut outbox, n * 60, 60));
    // Handed out, and then the process dies before anything is acknowledged.
    let sent = upload(&mut outbox, 0).unwrap().fixes.len() as u64;
    let mut outbox = thinning(&memory, outbox.status().bytes + 500);
    (100..120).for_each(|n| drive(&mut outbox, n * 60, 60));
    let status = outbox.status();
    assert!(!status.lost.all().contains(sent - 1), "{}", status.lost.all());
    assert!(status.lost.sets().iter().all(|(reason, _)| *reason == LossReason::Thinned), "{:?}", status.lost);
    assert!(!status.lost.is_empty());
}

#[test]
fn numbers_are_not_given_out_when_the_write_of_a_thinning_fails() {
    let memory = Memory::default();
    let mut outbox = thinning(&memory, 6_000);
    let mut from = 0;
    while outbox.status().bytes + 200 < 6_000 {
        drive(&mut outbox, from, 60);
        from += 60;
    }
    let before = outbox.status();
    memory.content().remaining = Some(0);
    assert!(outbox.append((from..from + 60).map(driven).collect(), 1, None).is_err());
    assert_eq!(thinning(&memory, 6_000).status(), before);
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    /// Hand batches out from here; the cloud gets them when the flag says so, and says so never.
    Send(u64, bool),
    /// The acknowledgement of everything that the cloud has.
    Acknowledge,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (1_u64..=60).prop_map(Step::Append),
        2 => (0_u64..6_000, any::<bool>()).prop_map(|(from, arrives)| Step::Send(from, arrives)),
        1 => Just(Step::Acknowledge),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 20..160)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// The cloud's side of the promise: whatever is sent, lost on the way, acknowledged or not, and however often the
    /// agent restarts while it thins, no recording arrives under two numbers, and every number is there or declared.
    #[test]
    fn thinning_never_makes_a_fix_arrive_twice(steps in steps(), max_bytes in 2_500_u64..9_000) {
        let memory = Memory::default();
        let mut outbox = thinning(&memory, max_bytes);
        let mut cloud: BTreeMap<u64, u64> = BTreeMap::new();
        let mut numbers_of: BTreeMap<u64, u64> = BTreeMap::new();
        let mut declared = RangeSet::new();
        let mut clock = 0;
        for step in steps {
            match step {
                Step::Append(count) => {
                    drive(&mut outbox, clock, count);
                    clock += count;
                }
                Step::Send(from, arrives) => {
                    if let Some(batch) = upload(&mut outbox, from).filter(|_| arrives) {
                        for (number, fix) in (batch.first..).zip(&batch.fixes) {
                            let known = cloud.insert(number, recorded(fix));
                            prop_assert!(known.is_none_or(|known| known == recorded(fix)), "{} means two fixes", number);
                            let other = numbers_of.insert(recorded(fix), number);
                            prop_assert!(other.is_none_or(|other| other == number), "one fix under {:?} and {}", other, number);
                        }
                    }
                }
                Step::Acknowledge => {
                    declared.extend_from(&outbox.status().lost.all());
                    let mut durable: RangeSet = cloud.keys().filter_map(|n| SequenceRange::new(*n, *n)).collect();
                    durable.extend_from(&declared);
                    outbox.forget(&durable).unwrap();
                }
                Step::Restart => outbox = thinning(&memory, max_bytes),
            }
            prop_assert!(outbox.status().bytes <= max_bytes || memory.blocks().len() <= 3);
        }
        // Everything left is sent: with what arrived and what was declared, that is every number.
        let mut all = outbox.status().lost.all();
        all.extend_from(&declared);
        for (number, fix) in everything(&mut outbox) {
            let other = numbers_of.insert(recorded(&fix), number);
            prop_assert!(other.is_none_or(|other| other == number), "one fix under {:?} and {}", other, number);
            cloud.insert(number, recorded(&fix));
        }
        cloud.keys().for_each(|n| drop(all.insert(range(*n, *n))));
        let next = outbox.status().next_sequence;
        prop_assert_eq!(all, next.checked_sub(1).map(|last| set(&[(0, last)])).unwrap_or_default());
        // The newest recording is never given up.
        prop_assert!(clock == 0 || numbers_of.contains_key(&(clock - 1)) || outbox.status().held.is_empty());
    }
}

#[test]
fn a_renewed_buffer_renames_only_what_it_has_recorded_itself() {
    let (memory, old) = (Memory::default(), Memory::default());
    let mut outbox = open(&memory, u64::MAX);
    append(&mut outbox, 10);
    append(&mut outbox, 10);
    outbox.forget(&set(&[(0, 4)])).unwrap();
    // Here the image was made, and put back.
    let mut outbox = open(&memory, u64::MAX);
    append(&mut outbox, 3);
    append(&mut outbox, 4);
    let cursor = outbox.cursor().to_vec();
    let fresh = Epoch(99);
    assert!(outbox.renew(fresh, &mut old.clone()).unwrap());
    let status = outbox.status();
    assert_eq!((status.epoch, status.next_sequence, status.held.clone()), (fresh, 7, set(&[(0, 6)])));
    assert_eq!(status.bytes, memory.blocks().values().map(|block| block.len() as u64).sum::<u64>());
    assert_eq!(outbox.cursor(), cursor);
    let reopened = Outbox::open(Box::new(memory.clone()), Bounds::bytes(u64::MAX), EPOCH).unwrap();
    assert_eq!(reopened.status(), status);
    assert_eq!(reopened.newest_fix().unwrap(), Some((6, fix(26))));
    let all = upload(&mut outbox, 0).unwrap();
    assert_eq!((all.epoch, all.fixes), (fresh, fixes(20, 7)));
    let mut before = open(&old, u64::MAX);
    assert_eq!(before.status().held, set(&[(5, 19)]));
    assert_eq!(everything(&mut before), (0..20).map(|n| (n, fix(n))).collect());
}
