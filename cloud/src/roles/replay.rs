//! The journal once more: into an empty store, or into another journal.
//!
//! Appended twice is stored once: the ledger drops what is there already.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::journal::{Archive, Journal, PartitionReader, ReadLimit, Receipt};
use crate::live::LiveFeed;
use crate::process::Processor;
use crate::store::{Commit, Store};

const PAGE: ReadLimit = ReadLimit { entries: 1_000, bytes: 4 * 1024 * 1024 };
/// Entries that are there come within it, over any network.
const PATIENCE: Duration = Duration::from_secs(10);
/// Appended and not yet answered.
const WAITING: usize = 4_000;
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What was done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Replayed {
    pub entries: u64,
    /// Entries that cannot be understood: they were left out.
    pub refused: u64,
}

/// Processes the journal, from this offset of each partition on, into a store that has seen none of it.
///
/// # Errors
/// When the store is not empty, or journal or store fail; what was committed stays, and the processor goes on from there.
pub async fn into_store(archive: &dyn Archive, store: Arc<dyn Store>, from: u64) -> anyhow::Result<Replayed> {
    let mut entries = 0;
    let mut readers = archive.readers().await?;
    for reader in &mut readers {
        let processed = store.next_offset(reader.partition()).await?;
        ensure!(
            processed == 0,
            "the store is not empty: it has partition {} of the journal up to entry {processed}. Name an empty database, or \
             move the store away; nothing was changed",
            reader.partition()
        );
    }
    for reader in &mut readers {
        let (partition, bounds) = (reader.partition(), reader.bounds().await?);
        entries += bounds.end.saturating_sub(from.max(bounds.start));
        let claim = store.claim(partition, "avl-cloud replay").await?;
        let next_offset = from.min(bounds.end);
        store
            .commit(Commit {
                partition,
                generation: claim.generation,
                changes: Vec::new().into(),
                refused: Vec::new(),
                next_offset,
            })
            .await?;
    }
    drop(readers);
    tracing::info!(entries, "processing");
    Processor::new(store, LiveFeed::default()).catch_up(archive).await?;
    Ok(Replayed { entries, refused: 0 })
}

/// Appends every entry, from this offset of each partition on, to another journal, each vehicle's in order.
///
/// # Errors
/// When either journal fails; done again, it begins anew.
pub async fn into_journal(
    archive: &dyn Archive,
    journal: &dyn Journal,
    from: u64,
) -> anyhow::Result<Replayed> {
    let mut replayed = Replayed::default();
    let mut waiting: VecDeque<Receipt> = VecDeque::new();
    let mut said = Instant::now();
    for mut reader in archive.readers().await? {
        copy(&mut *reader, journal, from, &mut waiting, &mut replayed, &mut said).await?;
    }
    for receipt in waiting {
        receipt.await?;
    }
    Ok(replayed)
}

async fn copy(
    reader: &mut dyn PartitionReader,
    journal: &dyn Journal,
    from: u64,
    waiting: &mut VecDeque<Receipt>,
    replayed: &mut Replayed,
    said: &mut Instant,
) -> anyhow::Result<()> {
    let bounds = reader.bounds().await?;
    let mut next = from.max(bounds.start);
    while next < bounds.end {
        let entries = reader.read(next, PAGE, PATIENCE).await?.entries;
        // Nothing but holes up to the end.
        let Some(last) = entries.last() else { break };
        next = last.offset + 1;
        for entry in entries {
            let record = match entry.record {
                Ok(record) => record,
                Err(unreadable) => {
                    replayed.refused += 1;
                    tracing::warn!(partition = %reader.partition(), offset = entry.offset, reason = unreadable.reason, "left out");
                    continue;
                }
            };
            if waiting.len() >= WAITING {
                waiting.pop_front().context("it waits")?.await?;
            }
            waiting.push_back(journal.append(record).await?);
            replayed.entries += 1;
        }
        if said.elapsed() >= SAY_EVERY {
            *said = Instant::now();
            tracing::info!(partition = %reader.partition(), next, end = bounds.end, entries = replayed.entries, "replaying");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::batch::{Batch, encode};
    use avl_shared::sequence::Epoch;

    use crate::journal::sqlite::SqliteJournal;
    use crate::journal::{Kind, Partition, Record, Transport};
    use crate::store::conformance::{fix, van};
    use crate::store::sqlite::SqliteStore;

    async fn append(journal: &SqliteJournal, value: Vec<u8>) {
        let record = Record {
            vehicle: van(),
            kind: Kind::Batch,
            transport: Transport::Quic,
            received_at: 9,
            value: value.into(),
        };
        journal.append(record).await.unwrap().await.unwrap();
    }

    fn batch(first: u64) -> Vec<u8> {
        let fixes = (first..first + 10).map(fix).collect();
        encode(&Batch { epoch: Epoch(7), first, boot_id: None, fixes }).unwrap()
    }

    #[tokio::test]
    async fn a_journal_goes_into_another_and_from_an_offset_into_an_empty_store_and_into_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let old = SqliteJournal::open(&temp.path().join("old.sqlite")).unwrap();
        for first in [0, 10, 20] {
            append(&old, batch(first)).await;
        }
        let new = SqliteJournal::open(&temp.path().join("new.sqlite")).unwrap();
        assert_eq!(into_journal(&old, &new, 0).await.unwrap().entries, 3);
        assert_eq!(into_journal(&old, &new, 2).await.unwrap().entries, 1, "the last one twice");

        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&temp.path().join("store.sqlite")).unwrap());
        let replayed = into_store(&new, Arc::clone(&store), 1).await.unwrap();
        assert_eq!(replayed.entries, 3);
        let ledger = store.ledgers(&van()).await.unwrap().remove(0);
        assert_eq!((ledger.received.count(), ledger.next_sequence), (20, 30), "each once, without the first");
        assert_eq!(store.next_offset(Partition::FIRST).await.unwrap(), 4);
        let error = into_store(&new, store, 0).await.unwrap_err().to_string();
        assert!(error.contains("not empty"), "{error}");
    }
}
