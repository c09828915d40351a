//! What a commit does to what is there: a pure function of its changes and of the part of the ledger that they touch.
//!
//! First [`Touched`] says what has to be loaded, then [`merge`] says what has to be written. Duplicates end here: they
//! reach no statement.

use std::collections::HashMap;

use avl_shared::fix::{Fix, UtcMillis};
use avl_shared::identity::VehicleKey;
use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};

use super::row::{self, Values};
use crate::event::{self, Event};
use crate::store::{Change, MAX_SEQUENCE, Position, StoreError};

/// Vehicles and epochs in the order in which they are first named; an epoch is (place of its vehicle, epoch).
#[derive(Debug, Default)]
pub(super) struct Touched<'a> {
    pub(super) vehicles: Vec<&'a VehicleKey>,
    pub(super) epochs: Vec<(usize, Epoch)>,
    /// For each epoch the numbers that the changes name.
    pub(super) windows: Vec<RangeSet>,
    vehicle_places: HashMap<&'a VehicleKey, usize>,
    epoch_places: HashMap<(usize, Epoch), usize>,
}

impl<'a> Touched<'a> {
    /// # Errors
    /// When a number is too high. The processor lets none through; wrapped around it would lose the order of all.
    pub(super) fn by(changes: &'a [Change]) -> Result<Self, StoreError> {
        let mut touched = Self::default();
        for change in changes {
            match change {
                Change::Fixes { vehicle, epoch, first, fixes, .. } => {
                    let vehicle = touched.vehicle(vehicle);
                    if let Some(range) = SequenceRange::starting_at(*first, fixes.len() as u64) {
                        touched.window(vehicle, *epoch, range)?;
                    }
                }
                Change::Lost { vehicle, epoch, ranges, .. } => {
                    let vehicle = touched.vehicle(vehicle);
                    touched.epoch(vehicle, *epoch);
                    for &range in ranges.ranges() {
                        touched.window(vehicle, *epoch, range)?;
                    }
                }
                Change::Known { vehicle, epoch, .. } => {
                    let vehicle = touched.vehicle(vehicle);
                    touched.epoch(vehicle, *epoch);
                }
            }
        }
        Ok(touched)
    }

    fn vehicle(&mut self, vehicle: &'a VehicleKey) -> usize {
        let vehicles = &mut self.vehicles;
        *self.vehicle_places.entry(vehicle).or_insert_with(|| {
            vehicles.push(vehicle);
            vehicles.len() - 1
        })
    }

    fn epoch(&mut self, vehicle: usize, epoch: Epoch) -> usize {
        let (epochs, windows) = (&mut self.epochs, &mut self.windows);
        *self.epoch_places.entry((vehicle, epoch)).or_insert_with(|| {
            epochs.push((vehicle, epoch));
            windows.push(RangeSet::new());
            epochs.len() - 1
        })
    }

    fn window(&mut self, vehicle: usize, epoch: Epoch, range: SequenceRange) -> Result<(), StoreError> {
        if range.last() > MAX_SEQUENCE {
            return Err(StoreError::Corrupt(format!("sequence numbers {range} exceed {MAX_SEQUENCE}")));
        }
        let place = self.epoch(vehicle, epoch);
        self.windows[place].insert(range);
        Ok(())
    }
}

/// Where a row stands among a vehicle's.
pub(super) type Place = (UtcMillis, Epoch, u64);

/// What the database holds of what is touched; in the order of [`Touched`].
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) vehicles: Vec<HeldVehicle>,
    pub(super) epochs: Vec<HeldEpoch>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct HeldVehicle {
    pub(super) id: i32,
    pub(super) newest: Option<Place>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct HeldEpoch {
    pub(super) id: i32,
    /// Within the window.
    pub(super) received: RangeSet,
    /// Declared before; at least within the window.
    pub(super) lost: RangeSet,
    /// The same, each range as it was declared, in order.
    pub(super) declared: Vec<SequenceRange>,
}

/// What has to be written; vehicles and epochs in the order of [`Touched`].
#[derive(Debug)]
pub(super) struct Merged<'a> {
    runs: Vec<Run<'a>>,
    pub(super) epochs: Vec<EpochNews>,
    pub(super) lost: Vec<(i32, SequenceRange, LossReason)>,
    pub(super) vehicles: Vec<VehicleNews>,
    pub(super) stored: u64,
    pub(super) duplicates: u64,
    /// For each change the numbers that are new.
    pub(super) fresh: Vec<RangeSet>,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Default)]
pub(super) struct EpochNews {
    pub(super) received: RangeSet,
    pub(super) next_sequence: u64,
}

