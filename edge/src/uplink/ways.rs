//! The interfaces that a transport may use, in what order, and what is known of each. Each transport has its own: a
//! network that blocks UDP is no worse for TCP.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::budget::Roaming;
use super::interfaces::{InterfaceConfig, Preference};
use super::socket;
use super::traffic::Traffic;

/// The interface by its place in the order of preference; `None` where the kernel's routes decide.
pub(super) type Way = Option<usize>;

#[derive(Debug)]
pub(super) struct Ways {
    interfaces: Vec<InterfaceConfig>,
    roaming: Roaming,
    preference: Mutex<Preference>,
    traffic: Traffic,
}

impl Ways {
    pub(super) fn new(interfaces: Vec<InterfaceConfig>, roaming: Roaming, traffic: Traffic) -> Self {
        let preference = Mutex::new(Preference::of(interfaces.len()));
        Self { interfaces, roaming, preference, traffic }
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// In which order to try them for a connection to `remote`; empty when none can be used.
    pub(super) fn to(&self, remote: SocketAddr) -> Vec<Way> {
        if self.interfaces.is_empty() {
            return vec![None];
        }
        let usable = self.usable(remote);
        self.preference().order(&usable, Instant::now()).into_iter().map(Some).collect()
    }

    /// For the error when none can be used.
    pub(super) fn names(&self) -> String {
        self.interfaces.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn name(&self, way: Way) -> Option<&str> {
        way.and_then(|index| self.interfaces.get(index)).map(|interface| interface.name.as_str())
    }

    pub(super) fn open(&self, remote: SocketAddr, way: Way) -> std::io::Result<std::net::UdpSocket> {
        socket::open(remote, self.name(way))
    }

    pub(super) fn failed(&self, way: Way) {
        if let Some(index) = way {
            self.preference().failed(index, Instant::now());
        }
    }

    /// Packets came back this way.
    pub(super) fn works(&self, way: Way) {
        if let Some(index) = way {
            self.preference().works(index);
        }
        self.tell(way);
    }

    /// Whether it roams may change under way.
    pub(super) fn tell(&self, way: Way) {
        let interface = way.and_then(|index| self.interfaces.get(index));
        let metered = interface.is_none_or(|interface| interface.metered);
        let roaming = interface.is_some_and(InterfaceConfig::is_roaming);
        self.traffic.travels_by(self.name(way), metered, roaming);
    }

    pub(super) fn local_ip(&self, remote: SocketAddr, way: Way) -> Option<IpAddr> {
        socket::local_ip(remote, self.name(way))
    }

    fn usable(&self, remote: SocketAddr) -> Vec<bool> {
        let forbidden = |interface: &InterfaceConfig| {
            self.roaming == Roaming::Off && interface.metered && interface.is_roaming()
        };
        let is_usable = |interface: &InterfaceConfig| {
            !forbidden(interface) && socket::local_ip(remote, Some(&interface.name)).is_some()
        };
        self.interfaces.iter().map(is_usable).collect()
    }

    pub(super) fn better(&self, remote: SocketAddr, current: Way) -> Way {
        self.preference().better(current?, &self.usable(remote), Instant::now())
    }

    fn preference(&self) -> MutexGuard<'_, Preference> {
        self.preference.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
