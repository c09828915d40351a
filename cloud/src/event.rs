//! What happens to vehicles, said once and corrected when it turns out otherwise.
//!
//! Events are pure functions of the journal in its order, whatever stretches it is processed in: deriving everything again
//! gives the same events with the same ids. The store calls them within the commit, because only there it is known what was
//! new; they leave through an outbox that is filled in the same transaction.

use std::collections::HashMap;

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::link::LossReason;
use avl_shared::record;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use prost::Message as _;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use uuid::{Builder, Uuid};

/// Of all our ids: random, and never to be changed.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d3f_27b1_94c8_4e0a_a5d2_0c71_e98b_5f46);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The vehicle gave up fixes that it had numbered.
    DataGap,
    /// An earlier event is not so, or not so any more.
    Correction,
}

impl EventKind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataGap => "dataGap",
            Self::Correction => "correction",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: Uuid,
    pub vehicle: VehicleKey,
    pub kind: EventKind,
    pub time: UtcMillis,
    pub replaces: Option<Uuid>,
    pub attributes: Vec<(&'static str, String)>,
}

/// Of a range that was declared lost and of which `received` is here already; `None` when all of it is.
#[must_use]
pub fn data_gap(
    vehicle: &VehicleKey,
    epoch: Epoch,
    declared: SequenceRange,
    received: &RangeSet,
    reason: LossReason,
    at: UtcMillis,
) -> Option<Event> {
    let given_up = received.missing_within(declared);
    (!given_up.is_empty()).then(|| Event {
        id: gap_id(vehicle, epoch, declared),
        vehicle: vehicle.clone(),
        kind: EventKind::DataGap,
        time: at,
        replaces: None,
        attributes: vec![
            ("epoch", epoch.to_string()),
            ("sequences", given_up.to_string()),
            ("reason", reason.name().to_owned()),
        ],
    })
}

/// Of a range that was declared lost and of which some now came, for the first time; `None` when none did.
#[must_use]
pub fn gap_filled(
    vehicle: &VehicleKey,
    epoch: Epoch,
    declared: SequenceRange,
    fresh: &RangeSet,
    at: UtcMillis,
) -> Option<Event> {
    let filled = fresh.within(declared);
    // A number comes for the first time once.
    let first = filled.first()?;
    let gap = gap_id(vehicle, epoch, declared);
    Some(Event {
        id: id(&format!("{gap} filled from {first}")),
        vehicle: vehicle.clone(),
        kind: EventKind::Correction,
        time: at,
        replaces: Some(gap),
        attributes: vec![("epoch", epoch.to_string()), ("sequences", filled.to_string())],
    })
}

/// Ranges that are declared do not overlap: the first declaration stands.
fn gap_id(vehicle: &VehicleKey, epoch: Epoch, declared: SequenceRange) -> Uuid {
    id(&format!("{vehicle} dataGap {epoch} {}-{}", declared.first(), declared.last()))
}

/// UUID version 5, RFC 9562.
fn id(name: &str) -> Uuid {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[NAMESPACE.as_bytes(), name.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}

impl Event {
    /// As it is published.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let attributes = self.attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        record::Event {
            id: self.id.to_string(),
            fleet: self.vehicle.fleet.as_str().to_owned(),
            vehicle: self.vehicle.vehicle.as_str().to_owned(),
            kind: self.kind.name().to_owned(),
            time_ms: self.time,
            replaces: self.replaces.map(|id| id.to_string()),
            attributes: attributes.collect::<HashMap<_, _>>(),
        }
        .encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_has_the_same_id_whenever_it_is_derived_and_a_correction_names_it() {
        let vehicle: VehicleKey = "demo/van-1".parse().unwrap();
        let declared = SequenceRange::new(0, 19).unwrap();
        let received: RangeSet = SequenceRange::new(5, 9).into_iter().collect();
        let gap = |at| data_gap(&vehicle, Epoch(7), declared, &received, LossReason::BufferFull, at);
        let first = gap(1).unwrap();
        assert_eq!(first.attributes[1], ("sequences", "0-4,10-19".to_owned()));
        assert_eq!(first.id, gap(2).unwrap().id);
        assert_eq!(first.id.get_version_num(), 5);
        let correction =
            gap_filled(&vehicle, Epoch(7), declared, &SequenceRange::new(3, 4).into_iter().collect(), 3);
        let correction = correction.unwrap();
        assert_eq!((correction.replaces, correction.kind), (Some(first.id), EventKind::Correction));
        assert_ne!(correction.id, first.id);
        let all: RangeSet = [declared].into_iter().collect();
        assert_eq!(data_gap(&vehicle, Epoch(7), declared, &all, LossReason::BufferFull, 1), None);
    }
}
