//! A transport made of two: connects as [`Choice`] says, and probes the preferred one behind the stand-in's link.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use avl_shared::link::Hello;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Choice, Timing, Way};
use crate::uplink::{ConnectError, Ending, Link, LinkEnd, Transport};

/// How often to look whether the vehicle is on another network. Asks the routing table, and sends nothing.
const NETWORK_LOOK: Duration = Duration::from_secs(10);

/// Settings of a [`Failover`].
#[derive(Clone, Debug)]
pub struct Settings {
    pub timing: Timing,
    /// How long an attempt at the preferred transport may take.
    pub patience: Duration,
    /// Where the preferred transport connects to; for the log.
    pub address: String,
}

pub struct Failover<P, S> {
    shared: Arc<Shared<P>>,
    stand_in: S,
    current: Option<(Way, Instant)>,
}

struct Shared<P> {
    settings: Settings,
    choice: Mutex<Choice>,
    /// Held while it connects: by an attempt or by a probe, never by both.
    preferred: tokio::sync::Mutex<P>,
    /// What a probe has connected, for the next attempt to take over, and since when.
    probed: Mutex<Option<(Link, Instant)>>,
}

impl<P: Transport + Send + 'static, S: Transport + Send> Failover<P, S> {
    #[must_use]
    pub fn new(preferred: P, stand_in: S, settings: Settings) -> Self {
        let choice = Mutex::new(Choice::new(settings.timing));
        let preferred = tokio::sync::Mutex::new(preferred);
        let shared = Arc::new(Shared { settings, choice, preferred, probed: Mutex::new(None) });
        Self { shared, stand_in, current: None }
    }
}

impl<P: Transport + Send + 'static, S: Transport + Send> Transport for Failover<P, S> {
    async fn connect(&mut self, hello: Hello) -> Result<Link, ConnectError> {
        if let Some((link, since)) = self.shared.take_probed() {
            self.current = Some((Way::Preferred, since));
            return Ok(link);
        }
        let mut failures = Vec::new();
        let attempts = self.shared.choice().attempts(Instant::now());
        for &way in attempts {
            let outcome = match way {
                Way::Preferred => self.shared.try_preferred(hello.clone()).await,
                Way::StandIn => self.stand_in.connect(hello.clone()).await,
            };
            match outcome {
                Ok(link) => {
                    let now = Instant::now();
                    self.shared.choice().connected(way, now);
                    self.current = Some((way, now));
                    return Ok(match way {
                        Way::Preferred => link,
                        Way::StandIn => {
                            if let Some(error) = failures.first() {
                                tracing::warn!(
                                    transport = link.transport,
                                    "{error}: the other transport stands in"
                                );
                            }
                            watched(link, Arc::clone(&self.shared), hello)
                        }
                    });
                }
                Err(error) => {
                    self.shared.choice().failed(way, Instant::now());
                    failures.push(error);
                }
            }
        }
        Err(combined(failures))
    }

    fn ended(&mut self, ending: Ending) {
        if let Some((way, since)) = self.current.take() {
            self.shared.choice().ended(way, ending, since, Instant::now());
        }
    }
}

impl<P: Transport> Shared<P> {
    fn choice(&self) -> MutexGuard<'_, Choice> {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probed(&self) -> MutexGuard<'_, Option<(Link, Instant)>> {
        self.probed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link of a probe, if it still stands.
    fn take_probed(&self) -> Option<(Link, Instant)> {
        let (link, since) = self.probed().take()?;
        if link.end.is_finished() {
            self.choice().ended(Way::Preferred, Ending::Broken, since, Instant::now());
            return None;
        }
        Some((link, since))
    }

    async fn try_preferred(&self, hello: Hello) -> Result<Link, ConnectError> {
        let Settings { patience, address, .. } = &self.settings;
        let connecting = async { self.preferred.lock().await.connect(hello).await };
        timeout(*patience, connecting).await.unwrap_or_else(|_| {
            Err(ConnectError::NoAnswer { address: address.clone(), seconds: patience.as_secs() })
        })
    }

    /// Probes when it is time, until a probe is welcomed.
    async fn until_open(&self, hello: Hello) {
        let mut network = local_address();
        loop {
            let at = self.choice().probe_at();
            tokio::select! {
                () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {
                    match self.try_preferred(hello.clone()).await {
                        Ok(link) => {
                            tracing::info!(transport = link.transport, "the preferred transport works again: returning to it");
                            let now = Instant::now();
                            self.choice().connected(Way::Preferred, now);
                            *self.probed() = Some((link, now));
                            return;
                        }
                        Err(error) => {
                            self.choice().failed(Way::Preferred, Instant::now());
                            tracing::debug!(%error, next = ?self.choice().probe_at(), "probe failed");
                        }
                    }
                }
                () = sleep(NETWORK_LOOK) => {
                    let found = local_address();
                    if found.is_some() && std::mem::replace(&mut network, found) != found {
                        self.choice().network_changed(Instant::now());
                    }
                }
            }
        }
    }
}

/// The stand-in's link, which ends when a probe of the preferred transport was welcomed.
fn watched<P: Transport + Send + 'static>(link: Link, shared: Arc<Shared<P>>, hello: Hello) -> Link {
    let Link { transport, welcome, outgoing, backlog, mut incoming, end } = link;
    let (forward, forwarded) = mpsc::channel(1);
    let end = tokio::spawn(async move {
        let forwarding = async move {
            while let Some(message) = incoming.recv().await {
                if forward.send(message).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = forwarding => end.await.unwrap_or_else(|error| LinkEnd::Lost(error.to_string())),
            () = shared.until_open(hello) => LinkEnd::Superseded,
        }
    });
    Link { transport, welcome, outgoing, backlog, incoming: forwarded, end }
}

fn combined(mut failures: Vec<ConnectError>) -> ConnectError {
    match (failures.pop(), failures.pop()) {
        (Some(second), Some(first)) => {
            ConnectError::Both { first: Box::new(first), second: Box::new(second) }
        }
        (Some(only), None) => only,
        (None, _) => ConnectError::Refused { cause: "no transport is configured".to_owned() },
    }
}

/// The address that packets to the internet leave from now, as the routing table has it: another one means another
/// network. Connecting a UDP socket sends nothing; 192.0.2.1 is reserved for documentation (RFC 5737).
fn local_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
