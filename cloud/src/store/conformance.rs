//! What every [`Store`] must do, written against the trait: each implementation runs the same suite.

use std::collections::{BTreeMap, BTreeSet};

use avl_shared::fix::{Decimal, Fix, FixMode, Quality, UtcMillis, Verdict};
use avl_shared::identity::VehicleKey;
use avl_shared::link::LossReason;
use avl_shared::record;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use proptest::prelude::*;
use prost::Message as _;

use super::{
    Change, Claim, Commit, Committed, EpochLedger, Position, PositionCursor, PositionQuery, Published,
    Refused, Store, StoreError,
};
use crate::journal::Partition;

/// Makes one test of each behaviour for a store that `$fresh` makes empty: `fn() -> Option<(guard, impl Store)>`; none
/// where there is no such store to be had.
macro_rules! suite {
    ($fresh:path) => {
        crate::store::conformance::suite!(@each $fresh:
            a_fix_comes_back_as_it_went_in, a_batch_processed_twice_counts_once, overlapping_batches_store_only_what_is_new,
            offset_and_rows_move_together, partitions_move_apart, a_late_commit_of_an_earlier_owner_changes_nothing,
            nobody_commits_without_a_claim,
            what_was_new_is_told_by_change, published_is_noted_and_never_goes_back, what_was_refused_is_listed,
            gaps_and_what_fills_them_are_events_however_they_are_committed, late_data_lands_in_its_place, pages_join_without_gap_or_repetition,
            newest_is_announced_only_when_it_changed, gaps_and_losses_are_exact, what_was_lost_and_arrives_is_received,
            received_within_a_period_is_grouped_by_epoch, rows_are_found_by_their_numbers, an_unknown_vehicle_is_empty,
            vehicles_of_other_fleets_stay_apart, the_highest_number_fits_and_the_next_is_refused);

        #[test]
        fn behaves_as_the_model_under_any_order_of_overlapping_batches() {
            crate::store::conformance::model($fresh);
        }
    };
    (@each $fresh:path: $($test:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            let Some((_guard, store)) = $fresh() else { return };
            crate::store::conformance::$test(&store).await;
        })*
    };
}
pub(crate) use suite;

const EPOCH: Epoch = Epoch(0xfeed_0001);

pub(crate) fn van() -> VehicleKey {
    "demo/van-1".parse().unwrap()
}

fn range(first: u64, last: u64) -> SequenceRange {
    SequenceRange::new(first, last).unwrap()
}

/// The fix that a vehicle made for this number: one a second, sixty to the minute of longitude.
pub(crate) fn fix(sequence: u64) -> Fix {
    Fix {
        time: Some(1_700_000_000_000 + 1_000 * i64::try_from(sequence).unwrap()),
        latitude: Some(Decimal::new(224_558_362, 5)),
        longitude: Some(Decimal::new(-7_325_001_000 + i64::try_from(sequence).unwrap(), 6)),
        quality: Quality::Gps,
        ..Fix::default()
    }
}

fn batch(vehicle: &VehicleKey, epoch: Epoch, first: u64, count: u64) -> Change {
    let fixes = (first..first + count).map(fix).collect();
    Change::Fixes { vehicle: vehicle.clone(), epoch, first, fixes, received_at: 1_800_000_000_000 }
}

pub(crate) fn one_batch(first: u64, count: u64) -> Vec<Change> {
    vec![batch(&van(), EPOCH, first, count)]
}

/// A commit to the first partition by an owner who is nobody's rival.
pub(crate) async fn commit(
    store: &impl Store,
    changes: Vec<Change>,
    next_offset: u64,
) -> Result<Committed, StoreError> {
    let partition = Partition::FIRST;
    let generation = store.claim(partition, "test").await?.generation;
    store
        .commit(Commit { partition, generation, changes: changes.into(), refused: Vec::new(), next_offset })
        .await
}

fn everything(vehicle: &VehicleKey) -> PositionQuery {
    PositionQuery { vehicle: vehicle.clone(), from: i64::MIN, to: i64::MAX, after: None, limit: usize::MAX }
}

