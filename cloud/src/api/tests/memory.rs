//! A store for these tests until the embedded one is there.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};

use crate::store::*;

#[derive(Default)]
pub(super) struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    offset: u64,
    vehicles: BTreeMap<VehicleKey, Vehicle>,
}

#[derive(Default)]
struct Vehicle {
    rows: BTreeMap<PositionCursor, Position>,
    ledgers: Vec<EpochLedger>,
}

impl Vehicle {
    fn ledger(&mut self, epoch: Epoch) -> &mut EpochLedger {
        let index = self.ledgers.iter().position(|ledger| ledger.epoch == epoch).unwrap_or_else(|| {
            self.ledgers.push(EpochLedger {
                epoch,
                next_sequence: 0,
                received: RangeSet::new(),
                lost: Vec::new(),
            });
            self.ledgers.len() - 1
        });
        &mut self.ledgers[index]
    }

    fn summary(&self, vehicle: &VehicleKey) -> VehicleSummary {
        let newest = self.rows.values().next_back().cloned();
        VehicleSummary { vehicle: vehicle.clone(), fixes: self.rows.len() as u64, newest }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let mut inner = self.inner.lock().unwrap();
        inner.offset = commit.next_offset;
        let mut done = Committed::default();
        for change in commit.changes {
            match change {
                Change::Fixes { vehicle, epoch, first, fixes, received_at } => {
                    let entry = inner.vehicles.entry(vehicle.clone()).or_default();
                    for (sequence, fix) in (first..).zip(fixes) {
                        let position = Position { epoch, sequence, fix, received_at };
                        entry.ledger(epoch).received.insert(SequenceRange::new(sequence, sequence).unwrap());
                        let ledger = entry.ledger(epoch);
                        ledger.next_sequence = ledger.next_sequence.max(sequence + 1);
                        entry
                            .rows
                            .insert(PositionCursor { time: position.time(), epoch, sequence }, position);
                    }
                    done.newest.push((vehicle, entry.rows.values().next_back().cloned().unwrap()));
                }
                Change::Lost { vehicle, epoch, ranges, reason } => {
                    let ledger = inner.vehicles.entry(vehicle).or_default().ledger(epoch);
                    ledger.lost.extend(ranges.ranges().iter().map(|range| (*range, reason)));
                }
                Change::Known { vehicle, epoch, next_sequence } => {
                    let ledger = inner.vehicles.entry(vehicle).or_default().ledger(epoch);
                    ledger.next_sequence = ledger.next_sequence.max(next_sequence);
                }
            }
        }
        Ok(done)
    }

    async fn next_offset(&self) -> Result<u64, StoreError> {
        Ok(self.inner.lock().unwrap().offset)
    }

    async fn vehicles(&self) -> Result<Vec<VehicleSummary>, StoreError> {
        Ok(self.inner.lock().unwrap().vehicles.iter().map(|(key, vehicle)| vehicle.summary(key)).collect())
    }

    async fn vehicle(&self, vehicle: &VehicleKey) -> Result<Option<VehicleSummary>, StoreError> {
        Ok(self.inner.lock().unwrap().vehicles.get(vehicle).map(|entry| entry.summary(vehicle)))
    }

    async fn positions(&self, query: PositionQuery) -> Result<Vec<Position>, StoreError> {
        let inner = self.inner.lock().unwrap();
        let rows = inner.vehicles.get(&query.vehicle).into_iter().flat_map(|vehicle| &vehicle.rows);
        let within = rows.filter(|(cursor, _)| {
            (query.from..query.to).contains(&cursor.time) && query.after.is_none_or(|after| **cursor > after)
        });
        Ok(within.take(query.limit).map(|(_, row)| row.clone()).collect())
    }

    async fn ledgers(&self, vehicle: &VehicleKey) -> Result<Vec<EpochLedger>, StoreError> {
        let inner = self.inner.lock().unwrap();
        Ok(inner.vehicles.get(vehicle).map(|entry| entry.ledgers.clone()).unwrap_or_default())
    }

    async fn received_within(
        &self,
        vehicle: &VehicleKey,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<(Epoch, RangeSet)>, StoreError> {
        let inner = self.inner.lock().unwrap();
        let mut sets: BTreeMap<Epoch, RangeSet> = BTreeMap::new();
        let rows = inner.vehicles.get(vehicle).into_iter().flat_map(|vehicle| vehicle.rows.keys());
        for row in rows.filter(|row| (from..to).contains(&row.time)) {
            sets.entry(row.epoch)
                .or_default()
                .insert(SequenceRange::new(row.sequence, row.sequence).unwrap());
        }
        Ok(sets.into_iter().collect())
    }

    async fn positions_at(
        &self,
        vehicle: &VehicleKey,
        epoch: Epoch,
        sequences: &[u64],
    ) -> Result<Vec<Position>, StoreError> {
        let inner = self.inner.lock().unwrap();
        let rows = inner.vehicles.get(vehicle).into_iter().flat_map(|vehicle| vehicle.rows.values());
        let mut rows: Vec<Position> =
            rows.filter(|row| row.epoch == epoch && sequences.contains(&row.sequence)).cloned().collect();
        rows.sort_by_key(|row| row.sequence);
        Ok(rows)
    }
}
