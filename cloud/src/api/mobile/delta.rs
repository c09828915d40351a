//! What has changed since a token, without a memory on the server: the token says what its holder knows.
//!
//! Vehicles are spread over buckets by their names; the token has a digest of each bucket. Whoever comes back with it gets
//! the vehicles of the buckets that differ. It does not depend on clocks, on the order of commits, or on the process
//! that made it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::store::VehicleSummary;

/// A kilobyte of token at most. Small fleets have about a vehicle in a bucket.
const MOST_BUCKETS: usize = 256;
const DIGEST_BYTES: usize = 4;
/// The first byte of a token.
const FORMAT: u8 = 1;

/// What a client that has seen these vehicles knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// As many as a power of two.
    buckets: Vec<[u8; DIGEST_BYTES]>,
}

impl Known {
    pub(super) fn of(vehicles: &[VehicleSummary]) -> Self {
        let count = vehicles.len().next_power_of_two().clamp(1, MOST_BUCKETS);
        let mut buckets = vec![[0; DIGEST_BYTES]; count];
        for vehicle in vehicles {
            let bucket = &mut buckets[bucket_of(vehicle, count)];
            // Without an order: stores may list vehicles in any.
            for (sum, byte) in bucket.iter_mut().zip(state_digest(vehicle)) {
                *sum ^= byte;
            }
        }
        Self { buckets }
    }

    /// `None` for what is no token of ours, or one of another format: its holder gets everything.
    pub(super) fn read(token: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (&format, digests) = bytes.split_first()?;
        let (chunks, rest) = digests.as_chunks::<DIGEST_BYTES>();
        let right = format == FORMAT
            && rest.is_empty()
            && chunks.len().is_power_of_two()
            && chunks.len() <= MOST_BUCKETS;
        right.then(|| Self { buckets: chunks.to_vec() })
    }

    pub(super) fn token(&self) -> String {
        let mut bytes = vec![FORMAT];
        bytes.extend(self.buckets.iter().flatten());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// For `ETag`: changes when anything does.
    pub(super) fn tag(&self) -> String {
        let whole = digest(&SHA256, self.token().as_bytes());
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(&whole.as_ref()[..12]))
    }

    /// Whether the holder of `self` has to be told of this vehicle; `None` when the two cannot be compared.
    pub(super) fn differs(&self, now: &Self, vehicle: &VehicleSummary) -> bool {
        let bucket = bucket_of(vehicle, now.buckets.len());
        self.buckets.get(bucket) != now.buckets.get(bucket)
    }

    /// A fleet that has grown much has other buckets.
    pub(super) fn is_comparable(&self, now: &Self) -> bool {
        self.buckets.len() == now.buckets.len()
    }
}

fn bucket_of(vehicle: &VehicleSummary, count: usize) -> usize {
    let name = digest(&SHA256, vehicle.vehicle.to_string().as_bytes());
    let (low, high) = (name.as_ref()[0], name.as_ref()[1]);
    usize::from(u16::from_le_bytes([low, high])) % count
}

/// Of the vehicle's name and of which fix is its newest.
fn state_digest(vehicle: &VehicleSummary) -> [u8; DIGEST_BYTES] {
    let newest = vehicle.newest.as_ref().map(|newest| (newest.epoch.0, newest.sequence));
    let state = digest(&SHA256, format!("{} {newest:?}", vehicle.vehicle).as_bytes());
    let mut short = [0; DIGEST_BYTES];
    short.copy_from_slice(&state.as_ref()[..DIGEST_BYTES]);
    short
}
