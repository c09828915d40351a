//! The suite: each behaviour on a journal that is new and has nothing in it.

use std::sync::Arc;
use std::time::Duration;

use avl_cloud::journal::{
    Archive, Entry, Event, Journal, JournalError, Kind, Partition, PartitionReader, Place, ReadLimit,
    Receipt, Record, Subscription, Transport,
};
use avl_shared::identity::VehicleKey;
use bytes::Bytes;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use tokio::time::timeout;

pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) subscription: Box<dyn Subscription>,
    /// Retention: forgets what is before this place.
    pub(crate) discard_before: Box<dyn Fn(Place) -> BoxFuture<'static, ()> + Send + Sync>,
}

type Behaviour = fn(Opened) -> LocalBoxFuture<'static, ()>;

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        /// By name, in the order in which they are easiest to understand when one fails.
        pub(crate) const SUITE: &[(&str, Behaviour)] = &[$((stringify!($name), |opened| Box::pin($name(opened)))),*];
    };
}

suite!(
    an_entry_comes_back_as_it_went_in,
    a_vehicle_has_one_partition_and_its_entries_keep_their_order,
    a_reader_goes_where_it_is_told,
    a_read_is_bounded_and_always_goes_on,
    a_reader_waits_for_what_comes,
    a_read_may_be_dropped_while_it_waits,
    what_retention_has_deleted_is_a_hole,
    what_can_never_be_kept_is_refused,
    a_receipt_nobody_waits_for_takes_nothing_back,
    a_follower_gets_every_partition,
);

/// Long enough for a first contact with a broker on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(30);
const PAGE: ReadLimit = ReadLimit { entries: 1000, bytes: usize::MAX };

pub(crate) fn vehicle(number: usize) -> VehicleKey {
    format!("demo/van-{number}").parse().unwrap()
}

pub(crate) fn record(vehicle: VehicleKey, value: impl Into<Bytes>) -> Record {
    let (kind, transport) = (Kind::Batch, Transport::Quic);
    Record { vehicle, kind, transport, received_at: 1_800_000_000_000, value: value.into() }
}

pub(crate) async fn settle(receipts: Vec<Receipt>) -> Vec<Place> {
    let mut places = Vec::new();
    for receipt in receipts {
        places.push(timeout(PATIENCE, receipt).await.expect("answered in time").unwrap());
    }
    places
}

async fn put(journal: &dyn Journal, record: Record) -> Place {
    settle(vec![journal.append(record).await.unwrap()]).await.remove(0)
}

async fn reader(opened: &Opened, partition: Partition) -> Box<dyn PartitionReader> {
    let readers = opened.archive.readers().await.unwrap();
    readers.into_iter().find(|reader| reader.partition() == partition).unwrap()
}

/// Everything from `offset` up to the end.
pub(crate) async fn rest(reader: &mut dyn PartitionReader, mut offset: u64) -> Vec<Entry> {
    let end = reader.bounds().await.unwrap().end;
    let mut entries = Vec::new();
    while offset < end {
        let read = reader.read(offset, PAGE, PATIENCE).await.unwrap().entries;
        offset = read.last().expect("entries up to the end").offset + 1;
        entries.extend(read);
    }
    entries
}

fn offsets(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.offset).collect()
}

async fn an_entry_comes_back_as_it_went_in(opened: Opened) {
    let longest: VehicleKey = format!("{}/{}", "f".repeat(24), "v".repeat(39)).parse().unwrap();
    let records = [
        record(vehicle(1), "a batch"),
        Record { kind: Kind::Lost, transport: Transport::Mqtt, ..record(longest, vec![0; 1_000_000]) },
        Record { kind: Kind::Known, received_at: 0, ..record(vehicle(2), Bytes::new()) },
    ];
    for record in records {
        let place = put(&*opened.journal, record.clone()).await;
        let mut reader = reader(&opened, place.partition).await;
        let stretch = reader.read(place.offset, PAGE, PATIENCE).await.unwrap();
        assert_eq!(stretch.entries[0], Entry { offset: place.offset, record: Ok(record) });
        assert_eq!(stretch.end, place.offset + 1);
    }
}

async fn a_vehicle_has_one_partition_and_its_entries_keep_their_order(opened: Opened) {
    let mut receipts = Vec::new();
    for number in 0..500_u16 {
        let vehicle = vehicle(usize::from(number % 5));
        receipts.push(opened.journal.append(record(vehicle, number.to_be_bytes().to_vec())).await.unwrap());
    }
    let places = settle(receipts).await;
    for first in 0..5 {
        let mine: Vec<&Place> = places.iter().skip(first).step_by(5).collect();
        assert!(
            mine.windows(2)
                .all(|pair| pair[0].partition == pair[1].partition && pair[0].offset < pair[1].offset)
        );
    }
    let mut found = 0;
    for mut reader in opened.archive.readers().await.unwrap() {
        let mut last = std::collections::HashMap::new();
        for entry in rest(&mut *reader, 0).await {
            let record = entry.record.unwrap();
            let number = u16::from_be_bytes(record.value[..].try_into().unwrap());
            assert!(last.insert(record.vehicle, number).is_none_or(|last| last < number));
            found += 1;
        }
    }
    assert_eq!(found, 500);
}