async fn ledger(store: &impl Store) -> EpochLedger {
    let mut ledgers = store.ledgers(&van()).await.unwrap();
    assert_eq!(ledgers.len(), 1);
    ledgers.remove(0)
}

pub(crate) async fn a_fix_comes_back_as_it_went_in(store: &impl Store) {
    let full = Fix {
        time: Some(-1),
        latitude: Some(Decimal::new(-i64::MAX, 9)),
        longitude: Some(Decimal::new(1, 1)),
        altitude: Some(Decimal::new(-50, 2)),
        speed: Some(Decimal::new(0, 3)),
        course: Some(Decimal::new(3600, 1)),
        hdop: Some(Decimal::new(99, 2)),
        satellites: Some(255),
        quality: Quality::Simulation,
        verdict: Verdict::all(),
        inputs: Some(u16::MAX),
        uptime: Some(u64::MAX),
        vdop: Some(Decimal::new(115, 2)),
        pdop: Some(Decimal::new(-1, 9)),
        in_view: Some(255),
        mode: Some(FixMode::ThreeD),
        odometer: Some(u64::MAX),
    };
    let fixes = vec![Fix::default(), full.clone()];
    let change = Change::Fixes { vehicle: van(), epoch: Epoch(u32::MAX), first: 7, fixes, received_at: 5 };
    commit(store, vec![change], 1).await.unwrap();
    let rows = store.positions(everything(&van())).await.unwrap();
    let expected = |sequence, fix| Position { epoch: Epoch(u32::MAX), sequence, fix, received_at: 5 };
    // The fix without a time stands at the time it was received.
    assert_eq!(rows, [expected(8, full), expected(7, Fix::default())]);
    assert_eq!(rows[0].fix.course.unwrap().to_string(), "360.0", "the digits that were printed");
}

pub(crate) async fn a_batch_processed_twice_counts_once(store: &impl Store) {
    let first = commit(store, one_batch(0, 60), 1).await.unwrap();
    let second = commit(store, one_batch(0, 60), 2).await.unwrap();
    assert_eq!((first.stored, first.duplicates), (60, 0));
    assert_eq!((second.stored, second.duplicates), (0, 60));
    assert!(second.newest.is_empty());
    assert_eq!(store.vehicle(&van()).await.unwrap().unwrap().fixes, 60);
}

pub(crate) async fn overlapping_batches_store_only_what_is_new(store: &impl Store) {
    let changes = vec![batch(&van(), EPOCH, 10, 10), batch(&van(), EPOCH, 5, 20), batch(&van(), EPOCH, 0, 6)];
    let committed = commit(store, changes, 3).await.unwrap();
    assert_eq!((committed.stored, committed.duplicates), (25, 11));
    let rows = store.positions(everything(&van())).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.sequence).collect::<Vec<_>>(), (0..25).collect::<Vec<_>>());
    assert_eq!(ledger(store).await.received.to_string(), "0-24");
}

pub(crate) async fn offset_and_rows_move_together(store: &impl Store) {
    assert_eq!(store.next_offset(Partition::FIRST).await.unwrap(), 0);
    commit(store, one_batch(0, 1), 17).await.unwrap();
    assert_eq!(store.next_offset(Partition::FIRST).await.unwrap(), 17);
    // A commit that fails leaves both as they were.
    let bad = Change::Known { vehicle: van(), epoch: EPOCH, next_sequence: 500 };
    let impossible = batch_at(u64::MAX - 5);
    assert!(commit(store, vec![bad, impossible], 18).await.is_err());
    assert_eq!(store.next_offset(Partition::FIRST).await.unwrap(), 17);
    assert_eq!(ledger(store).await.next_sequence, 1);
}

