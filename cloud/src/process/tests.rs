use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use avl_shared::batch::{Batch, encode};
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::link::{DeclareLost, Hello, LossReason, message};
use avl_shared::record;
use avl_shared::sequence::{Epoch, RangeSet};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{Notify, mpsc, oneshot};

use super::*;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Entry, Journal, Kind, Record, Transport, Unreadable};
use crate::outlet::{Message, OutletError, Receipt, Stream};
use crate::store::conformance::{fix, van};
use crate::store::sqlite::SqliteStore;
use crate::store::{
    Claim, Commit, Committed, EpochLedger, KeptEvent, Position, PositionQuery, Published, Refused,
    VehicleSummary,
};

const EPOCH: Epoch = Epoch(7);

fn record(kind: Kind, value: impl Into<Bytes>) -> Record {
    Record { vehicle: van(), kind, transport: Transport::Quic, received_at: 5, value: value.into() }
}

fn batch(first: u64, count: u64) -> Record {
    let fixes = (first..first + count).map(fix).collect();
    record(Kind::Batch, encode(&Batch { epoch: EPOCH, first, boot_id: None, fixes }).unwrap())
}

fn entry(offset: u64, record: Record) -> Entry {
    Entry { offset, record: Ok(record) }
}

#[test]
fn poison_is_named_and_the_rest_goes_on() {
    let lost = DeclareLost { epoch: 7, ranges: vec![message::Range { first: 9, last: 3 }], reason: 1 };
    let hello = Hello { epoch: 7, next_sequence: u64::MAX, ..Hello::default() };
    let unreadable = Unreadable {
        reason: "unknown kind 77".to_owned(),
        key: None,
        received_at: None,
        value: Bytes::from_static(b"as it came"),
    };
    let entries = [
        entry(4, record(Kind::Batch, &b"not a batch"[..])),
        Entry { offset: 5, record: Err(unreadable) },
        entry(6, record(Kind::Lost, lost.encode_to_vec())),
        entry(7, record(Kind::Known, hello.encode_to_vec())),
        entry(9, batch(0, 3)),
    ];
    let plan = plan(&entries, 100);
    assert_eq!(plan.refused.iter().map(|refused| refused.offset).collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!((plan.changes.len(), plan.next_offset), (1, 10));
    let rejects: Vec<_> = plan.refused.iter().map(|refused| &refused.reject).collect();
    assert_eq!(
        (&rejects[0].value[..], rejects[0].key.as_deref()),
        (&b"not a batch"[..], Some(&b"demo/van-1"[..]))
    );
    assert_eq!((&rejects[1].value[..], rejects[1].reason.as_str()), (&b"as it came"[..], "unknown kind 77"));
}

#[test]
fn a_plan_is_bounded_by_fixes_and_always_advances() {
    let entries: Vec<Entry> = (0..5).map(|n| entry(n, batch(n * 10, 10))).collect();
    assert_eq!(plan(&entries, 25).next_offset, 3);
    assert_eq!(plan(&entries, 1).next_offset, 1);
}

struct World {
    _temp: tempfile::TempDir,
    journal: Arc<SqliteJournal>,
    store: SqliteStore,
    feed: LiveFeed,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let journal = Arc::new(SqliteJournal::open(&temp.path().join("journal.sqlite")).unwrap());
        let store = SqliteStore::open(&temp.path().join("store.sqlite")).unwrap();
        Self { _temp: temp, journal, store, feed: LiveFeed::default() }
    }

    fn processor(&self, store: impl Store) -> Processor {
        Processor::new(Arc::new(store), self.feed.clone())
    }

    async fn append(&self, record: Record) {
        self.journal.append(record).await.unwrap().await.unwrap();
    }

    async fn fixes(&self) -> u64 {
        self.store.vehicle(&van()).await.unwrap().map_or(0, |summary| summary.fixes)
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_the_store_stands() {
    let world = World::new();
    world.append(batch(0, 60)).await;
    world.processor(world.store.clone()).catch_up(&*world.journal).await.unwrap();
    world.append(batch(60, 60)).await;
    world.append(batch(30, 60)).await;
    // A new processor: as after a crash between journal and store.
    world.processor(world.store.clone()).catch_up(&*world.journal).await.unwrap();
    assert_eq!((world.fixes().await, world.store.next_offset(Partition::FIRST).await.unwrap()), (120, 3));
}

#[tokio::test]
async fn losses_and_hellos_reach_the_ledger() {
    let world = World::new();
    let hello = Hello { epoch: EPOCH.0, next_sequence: 50, ..Hello::default() };
    world.append(record(Kind::Known, hello.encode_to_vec())).await;
    let ranges = vec![message::Range { first: 0, last: 9 }];
    let lost = DeclareLost { epoch: EPOCH.0, ranges, reason: LossReason::BufferFull.into() };
    world.append(record(Kind::Lost, lost.encode_to_vec())).await;
    world.append(batch(10, 5)).await;
    world.processor(world.store.clone()).catch_up(&*world.journal).await.unwrap();
    assert_eq!(world.store.ledgers(&van()).await.unwrap()[0].missing().to_string(), "15-49");
}

/// Applies the first commits and then says that it failed, as a database does when the connection breaks too late.
struct Forgetful {
    inner: SqliteStore,
    lies: AtomicUsize,
    lied: Arc<Notify>,
}

#[async_trait]
impl Store for Forgetful {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let committed = self.inner.commit(commit).await?;
        let lie = self.lies.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |lies| lies.checked_sub(1));
        if lie.is_err() {
            return Ok(committed);
        }
        self.lied.notify_one();
        Err(StoreError::Unavailable("connection lost".to_owned()))
    }

    async fn claim(&self, partition: Partition, owner: &str) -> Result<Claim, StoreError> {
        self.inner.claim(partition, owner).await
    }

    async fn published(
        &self,
        partition: Partition,
        generation: u64,
        published: Published,
    ) -> Result<(), StoreError> {
        self.inner.published(partition, generation, published).await
    }

    async fn events(
        &self,
        partition: Partition,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptEvent>, StoreError> {
        self.inner.events(partition, after, limit).await
    }

    async fn refused(&self, limit: usize) -> Result<Vec<(Partition, Refused)>, StoreError> {
        self.inner.refused(limit).await
    }

    async fn next_offset(&self, partition: Partition) -> Result<u64, StoreError> {
        self.inner.next_offset(partition).await
    }

    async fn vehicles(&self) -> Result<Vec<VehicleSummary>, StoreError> {
        self.inner.vehicles().await
    }

    async fn vehicle(&self, vehicle: &VehicleKey) -> Result<Option<VehicleSummary>, StoreError> {
        self.inner.vehicle(vehicle).await
    }

    async fn positions(&self, query: PositionQuery) -> Result<Vec<Position>, StoreError> {
        self.inner.positions(query).await
    }

    async fn ledgers(&self, vehicle: &VehicleKey) -> Result<Vec<EpochLedger>, StoreError> {
        self.inner.ledgers(vehicle).await
    }

    async fn received_within(
        &self,
        vehicle: &VehicleKey,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<(Epoch, RangeSet)>, StoreError> {
        self.inner.received_within(vehicle, from, to).await
    }

    async fn positions_at(
        &self,
        vehicle: &VehicleKey,
        epoch: Epoch,
        sequences: &[u64],
    ) -> Result<Vec<Position>, StoreError> {
        self.inner.positions_at(vehicle, epoch, sequences).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_counts_once_and_viewers_see_what_follows() {
    let world = World::new();
    world.append(batch(0, 10)).await;
    let lied = Arc::new(Notify::new());
    let store = Forgetful { inner: world.store.clone(), lies: AtomicUsize::new(1), lied: Arc::clone(&lied) };
    let mut viewer = world.feed.subscribe();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(world.processor(store).run(Box::new(world.journal.subscribe()), stopped));
    lied.notified().await;
    world.append(batch(10, 10)).await;
    // The update of the lost answer is missed, the next is not.
    assert_eq!(viewer.recv().await.unwrap()[0].position.sequence, 19);
    stop.send(true).unwrap();
    running.await.unwrap();
    assert_eq!(world.fixes().await, 20);
}

#[tokio::test]
async fn a_journal_that_ends_before_what_was_processed_is_refused_before_it_grows() {
    let old = World::new();
    for n in 0..3 {
        old.append(batch(n * 10, 10)).await;
    }
    old.processor(old.store.clone()).catch_up(&*old.journal).await.unwrap();
    old.processor(old.store.clone()).check_start(&*old.journal).await.unwrap();

    let restored = World::new();
    restored.append(batch(0, 10)).await;
    let error = restored.processor(old.store.clone()).check_start(&*restored.journal).await.unwrap_err();
    assert!(matches!(error, StartError::JournalBehind { processed: 3, end: 1, .. }), "{error}");

    restored.processor(restored.store.clone()).check_start(&*restored.journal).await.unwrap();
    restored.processor(restored.store.clone()).catch_up(&*restored.journal).await.unwrap();
    assert_eq!(restored.fixes().await, 10, "a store that starts empty is derived again");
}

/// Partitions come and go as the test says.
struct Told(mpsc::Receiver<Event>);

#[async_trait]
impl Subscription for Told {
    async fn next(&mut self) -> Result<Event, JournalError> {
        self.0.recv().await.ok_or(JournalError::Closed)
    }
}

#[tokio::test]
async fn a_partition_goes_over_when_its_worker_has_ended_and_comes_back() {
    let world = World::new();
    let mut running = Vec::new();
    let mut told = Vec::new();
    let (_stop, stopped) = watch::channel(false);
    for _ in 0..2 {
        let (tell, events) = mpsc::channel(1);
        told.push(tell);
        let processor = world.processor(world.store.clone());
        running.push(tokio::spawn(processor.run(Box::new(Told(events)), stopped.clone())));
    }
    let mut viewer = world.feed.subscribe();
    // Three turns: to the first process, to the second, and back.
    for (turn, process) in [0, 1, 0].into_iter().enumerate() {
        told[process].send(Event::Assigned(vec![world.journal.reader()])).await.unwrap();
        world.append(batch(turn as u64 * 10, 10)).await;
        assert_eq!(viewer.recv().await.unwrap()[0].position.sequence, turn as u64 * 10 + 9);
        let (released, ended) = oneshot::channel();
        told[process].send(Event::Revoked { partitions: vec![Partition::FIRST], released }).await.unwrap();
        ended.await.unwrap_err();
    }
    world.append(batch(30, 10)).await;
    told.clear();
    for processor in running {
        processor.await.unwrap();
    }
    assert_eq!(world.fixes().await, 30, "nobody has the partition any more");
    assert_eq!(
        world.store.claim(Partition::FIRST, "test").await.unwrap().generation,
        4,
        "claimed once a turn"
    );
}

/// Takes what is published, and answers only as often as it is told to.
#[derive(Default)]
struct Board {
    taken: Mutex<Vec<(Stream, Message)>>,
    refusals: AtomicUsize,
    /// Whether it has taken the last ones.
    accepted: AtomicBool,
}

impl Board {
    fn sequences(&self) -> Vec<u64> {
        let taken = self.taken.lock().unwrap();
        let positions = taken.iter().filter(|(stream, _)| *stream == Stream::Positions);
        positions.map(|(_, message)| record::Position::decode(&message.value[..]).unwrap().sequence).collect()
    }
}

#[async_trait]
impl Outlet for Board {
    fn source(&self) -> &str {
        "journal"
    }

    fn carries(&self, _: Stream) -> bool {
        true
    }

    async fn publish(
        &self,
        stream: Stream,
        _: Option<Partition>,
        messages: Vec<Message>,
    ) -> Result<Receipt, OutletError> {
        self.taken.lock().unwrap().extend(messages.into_iter().map(|message| (stream, message)));
        let refuse = |refusals: usize| refusals.checked_sub(1);
        match self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse) {
            Ok(_) => Ok(Box::pin(async { Err(OutletError::Unavailable("gone".to_owned())) })),
            Err(_) => {
                self.accepted.store(true, Ordering::SeqCst);
                Ok(Box::pin(async { Ok(()) }))
            }
        }
    }
}

#[tokio::test]
async fn each_new_fix_is_published_once_in_order_and_poison_with_its_reason() {
    let world = World::new();
    for record in [batch(0, 10), record(Kind::Batch, &b"not a batch"[..]), batch(5, 10)] {
        world.append(record).await;
    }
    let board = Arc::new(Board::default());
    let processor = world.processor(world.store.clone()).publishing(Some(board.clone()));
    processor.catch_up(&*world.journal).await.unwrap();
    assert_eq!(board.sequences(), (0..15).collect::<Vec<_>>());
    let taken = board.taken.lock().unwrap().clone();
    let (_, reject) = taken.iter().find(|(stream, _)| *stream == Stream::Rejects).unwrap();
    assert_eq!((&reject.value[..], reject.key.as_deref()), (&b"not a batch"[..], Some(&b"demo/van-1"[..])));
    let header = |name| &reject.headers.iter().find(|(key, _)| *key == name).unwrap().1;
    assert_eq!(
        [header("source"), header("source-partition"), header("source-offset"), header("received-at")],
        ["journal", "0", "1", "5"]
    );
    assert!(header("reason").contains("batch"), "{}", header("reason"));
    let claim = world.store.claim(Partition::FIRST, "test").await.unwrap();
    assert_eq!(claim.published_offset, 3, "noted at the end");
}

#[tokio::test(start_paused = true)]
async fn what_was_processed_and_not_published_is_published_by_whoever_comes_next() {
    let world = World::new();
    world.append(batch(0, 10)).await;
    // Processed before there was somebody to publish.
    world.processor(world.store.clone()).catch_up(&*world.journal).await.unwrap();
    world.append(batch(10, 10)).await;
    // Twice the answer is that it failed: both times all of it comes again.
    let board = Arc::new(Board { refusals: AtomicUsize::new(2), ..Board::default() });
    let processor = world.processor(world.store.clone()).publishing(Some(board.clone()));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(processor.run(Box::new(world.journal.subscribe()), stopped));
    while !board.accepted.load(Ordering::SeqCst) || !board.sequences().ends_with(&[19]) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(true).unwrap();
    running.await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let first: Vec<u64> = board.sequences().into_iter().filter(|number| seen.insert(*number)).collect();
    assert_eq!(first, (0..20).collect::<Vec<_>>(), "the first copies are all there and in order");
    assert!(board.sequences().len() > 20, "some came again");
    let claim = world.store.claim(Partition::FIRST, "test").await.unwrap();
    assert_eq!((claim.published_offset, claim.next_offset), (2, 2));
}

#[tokio::test]
async fn a_gap_is_an_event_and_what_fills_it_a_correction_and_both_leave_in_order() {
    let world = World::new();
    let ranges = vec![message::Range { first: 0, last: 9 }];
    let lost = DeclareLost { epoch: EPOCH.0, ranges, reason: LossReason::BufferFull.into() };
    world.append(record(Kind::Lost, lost.encode_to_vec())).await;
    // Processed while nobody publishes: the event waits.
    world.processor(world.store.clone()).catch_up(&*world.journal).await.unwrap();
    world.append(batch(4, 10)).await;
    world.append(record(Kind::Lost, lost.encode_to_vec())).await;
    let board = Arc::new(Board::default());
    for _ in 0..2 {
        let processor = world.processor(world.store.clone()).publishing(Some(board.clone()));
        processor.catch_up(&*world.journal).await.unwrap();
    }
    let taken = board.taken.lock().unwrap().clone();
    let events: Vec<record::Event> = taken
        .iter()
        .filter(|(stream, _)| *stream == Stream::Events)
        .map(|(_, message)| record::Event::decode(&message.value[..]).unwrap())
        .collect();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["dataGap", "correction"], "each once, nothing again after it was noted");
    assert_eq!((events[0].attributes["sequences"].as_str(), events[0].time_ms), ("0-9", 5));
    assert_eq!(events[1].attributes["sequences"], "4-9");
    assert_eq!(events[1].replaces.as_ref(), Some(&events[0].id));
}
