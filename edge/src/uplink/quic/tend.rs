//! Looks after a connection every few seconds: counts its bytes, holds the NAT's mapping, follows the way it takes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Connection, ConnectionStats};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::super::Pace;
use super::super::traffic::{IPV4_UDP_HEADERS, IPV6_UDP_HEADERS, Traffic};
use super::keep_alive::{Hold, Mapping, hold};
use super::path::Follower;

/// Between two looks. Finer than any NAT's patience, and rarely enough to cost nothing.
const LOOK: Duration = Duration::from_secs(2);
/// A shorter silence says nothing about a NAT.
const TELLING: Duration = Duration::from_secs(10);

/// Bytes of one connection that the traffic has been told of.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<(u64, u64)>);

impl Meter {
    /// Tells the traffic what has been added since.
    pub(super) fn count(&self, connection: &Connection, traffic: &Traffic) {
        let stats = connection.stats();
        let headers = if connection.remote_address().is_ipv6() { IPV6_UDP_HEADERS } else { IPV4_UDP_HEADERS };
        let out = stats.udp_tx.bytes + headers * stats.udp_tx.datagrams;
        let inwards = stats.udp_rx.bytes + headers * stats.udp_rx.datagrams;
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        traffic.add(out.saturating_sub(seen.0), inwards.saturating_sub(seen.1));
        *seen = (out, inwards);
    }
}

/// What silences showed, kept from connection to connection.
pub(super) fn lock(mapping: &Mutex<Mapping>) -> MutexGuard<'_, Mapping> {
    mapping.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Tender<'a> {
    pub(super) follower: Follower<'a>,
    pub(super) meter: &'a Meter,
    pub(super) pace: watch::Receiver<Pace>,
    pub(super) mapping: &'a Mutex<Mapping>,
    pub(super) idle_timeout: Duration,
    /// Takes a ping onto the control stream.
    pub(super) pings: mpsc::Sender<()>,
}

/// What a silence before the last packets will have shown once they are answered.
struct Question {
    silence: Duration,
    challenges: u64,
    received: u64,
}

impl Tender<'_> {
    /// For as long as the connection stands.
    pub(super) async fn run(mut self) {
        let connection = self.follower.connection;
        let mut before = connection.stats();
        let mut active_at = Instant::now();
        let mut question: Option<Question> = None;
        loop {
            sleep(LOOK).await;
            self.meter.count(connection, self.follower.ways.traffic());
            if self.follower.look().await {
                // Another network, perhaps another NAT; and its challenge was of our own making.
                *lock(self.mapping) = Mapping::default();
                (before, active_at, question) = (connection.stats(), Instant::now(), None);
                continue;
            }
            let stats = connection.stats();
            question = question.and_then(|question| self.judge(question, &stats));
            let now = Instant::now();
            if datagrams(&stats) != datagrams(&before) {
                let silence = now.duration_since(active_at);
                if silence >= TELLING {
                    let challenges = before.frame_rx.path_challenge;
                    question = self
                        .judge(Question { silence, challenges, received: before.udp_rx.datagrams }, &stats);
                }
                active_at = now;
            } else if let Hold::Ping(interval) = self.hold()
                && now.duration_since(active_at) + LOOK > interval
            {
                let _ = self.pings.try_send(());
            }
            before = stats;
        }
    }

    fn hold(&self) -> Hold {
        let pace = *self.pace.borrow();
        hold(&lock(self.mapping), pace.latency, self.idle_timeout, pace.stay_connected)
    }

    /// Learns from the answer, if it is there yet; otherwise the question stands.
    fn judge(&self, question: Question, stats: &ConnectionStats) -> Option<Question> {
        if stats.frame_rx.path_challenge > question.challenges {
            tracing::debug!(silence = ?question.silence, "the network had forgotten us");
            lock(self.mapping).lapsed(question.silence);
        } else if stats.udp_rx.datagrams > question.received {
            lock(self.mapping).survived(question.silence);
        } else {
            return Some(question);
        }
        None
    }
}

fn datagrams(stats: &ConnectionStats) -> (u64, u64) {
    (stats.udp_tx.datagrams, stats.udp_rx.datagrams)
}