pub(crate) async fn partitions_move_apart(store: &impl Store) {
    let (one, two) = (Partition(1), Partition(20));
    let first = store.claim(one, "here").await.unwrap();
    let second = store.claim(two, "there").await.unwrap();
    assert_eq!((first.next_offset, second.next_offset), (0, 0));
    let commit = |partition, claim: Claim, first, next_offset| Commit {
        partition,
        generation: claim.generation,
        changes: one_batch(first, 10).into(),
        refused: Vec::new(),
        next_offset,
    };
    store.commit(commit(one, first, 0, 5)).await.unwrap();
    store.commit(commit(two, second, 10, 70)).await.unwrap();
    assert_eq!(store.next_offset(one).await.unwrap(), 5);
    assert_eq!(store.next_offset(two).await.unwrap(), 70);
    assert_eq!(store.next_offset(Partition(2)).await.unwrap(), 0, "nobody has claimed it");
    assert_eq!(store.claim(two, "elsewhere").await.unwrap().next_offset, 70);
    store.commit(commit(one, first, 20, 6)).await.unwrap();
    assert_eq!(ledger(store).await.received.to_string(), "0-29");
}

pub(crate) async fn a_late_commit_of_an_earlier_owner_changes_nothing(store: &impl Store) {
    let partition = Partition(3);
    let commit = |claim: Claim, next_sequence, next_offset| Commit {
        partition,
        generation: claim.generation,
        changes: vec![batch(&van(), EPOCH, 0, next_sequence)].into(),
        refused: Vec::new(),
        next_offset,
    };
    let old = store.claim(partition, "old").await.unwrap();
    store.commit(commit(old, 10, 1)).await.unwrap();
    let new = store.claim(partition, "new").await.unwrap();
    assert_eq!(new.next_offset, 1);
    assert!(new.generation > old.generation);
    let late = store.commit(commit(old, 99, 9)).await;
    assert!(matches!(late, Err(StoreError::Fenced { partition: Partition(3) })), "{late:?}");
    assert_eq!(store.next_offset(partition).await.unwrap(), 1);
    assert_eq!(ledger(store).await.received.to_string(), "0-9");
    store.commit(commit(new, 20, 2)).await.unwrap();
    // The same owner, started again, is a new one.
    let again = store.claim(partition, "new").await.unwrap();
    assert!(matches!(store.commit(commit(new, 30, 3)).await, Err(StoreError::Fenced { .. })));
    store.commit(commit(again, 30, 3)).await.unwrap();
    assert_eq!(ledger(store).await.received.to_string(), "0-29");
}

pub(crate) async fn nobody_commits_without_a_claim(store: &impl Store) {
    let commit = |generation| Commit {
        partition: Partition::FIRST,
        generation,
        changes: one_batch(0, 1).into(),
        refused: Vec::new(),
        next_offset: 1,
    };
    for generation in [0, 1, 7] {
        // A generation that a claim could have had, of a partition that has none.
        let partition = Partition(9);
        let unclaimed = store.commit(Commit { partition, ..commit(generation) }).await;
        assert!(matches!(unclaimed, Err(StoreError::Fenced { .. })));
    }
    let claim = store.claim(Partition::FIRST, "test").await.unwrap();
    let future = store.commit(commit(claim.generation + 1)).await;
    assert!(matches!(future, Err(StoreError::Fenced { .. })), "a generation that nobody was given");
    assert_eq!(store.vehicle(&van()).await.unwrap(), None);
}

pub(crate) async fn what_was_new_is_told_by_change(store: &impl Store) {
    commit(store, one_batch(10, 10), 1).await.unwrap();
    let nothing = Change::Fixes { vehicle: van(), epoch: EPOCH, first: 0, fixes: Vec::new(), received_at: 0 };
    let known = Change::Known { vehicle: van(), epoch: EPOCH, next_sequence: 50 };
    let changes = vec![batch(&van(), EPOCH, 5, 20), known, nothing, batch(&van(), EPOCH, 5, 30)];
    let fresh = commit(store, changes, 2).await.unwrap().fresh;
    let fresh: Vec<String> = fresh.iter().map(ToString::to_string).collect();
    let none = RangeSet::new().to_string();
    assert_eq!(fresh, ["5-9,20-24", &none, &none, "25-34"]);
}