async fn a_reader_goes_where_it_is_told(opened: Opened) {
    let mut receipts = Vec::new();
    for number in 0..50_u8 {
        receipts.push(opened.journal.append(record(vehicle(1), vec![number])).await.unwrap());
    }
    let partition = settle(receipts).await[0].partition;
    let mut reader = reader(&opened, partition).await;
    let first = reader.bounds().await.unwrap().start;
    let small = ReadLimit { entries: 5, bytes: usize::MAX };
    // Forward, back, on, to the end, and back to the beginning.
    for at in [0, 20, 10, 15, 49, 0] {
        let entries = reader.read(first + at, small, PATIENCE).await.unwrap().entries;
        assert_eq!(entries[0].offset, first + at);
        assert_eq!(u64::from(entries[0].record.as_ref().unwrap().value[0]), at);
        assert!(entries.windows(2).all(|pair| pair[0].offset + 1 == pair[1].offset));
    }
    let none = reader.read(first + 50, small, Duration::from_millis(1)).await.unwrap();
    assert_eq!((none.entries.len(), none.end), (0, first + 50));
}

async fn a_read_is_bounded_and_always_goes_on(opened: Opened) {
    let mut receipts = Vec::new();
    for _ in 0..5 {
        receipts.push(opened.journal.append(record(vehicle(1), vec![0; 100])).await.unwrap());
    }
    let place = settle(receipts).await[0];
    let mut reader = reader(&opened, place.partition).await;
    for (limit, most) in [(250, 3), (0, 1)] {
        let limit = ReadLimit { entries: 100, bytes: limit };
        let read = reader.read(place.offset, limit, PATIENCE).await.unwrap().entries.len();
        assert!((1..=most).contains(&read), "{read} entries");
    }
    let limit = ReadLimit { entries: 2, bytes: usize::MAX };
    assert!(reader.read(place.offset, limit, PATIENCE).await.unwrap().entries.len() <= 2);
}

async fn a_reader_waits_for_what_comes(opened: Opened) {
    let place = put(&*opened.journal, record(vehicle(1), "first")).await;
    let mut reader = reader(&opened, place.partition).await;
    let waiting =
        tokio::spawn(async move { reader.read(place.offset + 1, PAGE, PATIENCE).await.unwrap().entries });
    let second = put(&*opened.journal, record(vehicle(1), "second")).await;
    assert_eq!(offsets(&waiting.await.unwrap()), [second.offset]);
}

async fn a_read_may_be_dropped_while_it_waits(opened: Opened) {
    let place = put(&*opened.journal, record(vehicle(1), "first")).await;
    let mut reader = reader(&opened, place.partition).await;
    assert!(timeout(Duration::ZERO, reader.read(place.offset + 1, PAGE, PATIENCE)).await.is_err());
    assert!(
        timeout(Duration::from_millis(300), reader.read(place.offset + 1, PAGE, PATIENCE)).await.is_err()
    );
    put(&*opened.journal, record(vehicle(1), "second")).await;
    assert_eq!(rest(&mut *reader, place.offset).await.len(), 2);
}

async fn what_retention_has_deleted_is_a_hole(opened: Opened) {
    let mut receipts = Vec::new();
    for number in 0..10_u8 {
        receipts.push(opened.journal.append(record(vehicle(1), vec![number])).await.unwrap());
    }
    let place = settle(receipts).await[0];
    let kept = place.offset + 6;
    (opened.discard_before)(Place { offset: kept, ..place }).await;
    let mut reader = reader(&opened, place.partition).await;
    assert_eq!(reader.bounds().await.unwrap(), kept..place.offset + 10);
    assert_eq!(
        offsets(&rest(&mut *reader, place.offset).await),
        (kept..place.offset + 10).collect::<Vec<_>>()
    );
}

async fn what_can_never_be_kept_is_refused(opened: Opened) {
    let refused = opened.journal.append(record(vehicle(1), vec![0; 20_000_000])).await;
    assert!(matches!(refused.err(), Some(JournalError::TooLarge { .. })));
    put(&*opened.journal, record(vehicle(1), "the next")).await;
}

async fn a_receipt_nobody_waits_for_takes_nothing_back(opened: Opened) {
    drop(opened.journal.append(record(vehicle(1), "forgotten")).await.unwrap());
    let place = put(&*opened.journal, record(vehicle(1), "waited for")).await;
    let mut reader = reader(&opened, place.partition).await;
    assert_eq!(rest(&mut *reader, 0).await.len(), 2);
}

async fn a_follower_gets_every_partition(mut opened: Opened) {
    let expected = opened.archive.readers().await.unwrap().len();
    let mut found = Vec::new();
    while found.len() < expected {
        let event = timeout(PATIENCE, opened.subscription.next()).await.expect("an assignment").unwrap();
        let Event::Assigned(readers) = event else { panic!("alone, nothing is taken away") };
        found.extend(readers);
    }
    let place = put(&*opened.journal, record(vehicle(7), "x")).await;
    let mut mine = found.into_iter().find(|reader| reader.partition() == place.partition).unwrap();
    assert_eq!(rest(&mut *mine, 0).await.len(), 1);
}
