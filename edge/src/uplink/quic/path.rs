//! The way that packets take: which interface, from which address. When it changes, the connection moves along
//! without a handshake (RFC 9000, section 9), and nothing is lost.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use quinn::{Connection, Endpoint};
use tokio::time::{Instant, sleep};

use super::super::ways::{Way, Ways};
use super::plain::plain;

/// A better interface has so long to carry a packet there and back.
const TRIAL: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(100);

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
