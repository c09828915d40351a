//! Bytes on the air, all-in: what the transports count, and the budget and the views read. Updated every few seconds,
//! not for every packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

/// IP and UDP headers of one datagram.
pub const IPV4_UDP_HEADERS: u64 = 28;
pub const IPV6_UDP_HEADERS: u64 = 48;

/// Clones share the same counters.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    metered: AtomicU64,
    unmetered_now: AtomicBool,
    roaming_now: AtomicBool,
    interface: watch::Sender<Option<String>>,
}

impl Traffic {
    /// A transport has sent and received so many bytes, headers included.
    pub fn add(&self, bytes_out: u64, bytes_in: u64) {
        self.0.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
        self.0.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        if !self.0.unmetered_now.load(Ordering::Relaxed) {
            self.0.metered.fetch_add(bytes_out.saturating_add(bytes_in), Ordering::Relaxed);
        }
    }

    /// What carries the bytes from now on.
    pub fn travels_by(&self, interface: Option<&str>, metered: bool, roaming: bool) {
        self.0.unmetered_now.store(!metered, Ordering::Relaxed);
        self.0.roaming_now.store(roaming, Ordering::Relaxed);
        self.0.interface.send_if_modified(|known| {
            let changed = known.as_deref() != interface;
            *known = interface.map(ToOwned::to_owned);
            changed
        });
    }

    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.0.bytes_out.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.0.bytes_in.load(Ordering::Relaxed)
    }

    /// Of both directions, what counts against the budget.
    #[must_use]
    pub fn metered(&self) -> u64 {
        self.0.metered.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn is_roaming(&self) -> bool {
        self.0.roaming_now.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn is_metered(&self) -> bool {
        !self.0.unmetered_now.load(Ordering::Relaxed)
    }

    /// The interface in use, where one is configured.
    #[must_use]
    pub fn interface(&self) -> Option<String> {
        self.0.interface.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_travels_metered_counts_against_the_budget() {
        let traffic = Traffic::default();
        traffic.add(100, 50);
        traffic.travels_by(Some("depot-wlan"), false, false);
        traffic.add(1000, 0);
        traffic.travels_by(Some("wwan0"), true, true);
        traffic.add(1, 1);
        assert_eq!((traffic.bytes_out(), traffic.bytes_in(), traffic.metered()), (1101, 51, 152));
        assert!(traffic.is_roaming() && traffic.is_metered());
        assert_eq!(traffic.interface().as_deref(), Some("wwan0"));
    }
}