pub(crate) async fn published_is_noted_and_never_goes_back(store: &impl Store) {
    let partition = Partition(4);
    let claim = store.claim(partition, "test").await.unwrap();
    assert_eq!(claim.published_offset, 0);
    for (offset, event) in [(7, 3), (5, 2)] {
        store.published(partition, claim.generation, Published { offset, event }).await.unwrap();
    }
    let again = store.claim(partition, "test").await.unwrap();
    assert_eq!((again.published_offset, again.published_event, again.next_offset), (7, 3, 0));
    let late = store.published(partition, claim.generation, Published { offset: 9, event: 9 }).await;
    assert!(matches!(late, Err(StoreError::Fenced { partition: Partition(4) })), "{late:?}");
}

/// The same journal in stretches of one, two and all entries: as of three partitions, so of three vehicles.
pub(crate) async fn gaps_and_what_fills_them_are_events_however_they_are_committed(store: &impl Store) {
    let mut told = Vec::new();
    for (number, stretch) in [1, 2, 9].into_iter().enumerate() {
        let vehicle: VehicleKey = format!("demo/van-{number}").parse().unwrap();
        let lost = |ranges: &[SequenceRange]| Change::Lost {
            vehicle: vehicle.clone(),
            epoch: EPOCH,
            ranges: ranges.iter().copied().collect(),
            reason: LossReason::Corruption,
            received_at: 77,
        };
        let changes = [
            batch(&vehicle, EPOCH, 5, 5),
            lost(&[range(0, 19), range(30, 39)]),
            // Declared again, and ten more that touch: two declarations stay two.
            lost(&[range(30, 49)]),
            batch(&vehicle, EPOCH, 0, 8),
            batch(&vehicle, EPOCH, 35, 10),
            batch(&vehicle, EPOCH, 35, 10),
            lost(&[range(5, 9)]),
        ];
        let partition = Partition(number.try_into().unwrap());
        let generation = store.claim(partition, "test").await.unwrap().generation;
        let mut next_offset = 0;
        let mut counted = 0;
        for changes in changes.chunks(stretch) {
            next_offset += changes.len() as u64;
            let changes = changes.to_vec().into();
            let commit = Commit { partition, generation, changes, refused: Vec::new(), next_offset };
            counted += store.commit(commit).await.unwrap().events;
        }
        let events = store.events(partition, 0, 100).await.unwrap();
        assert_eq!(counted, events.len() as u64);
        assert!(events.windows(2).all(|pair| pair[0].place < pair[1].place));
        assert_eq!(store.events(partition, events[1].place, 2).await.unwrap(), events[2..4]);
        assert!(events.iter().all(|event| event.vehicle == vehicle));
        let events = events.iter().map(|event| record::Event::decode(&event.message[..]).unwrap());
        let events: Vec<record::Event> = events.collect();
        let replaced = |event: &record::Event| {
            let id = event.replaces.as_ref()?;
            events.iter().position(|gap| gap.id == *id)
        };
        told.push(
            events
                .iter()
                .map(|event| (event.kind.clone(), event.attributes["sequences"].clone(), replaced(event)))
                .collect::<Vec<_>>(),
        );
    }
    let event = |kind: &str, numbers: &str, replaced| (kind.to_owned(), numbers.to_owned(), replaced);
    let expected = [
        event("dataGap", "0-4,10-19", None),
        event("dataGap", "30-39", None),
        event("dataGap", "40-49", None),
        event("correction", "0-4", Some(0)),
        event("correction", "35-39", Some(1)),
        event("correction", "40-44", Some(2)),
    ];
    for told in told {
        assert_eq!(told, expected);
    }
}

