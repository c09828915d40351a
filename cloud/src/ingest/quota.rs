//! How much one vehicle, and all of a fleet, may send: beyond it they are read later, so that QUIC's flow control slows
//! the sender down. Nothing is refused and nothing is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use avl_shared::identity::VehicleKey;
use tokio::time::Instant;

use super::settings::IngestSettings;
use crate::meters;

/// What was not used lately may be used at once: a vehicle comes back from a tunnel, a fleet begins its day.
const BURST: Duration = Duration::from_secs(10);

/// A token bucket of bytes. What is taken beyond its content is owed, and nothing more should be read until it is paid.
#[derive(Debug)]
struct Bucket {
    bytes_per_second: f64,
    content: f64,
    filled_at: Instant,
}

impl Bucket {
    #[allow(clippy::cast_precision_loss)]
    fn new(bytes_per_second: u64, now: Instant) -> Self {
        let bytes_per_second = bytes_per_second.max(1) as f64;
        Self { bytes_per_second, content: bytes_per_second * BURST.as_secs_f64(), filled_at: now }
    }

    /// When the next bytes may be read.
    #[allow(clippy::cast_precision_loss)]
    fn take(&mut self, bytes: usize, now: Instant) -> Instant {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        let most = self.bytes_per_second * BURST.as_secs_f64();
        self.content = (self.content + passed * self.bytes_per_second).min(most) - bytes as f64;
        self.filled_at = now;
        let owed = (-self.content).max(0.0);
        now + Duration::from_secs_f64(owed / self.bytes_per_second)
    }
}

type Shared = Arc<Mutex<Bucket>>;

/// The fleets that have a vehicle here.
#[derive(Debug)]
pub(super) struct Quotas {
    vehicle: u64,
    fleet: u64,
    fleets: Mutex<HashMap<String, Weak<Mutex<Bucket>>>>,
}

impl Quotas {
    pub(super) fn new(settings: &IngestSettings) -> Self {
        Self {
            vehicle: settings.vehicle_bytes_per_second,
            fleet: settings.fleet_bytes_per_second,
            fleets: Mutex::new(HashMap::new()),
        }
    }

    /// For one connection of this vehicle.
    pub(super) fn enter(&self, vehicle: &VehicleKey, now: Instant) -> Quota {
        let mut fleets = self.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        let name = vehicle.fleet.as_str();
        let fleet = fleets.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            // Whose last vehicle has left is forgotten when the next fleet comes.
            fleets.retain(|_, bucket| bucket.strong_count() > 0);
            let bucket = Arc::new(Mutex::new(Bucket::new(self.fleet, now)));
            fleets.insert(name.to_owned(), Arc::downgrade(&bucket));
            bucket
        });
        Quota { vehicle: Bucket::new(self.vehicle, now), fleet, paused: None }
    }
}

/// What is left of it to one connection.
#[derive(Debug)]
pub(super) struct Quota {
    vehicle: Bucket,
    fleet: Shared,
    /// When reading was stopped, and when it may go on.
    paused: Option<(Instant, Instant)>,
}

impl Quota {
    /// Counts what has been read.
    pub(super) fn took(&mut self, bytes: usize, now: Instant) {
        let by_vehicle = self.vehicle.take(bytes, now);
        let by_fleet = self.fleet.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, now);
        let limit = if by_fleet > by_vehicle { "fleet" } else { "vehicle" };
        self.paused = Some((now, by_vehicle.max(by_fleet))).filter(|&(_, until)| until > now);
        if self.paused.is_some() {
            metrics::counter!(meters::INGEST_SLOWED, "limit" => limit).increment(1);
        }
    }

    /// Until when nothing more of this vehicle should be read.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused.map(|(_, until)| until)
    }

    /// Reading goes on; returns how long it did not, which is not to be held against the vehicle.
    pub(super) fn resume(&mut self) -> Duration {
        self.paused.take().map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(vehicle: u64, fleet: u64) -> Quotas {
        Quotas::new(&IngestSettings {
            vehicle_bytes_per_second: vehicle,
            fleet_bytes_per_second: fleet,
            ..IngestSettings::default()
        })
    }

    fn vehicle(name: &str) -> VehicleKey {
        name.parse().unwrap()
    }

    #[test]
    fn beyond_its_burst_a_vehicle_is_read_at_its_rate() {
        let now = Instant::now();
        let mut quota = quotas(100, 1_000_000).enter(&vehicle("f/v"), now);
        quota.took(1000, now);
        assert_eq!(quota.paused_until(), None, "ten seconds' worth at once");
        quota.took(50, now);
        assert_eq!(quota.paused_until(), Some(now + Duration::from_millis(500)));
        quota.resume();
        quota.took(100, now + Duration::from_millis(500));
        assert_eq!(quota.paused_until(), Some(now + Duration::from_millis(1500)));
    }

    #[test]
    fn a_fleet_shares_and_another_does_not_notice() {
        let now = Instant::now();
        let quotas = quotas(1_000_000, 100);
        let mut one = quotas.enter(&vehicle("f/one"), now);
        let mut two = quotas.enter(&vehicle("f/two"), now);
        let mut other = quotas.enter(&vehicle("g/one"), now);
        one.took(1000, now);
        two.took(100, now);
        other.took(100, now);
        assert_eq!(one.paused_until(), None);
        assert_eq!(two.paused_until(), Some(now + Duration::from_secs(1)));
        assert_eq!(other.paused_until(), None);
    }

    #[test]
    fn a_fleet_that_has_left_is_forgotten_and_one_that_reconnects_keeps_what_it_owes() {
        let now = Instant::now();
        let quotas = quotas(1_000_000, 100);
        let stays = quotas.enter(&vehicle("f/one"), now);
        quotas.enter(&vehicle("f/two"), now).took(1100, now);
        let mut again = quotas.enter(&vehicle("f/two"), now);
        again.took(0, now);
        assert_eq!(again.paused_until(), Some(now + Duration::from_secs(1)));
        drop((stays, again));
        drop(quotas.enter(&vehicle("g/one"), now));
        let _other = quotas.enter(&vehicle("h/one"), now);
        assert_eq!(quotas.fleets.lock().unwrap().len(), 1);
    }
}
