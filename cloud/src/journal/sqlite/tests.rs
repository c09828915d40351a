use bytes::Bytes;

use super::*;
use crate::journal::{Entry, Kind, ReadLimit, Transport};

const PAGE: ReadLimit = ReadLimit { entries: 100, bytes: usize::MAX };

fn record(value: impl Into<Bytes>) -> Record {
    Record {
        vehicle: "demo/van-1".parse().unwrap(),
        kind: Kind::Batch,
        transport: Transport::Quic,
        received_at: 1_000,
        value: value.into(),
    }
}

/// Entries from `offset` on that are there now.
async fn read(journal: &SqliteJournal, offset: u64, limit: ReadLimit) -> Vec<Entry> {
    journal.reader().read(offset, limit, Duration::ZERO).await.unwrap().entries
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("journal.sqlite");
    (temp, path)
}

#[tokio::test]
async fn what_was_appended_is_read_in_order_also_after_reopening() {
    let (_temp, path) = file();
    for round in 0..2_u64 {
        let journal = SqliteJournal::open(&path).unwrap();
        for n in 0..3_u64 {
            let receipt = journal.append(record(vec![u8::try_from(round * 3 + n).unwrap()])).await.unwrap();
            assert_eq!(receipt.await.unwrap().offset, round * 3 + n);
        }
        assert_eq!(*journal.end().borrow(), round * 3 + 3);
    }
    let reader = SqliteJournal::open_read_only(&path).unwrap();
    let entries = read(&reader, 1, PAGE).await;
    let got: Vec<_> =
        entries.into_iter().map(|entry| (entry.offset, entry.record.unwrap().value[0])).collect();
    assert_eq!(got, [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    assert_eq!(reader.append(record("x")).await.err(), Some(JournalError::Closed));
}

#[tokio::test]
async fn appends_that_wait_together_share_a_commit_and_keep_their_order() {
    let (_temp, path) = file();
    let journal = SqliteJournal::open(&path).unwrap();
    let mut receipts = Vec::new();
    for n in 0..500_u16 {
        receipts.push(journal.append(record(n.to_be_bytes().to_vec())).await.unwrap());
    }
    for (n, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.await.unwrap().offset, n as u64);
    }
    assert_eq!(*journal.end().borrow(), 500);
}

#[tokio::test]
async fn a_read_is_bounded_by_bytes_but_always_goes_on() {
    let (_temp, path) = file();
    let journal = SqliteJournal::open(&path).unwrap();
    for _ in 0..5 {
        journal.append(record(vec![0; 100])).await.unwrap().await.unwrap();
    }
    let few = read(&journal, 0, ReadLimit { entries: 100, bytes: 250 }).await;
    assert_eq!(few.len(), 3);
    let one = read(&journal, 0, ReadLimit { entries: 100, bytes: 0 }).await;
    assert_eq!(one.len(), 1);
}

#[tokio::test]
async fn retention_keeps_the_newest_entry_so_that_offsets_are_never_given_twice() {
    let (_temp, path) = file();
    let journal = SqliteJournal::open(&path).unwrap();
    for _ in 0..10 {
        journal.append(record("x")).await.unwrap().await.unwrap();
    }
    assert_eq!(journal.discard_before(5, 3).await.unwrap(), 3, "bounded");
    assert_eq!(journal.discard_before(100, 100).await.unwrap(), 6);
    drop(journal);
    let journal = SqliteJournal::open(&path).unwrap();
    assert_eq!(journal.append(record("x")).await.unwrap().await.unwrap().offset, 10);
    assert_eq!(read(&journal, 0, PAGE).await[0].offset, 9);
}

#[tokio::test]
async fn dropping_the_journal_finishes_what_was_accepted() {
    let (_temp, path) = file();
    let journal = SqliteJournal::open(&path).unwrap();
    let mut receipts = Vec::new();
    for _ in 0..100 {
        receipts.push(journal.append(record("x")).await.unwrap());
    }
    drop(journal);
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn an_entry_that_no_reader_knows_does_not_hide_the_others() {
    let (_temp, path) = file();
    let journal = SqliteJournal::open(&path).unwrap();
    journal.append(record("one")).await.unwrap().await.unwrap();
    journal.append(record("two")).await.unwrap().await.unwrap();
    Connection::open(&path).unwrap().execute("UPDATE entries SET kind = 77 WHERE offset = 0", []).unwrap();
    let entries = read(&journal, 0, PAGE).await;
    let unreadable = entries[0].record.as_ref().unwrap_err();
    assert_eq!((unreadable.reason.as_str(), &unreadable.value[..]), ("unknown kind 77", &b"one"[..]));
    assert_eq!(entries[1].record.as_ref().unwrap().value, "two");
}

#[tokio::test]
async fn a_reader_waits_for_what_comes_and_says_where_it_ends() {
    let (_temp, path) = file();
    let journal = SqliteJournal::open(&path).unwrap();
    let mut reader = journal.reader();
    assert_eq!(reader.bounds().await.unwrap(), 0..0);
    let waiting = tokio::spawn(async move { reader.read(1, PAGE, Duration::from_secs(3600)).await.unwrap() });
    for _ in 0..2 {
        journal.append(record("x")).await.unwrap().await.unwrap();
    }
    let stretch = waiting.await.unwrap();
    assert_eq!((stretch.entries[0].offset, stretch.end), (1, 2));
    journal.discard_before(1, 1).await.unwrap();
    assert_eq!(journal.reader().bounds().await.unwrap(), 1..2);
}