pub(crate) async fn what_was_refused_is_listed(store: &impl Store) {
    let generation = store.claim(Partition(2), "test").await.unwrap().generation;
    let refused = |offset, received_at| Refused {
        offset,
        reason: "not a batch".to_owned(),
        key: "demo/van-1".to_owned(),
        received_at,
        bytes: 11,
    };
    let both = vec![refused(5, Some(77)), refused(6, None)];
    for next_offset in [7, 8] {
        let (partition, changes, refused) = (Partition(2), Vec::new().into(), both.clone());
        store.commit(Commit { partition, generation, changes, refused, next_offset }).await.unwrap();
    }
    let listed = store.refused(10).await.unwrap();
    assert_eq!(listed, [(Partition(2), refused(6, None)), (Partition(2), refused(5, Some(77)))]);
    assert_eq!(store.refused(1).await.unwrap().len(), 1);
}

fn batch_at(first: u64) -> Change {
    Change::Fixes { vehicle: van(), epoch: EPOCH, first, fixes: vec![Fix::default()], received_at: 0 }
}

pub(crate) async fn late_data_lands_in_its_place(store: &impl Store) {
    commit(store, one_batch(100, 50), 1).await.unwrap();
    let late = commit(store, one_batch(0, 100), 2).await.unwrap();
    assert_eq!(late.stored, 100);
    assert!(late.newest.is_empty(), "older fixes do not move the vehicle");
    let rows = store.positions(everything(&van())).await.unwrap();
    assert!(rows.windows(2).all(|pair| pair[0].time() < pair[1].time()));
    assert_eq!(rows.len(), 150);
}

pub(crate) async fn pages_join_without_gap_or_repetition(store: &impl Store) {
    // Many rows of one instant: the cursor must break the tie.
    let same_time = |epoch, first| Change::Fixes {
        vehicle: van(),
        epoch,
        first,
        fixes: vec![Fix { time: Some(1_000), ..Fix::default() }; 20],
        received_at: 0,
    };
    let changes = vec![same_time(Epoch(9), 0), same_time(Epoch(3), 5), batch(&van(), Epoch(9), 20, 30)];
    commit(store, changes, 3).await.unwrap();
    let all = store.positions(everything(&van())).await.unwrap();
    assert_eq!(all.len(), 70);
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let query = PositionQuery { after, limit: 7, ..everything(&van()) };
        let page = store.positions(query).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7);
        after = Some(PositionCursor { time: last.time(), epoch: last.epoch, sequence: last.sequence });
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let bounded = PositionQuery { from: 1_000, to: 1_001, ..everything(&van()) };
    assert_eq!(store.positions(bounded).await.unwrap().len(), 40, "from is inclusive, to is not");
}

pub(crate) async fn newest_is_announced_only_when_it_changed(store: &impl Store) {
    let first = commit(store, one_batch(0, 10), 1).await.unwrap();
    assert_eq!(first.newest.len(), 1);
    assert_eq!((first.newest[0].0.clone(), first.newest[0].1.sequence), (van(), 9));
    let changes = vec![batch(&van(), EPOCH, 10, 5), batch(&van(), EPOCH, 15, 5)];
    let second = commit(store, changes, 3).await.unwrap();
    assert_eq!(
        second.newest.iter().map(|(_, row)| row.sequence).collect::<Vec<_>>(),
        [19],
        "one for each vehicle"
    );
    let summary = store.vehicle(&van()).await.unwrap().unwrap();
    assert_eq!(summary.newest.unwrap(), second.newest[0].1);
}

pub(crate) async fn gaps_and_losses_are_exact(store: &impl Store) {
    let lost = |ranges: &[SequenceRange], reason| Change::Lost {
        vehicle: van(),
        epoch: EPOCH,
        ranges: ranges.iter().copied().collect(),
        reason,
        received_at: 77,
    };
    let changes = vec![
        Change::Known { vehicle: van(), epoch: EPOCH, next_sequence: 100 },
        batch(&van(), EPOCH, 10, 20),
        lost(&[range(40, 49)], LossReason::Corruption),
        lost(&[range(45, 59), range(70, 70)], LossReason::BufferFull),
        Change::Known { vehicle: van(), epoch: EPOCH, next_sequence: 50 },
    ];
    commit(store, changes, 5).await.unwrap();
    let ledger = ledger(store).await;
    assert_eq!(ledger.next_sequence, 100, "an older hello does not make a number unknown again");
    assert_eq!(ledger.received.to_string(), "10-29");
    let expected = [
        (range(40, 49), LossReason::Corruption),
        (range(50, 59), LossReason::BufferFull),
        (range(70, 70), LossReason::BufferFull),
    ];
    assert_eq!(ledger.lost, expected);
    assert_eq!(ledger.missing().to_string(), "0-9,30-39,60-69,71-99");
}

