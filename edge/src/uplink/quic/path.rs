//! The way that packets take: which interface, from which address. When it changes, the connection moves along
//! without a handshake (RFC 9000, section 9), and nothing is lost.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Connection, Endpoint};
use tokio::time::{Instant, sleep};

use super::super::budget::Roaming;
use super::super::interfaces::{InterfaceConfig, Preference};
use super::super::socket;
use super::super::traffic::Traffic;
use super::plain::plain;

/// A better interface has so long to carry a packet there and back.
const TRIAL: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(100);

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

    fn local_ip(&self, remote: SocketAddr, way: Way) -> Option<IpAddr> {
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

    fn better(&self, remote: SocketAddr, current: Way) -> Way {
        self.preference().better(current?, &self.usable(remote), Instant::now())
    }

    fn preference(&self) -> MutexGuard<'_, Preference> {
        self.preference.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the way of one connection.
pub(super) struct Follower<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) connection: &'a Connection,
    pub(super) ways: &'a Ways,
    way: Way,
    address: Option<IpAddr>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(endpoint: &'a Endpoint, connection: &'a Connection, ways: &'a Ways, way: Way) -> Self {
        let address = ways.local_ip(connection.remote_address(), way);
        Self { endpoint, connection, ways, way, address }
    }

    /// Looks once. Returns whether the connection has moved.
    pub(super) async fn look(&mut self) -> bool {
        let remote = self.connection.remote_address();
        if let better @ Some(_) = self.ways.better(remote, self.way) {
            return self.move_to(better, remote).await;
        }
        self.ways.tell(self.way);
        let address = self.ways.local_ip(remote, self.way);
        // Without an address there is nothing to move to: the connection waits for one until it times out.
        if address.is_none() || address == self.address {
            return false;
        }
        if !self.rebind(self.way, remote) {
            return false;
        }
        tracing::info!(from = ?self.address, to = ?address, "own address changed: the connection moves along");
        self.address = address;
        true
    }

    async fn move_to(&mut self, better: Way, remote: SocketAddr) -> bool {
        let (before, old) = (self.challenges(), self.way);
        if !self.rebind(better, remote) {
            self.ways.failed(better);
            return false;
        }
        let (from, to) =
            (self.ways.name(old).unwrap_or_default(), self.ways.name(better).unwrap_or_default());
        let until = Instant::now() + TRIAL;
        // The cloud challenges a new address before it trusts it: that it does shows that packets pass both ways.
        while self.challenges() == before {
            if Instant::now() >= until || self.connection.close_reason().is_some() {
                tracing::info!(interface = to, "preferred interface carries nothing yet");
                self.ways.failed(better);
                self.rebind(old, remote);
                return true;
            }
            sleep(LOOK).await;
        }
        tracing::info!(from, to, "the connection moved to another interface");
        self.way = better;
        self.address = self.ways.local_ip(remote, better);
        self.ways.works(better);
        true
    }

    fn rebind(&self, way: Way, remote: SocketAddr) -> bool {
        let rebound = self
            .ways
            .open(remote, way)
            .and_then(plain)
            .and_then(|socket| self.endpoint.rebind_abstract(socket));
        if let Err(error) = &rebound {
            tracing::warn!(interface = self.ways.name(way), %error, "the connection cannot move");
        }
        rebound.is_ok()
    }

    fn challenges(&self) -> u64 {
        self.connection.stats().frame_rx.path_challenge
    }
}