#[derive(Debug, Default)]
pub(super) struct VehicleNews {
    pub(super) stored: u64,
    /// Set when the commit brings a newer row.
    pub(super) newest: Option<Position>,
}

/// Fixes of one batch that are new and follow each other.
#[derive(Debug)]
struct Run<'a> {
    vehicle_id: i32,
    epoch: Epoch,
    first: u64,
    fixes: &'a [Fix],
    received_at: UtcMillis,
}

impl Merged<'_> {
    pub(super) fn rows(&self) -> impl Iterator<Item = Values> + Send + '_ {
        self.runs.iter().flat_map(|run| {
            (run.first..)
                .zip(run.fixes)
                .map(|(sequence, fix)| row::values(run.vehicle_id, run.epoch, sequence, fix, run.received_at))
        })
    }
}

pub(super) fn merge<'a>(changes: &'a [Change], touched: &Touched<'a>, loaded: Loaded) -> Merged<'a> {
    let Loaded { mut vehicles, mut epochs } = loaded;
    let mut merged = Merged {
        runs: Vec::new(),
        epochs: touched.epochs.iter().map(|_| EpochNews::default()).collect(),
        lost: Vec::new(),
        vehicles: touched.vehicles.iter().map(|_| VehicleNews::default()).collect(),
        stored: 0,
        duplicates: 0,
        fresh: vec![RangeSet::new(); changes.len()],
        events: Vec::new(),
    };
    for (number, change) in changes.iter().enumerate() {
        match change {
            Change::Fixes { vehicle: key, epoch, first, fixes, received_at } => {
                let Some(range) = SequenceRange::starting_at(*first, fixes.len() as u64) else { continue };
                let vehicle = touched.vehicle_places[key];
                let at = touched.epoch_places[&(vehicle, *epoch)];
                let fresh = epochs[at].received.insert(range);
                let (held, news) = (&mut vehicles[vehicle], &mut merged.vehicles[vehicle]);
                for &run in fresh.ranges() {
                    let fixes = slice(fixes, run, *first);
                    for (sequence, fix) in (run.first()..).zip(fixes) {
                        let place = (fix.time.unwrap_or(*received_at), *epoch, sequence);
                        if held.newest.is_none_or(|newest| newest < place) {
                            held.newest = Some(place);
                            let (epoch, received_at) = (*epoch, *received_at);
                            news.newest = Some(Position { epoch, sequence, fix: fix.clone(), received_at });
                        }
                    }
                    let (vehicle_id, epoch, received_at) = (held.id, *epoch, *received_at);
                    merged.runs.push(Run { vehicle_id, epoch, first: run.first(), fixes, received_at });
                }
                merged.epochs[at].received.extend_from(&fresh);
                merged.epochs[at].know(range.last() + 1);
                news.stored += fresh.count();
                merged.stored += fresh.count();
                merged.duplicates += range.count() - fresh.count();
                let filled = epochs[at]
                    .declared
                    .iter()
                    .filter_map(|&declared| event::gap_filled(key, *epoch, declared, &fresh, *received_at));
                merged.events.extend(filled);
                merged.fresh[number] = fresh;
            }
            Change::Lost { vehicle: key, epoch, ranges, reason, received_at } => {
                let vehicle = touched.vehicle_places[key];
                let at = touched.epoch_places[&(vehicle, *epoch)];
                let held = &mut epochs[at];
                for &range in ranges.ranges() {
                    // A number that was declared before keeps its first reason.
                    let fresh = held.lost.insert(range);
                    for &declared in fresh.ranges() {
                        let gap =
                            event::data_gap(key, *epoch, declared, &held.received, *reason, *received_at);
                        merged.events.extend(gap);
                        held.declared.push(declared);
                    }
                    held.declared.sort_unstable_by_key(|declared| declared.first());
                    merged.lost.extend(fresh.ranges().iter().map(|&range| (held.id, range, *reason)));
                    merged.epochs[at].know(range.last() + 1);
                }
            }
            Change::Known { vehicle, epoch, next_sequence } => {
                let vehicle = touched.vehicle_places[vehicle];
                let at = touched.epoch_places[&(vehicle, *epoch)];
                merged.epochs[at].know(*next_sequence);
            }
        }
    }
    merged
}

impl EpochNews {
    fn know(&mut self, next: u64) {
        self.next_sequence = self.next_sequence.max(next.min(MAX_SEQUENCE + 1));
    }
}

/// The fixes of `run`, of a batch that begins at `first`.
fn slice(fixes: &[Fix], run: SequenceRange, first: u64) -> &[Fix] {
    let index = |sequence: u64| usize::try_from(sequence - first).unwrap_or(usize::MAX);
    fixes.get(index(run.first())..=index(run.last())).unwrap_or_default()
}