pub(crate) async fn what_was_lost_and_arrives_is_received(store: &impl Store) {
    let ranges: RangeSet = [range(0, 19)].into_iter().collect();
    let lost = Change::Lost {
        vehicle: van(),
        epoch: EPOCH,
        ranges,
        reason: LossReason::BufferFull,
        received_at: 77,
    };
    let changes = vec![lost, batch(&van(), EPOCH, 5, 5)];
    let committed = commit(store, changes, 2).await.unwrap();
    assert_eq!(committed.stored, 5);
    let lost = ledger(store).await.lost;
    assert_eq!(lost, [(range(0, 4), LossReason::BufferFull), (range(10, 19), LossReason::BufferFull)]);
}

pub(crate) async fn received_within_a_period_is_grouped_by_epoch(store: &impl Store) {
    let other = Epoch(1);
    let changes = vec![batch(&van(), EPOCH, 0, 10), batch(&van(), EPOCH, 20, 10), batch(&van(), other, 5, 3)];
    commit(store, changes, 3).await.unwrap();
    let shown = |sets: Vec<(Epoch, RangeSet)>| -> Vec<(Epoch, String)> {
        sets.into_iter().map(|(epoch, set)| (epoch, set.to_string())).collect()
    };
    let time = |sequence: u64| fix(sequence).time.unwrap();
    let part = store.received_within(&van(), time(6), time(25)).await.unwrap();
    assert_eq!(shown(part), [(EPOCH, "6-9,20-24".to_owned()), (other, "6-7".to_owned())]);
    let all = store.received_within(&van(), i64::MIN, i64::MAX).await.unwrap();
    assert_eq!(shown(all), [(EPOCH, "0-9,20-29".to_owned()), (other, "5-7".to_owned())]);
    assert!(store.received_within(&van(), 0, 1).await.unwrap().is_empty());
}

pub(crate) async fn rows_are_found_by_their_numbers(store: &impl Store) {
    commit(store, one_batch(10, 10), 1).await.unwrap();
    let rows = store.positions_at(&van(), EPOCH, &[19, 10, 3, 19, u64::MAX]).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.sequence, row.fix.clone())).collect::<Vec<_>>(),
        [(10, fix(10)), (19, fix(19))]
    );
    assert!(store.positions_at(&van(), Epoch(5), &[10]).await.unwrap().is_empty());
}

pub(crate) async fn an_unknown_vehicle_is_empty(store: &impl Store) {
    assert_eq!(store.vehicle(&van()).await.unwrap(), None);
    assert!(store.ledgers(&van()).await.unwrap().is_empty());
    assert!(store.positions(everything(&van())).await.unwrap().is_empty());
    assert!(store.received_within(&van(), i64::MIN, i64::MAX).await.unwrap().is_empty());
}

pub(crate) async fn vehicles_of_other_fleets_stay_apart(store: &impl Store) {
    let twin: VehicleKey = "other/van-1".parse().unwrap();
    let changes = vec![batch(&van(), EPOCH, 0, 3), batch(&twin, EPOCH, 0, 4)];
    let committed = commit(store, changes, 2).await.unwrap();
    assert_eq!((committed.stored, committed.duplicates), (7, 0));
    let fixes: Vec<_> =
        store.vehicles().await.unwrap().into_iter().map(|row| (row.vehicle, row.fixes)).collect();
    assert_eq!(fixes, [(van(), 3), (twin, 4)]);
}

pub(crate) async fn the_highest_number_fits_and_the_next_is_refused(store: &impl Store) {
    let highest = super::MAX_SEQUENCE;
    commit(store, vec![batch_at(highest)], 1).await.unwrap();
    let ledger = ledger(store).await;
    assert_eq!((ledger.received.last(), ledger.next_sequence), (Some(highest), highest + 1));
    assert_eq!(ledger.missing().count(), highest);
    assert!(commit(store, vec![batch_at(highest + 1)], 2).await.is_err());
}

/// Any sequence of commits, against sets of numbers.
pub(crate) fn model<G, S: Store>(fresh: impl Fn() -> Option<(G, S)>) {
    #[derive(Clone, Debug)]
    enum Step {
        Batch { first: u64, count: u64 },
        Lost { first: u64, count: u64 },
        Known { next: u64 },
    }
    let step = prop_oneof![
        6 => (0_u64..100, 1_u64..25).prop_map(|(first, count)| Step::Batch { first, count }),
        1 => (0_u64..100, 1_u64..10).prop_map(|(first, count)| Step::Lost { first, count }),
        1 => (0_u64..130).prop_map(|next| Step::Known { next }),
    ];
    // (epoch, step), in commits of a few.
    let commits = prop::collection::vec(prop::collection::vec((0_u32..2, step), 1..6), 1..8);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Each case opens a database and syncs it some times; 24 cases meet every merge of ranges many times over.
    let config = ProptestConfig { cases: 24, ..ProptestConfig::default() };
    proptest!(config, |(commits in commits)| {
        let Some((_guard, store)) = fresh() else { return Ok(()) };
        let mut received: BTreeSet<(u32, u64)> = BTreeSet::new();
        let mut lost: BTreeSet<(u32, u64)> = BTreeSet::new();
        let mut next: BTreeMap<u32, u64> = BTreeMap::new();
        let mut stored = 0;
        for (offset, steps) in commits.into_iter().enumerate() {
            let mut changes = Vec::new();
            for (epoch, step) in steps {
                let top = next.entry(epoch).or_default();
                match step {
                    Step::Batch { first, count } => {
                        received.extend((first..first + count).map(|number| (epoch, number)));
                        *top = (*top).max(first + count);
                        changes.push(batch(&van(), Epoch(epoch), first, count));
                    }
                    Step::Lost { first, count } => {
                        lost.extend((first..first + count).map(|number| (epoch, number)));
                        *top = (*top).max(first + count);
                        let ranges = SequenceRange::starting_at(first, count).into_iter().collect();
                        changes.push(Change::Lost { vehicle: van(), epoch: Epoch(epoch), ranges, reason: LossReason::BufferFull, received_at: 77 });
                    }
                    Step::Known { next: known } => {
                        *top = (*top).max(known);
                        changes.push(Change::Known { vehicle: van(), epoch: Epoch(epoch), next_sequence: known });
                    }
                }
            }
            stored += runtime.block_on(commit(&store, changes, offset as u64 + 1)).unwrap().stored;
        }
        prop_assert_eq!(stored, received.len() as u64, "each fix once");
        let rows = runtime.block_on(store.positions(everything(&van()))).unwrap();
        let mut expected: Vec<(UtcMillis, u32, u64)> =
            received.iter().map(|&(epoch, number)| (fix(number).time.unwrap(), epoch, number)).collect();
        expected.sort_unstable();
        let got: Vec<_> = rows.iter().map(|row| (row.time(), row.epoch.0, row.sequence)).collect();
        prop_assert_eq!(got, expected);
        for ledger in runtime.block_on(store.ledgers(&van())).unwrap() {
            let epoch = ledger.epoch.0;
            prop_assert_eq!(ledger.next_sequence, next[&epoch]);
            let missing: Vec<u64> = (0..next[&epoch])
                .filter(|&number| !received.contains(&(epoch, number)) && !lost.contains(&(epoch, number)))
                .collect();
            let got: Vec<u64> = ledger.missing().ranges().iter().flat_map(|r| r.first()..=r.last()).collect();
            prop_assert_eq!(got, missing);
            let received_count = received.iter().filter(|(of, _)| *of == epoch).count() as u64;
            prop_assert_eq!(ledger.received.count(), received_count);
        }
    });
}
