//! The link over MQTT, to the broker that the cloud listens at: the same messages and batches as on QUIC.
//!
//! A PUBACK means nothing to the buffer: it says that the broker has a batch, and the broker may lose it. Only what the
//! cloud says deletes. The link is up when the cloud's `Welcome` has come, and only the one that answers this
//! connection's `Hello`: the broker may still hold what was meant for an earlier one.
//!
//! MQTT 5 first, for its reason codes and topic aliases; 3.1.1 where a broker does not have it.

mod config;
mod cost;
mod wire;

pub use config::{BadValue, MqttConfig, Prefer};

use std::sync::Arc;
use std::time::Duration;

use avl_shared::link::mqtt::{Up, decode_down, topic_down, topic_up};
use avl_shared::link::{Hello, LaneFrame, ToCloud, ToVehicle, Welcome, to_cloud, to_vehicle};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use self::wire::{Client, Events, Failure, Heard, Target, UNACKNOWLEDGED, Version};
use super::budget::Roaming;
use super::ways::{Way, Ways};
use super::{ConnectError, Link, LinkEnd, Outgoing, Traffic, Transport, UplinkConfig};
use crate::identity::{Access, Pass};

/// For TCP, TLS and the broker, and for the welcome behind them, each. Some round trips of a bad cellular link, of
/// which TCP and TLS need more than QUIC.
const PATIENCE: Duration = Duration::from_secs(20);
/// Control messages taken off the network before the agent has seen them.
const QUEUED_MESSAGES: usize = 16;
/// For the goodbye to leave.
const CLOSING: Duration = Duration::from_millis(500);

pub struct MqttTransport {
    config: MqttConfig,
    access: Access,
    ways: Ways,
    /// What the broker was found to speak.
    version: Version,
}

impl MqttTransport {
    #[must_use]
    pub fn new(config: &MqttConfig, access: Access) -> Self {
        let ways = Ways::new(Vec::new(), Roaming::Allow, Traffic::default());
        Self { config: config.clone(), access, ways, version: Version::V5 }
    }

    /// By the interfaces of this configuration, and counting its bytes in this traffic.
    #[must_use]
    pub fn watched(self, uplink: &UplinkConfig, traffic: Traffic) -> Self {
        let ways = Ways::new(uplink.interfaces.clone(), uplink.budget.roaming, traffic);
        Self { ways, ..self }
    }

    /// The interfaces to try, as the broker's address has it; without an address the attempt will say so.
    async fn to_try(&self, host: &str, port: u16) -> Result<Vec<Way>, ConnectError> {
        let found = timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
        let Some(remote) = found.ok().and_then(Result::ok).and_then(|mut found| found.next()) else {
            return Ok(vec![None]);
        };
        let ways = self.ways.to(remote);
        if ways.is_empty() {
            let (names, address) = (self.ways.names(), remote.to_string());
            return Err(ConnectError::NoInterface { names, address });
        }
        Ok(ways)
    }

    fn count(&self, (bytes_out, bytes_in): cost::Cost) {
        self.ways.traffic().add(bytes_out, bytes_in);
    }

    async fn greet(
        version: Version,
        target: &Target,
        pass: &Pass,
        hello: &Hello,
    ) -> Result<(Welcome, Connection), Greeting> {
        let (client, events) = wire::open(version, target);
        let topic = topic_up(&pass.identity.vehicle);
        let mut connection = Connection { client, events, topic, unacknowledged: 1 };
        // Connecting limits itself; the welcome does not.
        loop {
            match connection.events.next().await? {
                Heard::Connected { topic_aliases } => {
                    if topic_aliases {
                        connection.client.use_topic_alias();
                    }
                    break;
                }
                other => tracing::trace!(?other, "before the connection"),
            }
        }
        let down = topic_down(&pass.identity.vehicle);
        let welcome = timeout(PATIENCE, connection.welcome(hello, &down));
        match welcome.await {
            Ok(welcome) => Ok((welcome?, connection)),
            Err(_) => Err(Greeting::NoWelcome),
        }
    }

    fn judge(&self, greeting: Greeting, pass: &Pass) -> ConnectError {
        let address = self.config.address.clone();
        let broker = |cause: String| ConnectError::Broker { address: self.config.address.clone(), cause };
        match greeting {
            Greeting::Failed(Failure::Tls(error)) => match error {
                rustls::Error::AlertReceived(alert) => {
                    self.access.refused(&pass.identity, alert, format!("the broker says {alert:?}"))
                }
                other => self.access.wrong_server(address, &pass.objection, other.to_string()),
            },
            Greeting::Failed(Failure::Unwelcome(cause)) => ConnectError::CertificateRefused { cause },
            Greeting::Failed(Failure::NoAnswer | Failure::Silent) => broker(format!(
                "no answer within {} s: check that it is up and that TCP gets through",
                PATIENCE.as_secs()
            )),
            Greeting::Failed(Failure::Lost(cause)) => {
                broker(format!("{cause}: check that it is up and that TCP gets through"))
            }
            Greeting::Failed(Failure::Version(cause)) => broker(format!(
                "it speaks neither MQTT 5 nor 3.1.1 with us ({cause}): check that uplink.mqtt.address is an MQTT broker"
            )),
            Greeting::Forbidden(cause) => ConnectError::BrokerForbids { address, cause },
            Greeting::NobodyListens => ConnectError::BehindBroker {
                address,
                cause: "no cloud listens there: check that 'avl-cloud' runs with --mqtt for this broker"
                    .to_owned(),
            },
            Greeting::NoWelcome => ConnectError::BehindBroker {
                address,
                cause: format!(
                    "no welcome from the cloud within {} s: check that 'avl-cloud' is connected to it",
                    PATIENCE.as_secs()
                ),
            },
            Greeting::Protocol(cause) => ConnectError::Protocol { cause },
        }
    }
}

impl Transport for MqttTransport {
    async fn connect(&mut self, hello: Hello) -> Result<Link, ConnectError> {
        let hello = Hello { connection: rand::random(), ..hello };
        let Some((host, port)) = self.config.host_and_port() else {
            let cause = "not HOST:PORT".to_owned();
            return Err(ConnectError::Resolve { host: self.config.address.clone(), cause });
        };
        // MQTT has no protocol name of its own in TLS.
        let pass = self.access.pass(&[]).await?;
        let target = Target {
            host: host.to_owned(),
            port,
            // One vehicle, one session: a broker that is told to takes the certificate's name for it anyway.
            client_id: pass.identity.vehicle.to_string(),
            tls: Arc::new(pass.tls.clone()),
            keep_alive: self.config.keep_alive,
            patience: PATIENCE,
            interface: None,
        };
        let mut outcome = Err(Greeting::Failed(Failure::NoAnswer));
        let mut target = target;
        for way in self.to_try(host, port).await? {
            target.interface = self.ways.name(way).map(str::to_owned);
            self.ways.tell(way);
            outcome = Self::greet(self.version, &target, &pass, &hello).await;
            // Whoever answers is there, whatever it says.
            if matches!(&outcome, Err(Greeting::Failed(Failure::NoAnswer | Failure::Lost(_)))) {
                self.count(cost::UNANSWERED);
                self.ways.failed(way);
            } else {
                self.count(cost::CONNECTION);
                self.ways.works(way);
                break;
            }
        }
        if self.version == Version::V5
            && let Err(Greeting::Failed(Failure::Version(cause))) = &outcome
        {
            tracing::debug!(cause, "not with MQTT 5: trying 3.1.1");
            self.count(cost::CONNECTION);
            outcome = Self::greet(Version::V3, &target, &pass, &hello).await;
            if outcome.is_ok() {
                tracing::info!("the broker speaks MQTT 3.1.1");
                self.version = Version::V3;
            }
        }
        match outcome {
            Ok((welcome, connection)) => {
                self.access.welcomed(&welcome);
                Ok(connection.into_link(welcome, self.ways.traffic().clone()))
            }
            Err(greeting) => {
                // A broker that was upgraded or replaced is met with MQTT 5 again.
                self.version = Version::V5;
                Err(self.judge(greeting, &pass))
            }
        }
    }
}

enum Greeting {
    Failed(Failure),
    /// The broker's access rules say no.
    Forbidden(String),
    NobodyListens,
    NoWelcome,
    Protocol(String),
}

impl From<Failure> for Greeting {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

struct Connection {
    client: Client,
    events: Events,
    /// Where everything goes.
    topic: String,
    /// Publishes without a PUBACK.
    unacknowledged: usize,
}

impl Connection {
    /// Says hello and waits for the welcome that answers it.
    async fn welcome(&mut self, hello: &Hello, down: &str) -> Result<Welcome, Greeting> {
        let gone = |_| Greeting::Failed(Failure::Lost("the connection broke".to_owned()));
        // In one go: the broker takes them in this order.
        self.client.subscribe(down).await.map_err(gone)?;
        let message = ToCloud { message: Some(to_cloud::Message::Hello(hello.clone())) };
        self.client.publish(&self.topic, Up::Message(message).encode()).await.map_err(gone)?;
        loop {
            match self.events.next().await? {
                Heard::Message(payload) => match decode_down(&payload) {
                    Ok(ToVehicle { message: Some(to_vehicle::Message::Welcome(welcome)) })
                        if welcome.connection == hello.connection =>
                    {
                        return Ok(welcome);
                    }
                    Ok(other) => tracing::debug!(?other, "not for this connection"),
                    Err(error) => return Err(Greeting::Protocol(error.to_string())),
                },
                Heard::Taken { somebody_listens: true } => self.unacknowledged = 0,
                Heard::Taken { somebody_listens: false } => return Err(Greeting::NobodyListens),
                Heard::PublishRefused(cause) | Heard::SubscriptionRefused(cause) => {
                    return Err(Greeting::Forbidden(cause));
                }
                Heard::Connected { .. }
                | Heard::Subscribed
                | Heard::Pinged
                | Heard::Closed
                | Heard::Other => {}
            }
        }
    }

    fn into_link(self, welcome: Welcome, traffic: Traffic) -> Link {
        let (outgoing, to_send) = mpsc::channel(1);
        let (backlog, to_send_later) = mpsc::channel(1);
        let (received, incoming) = mpsc::channel(QUEUED_MESSAGES);
        let end = tokio::spawn(self.carry(to_send, to_send_later, received, traffic));
        Link { transport: "mqtt", welcome, outgoing, backlog, incoming, end }
    }

    /// Moves messages between the agent's channels and the broker, until one of them hangs up.
    async fn carry(
        self,
        to_send: mpsc::Receiver<Outgoing>,
        to_send_later: mpsc::Receiver<LaneFrame>,
        received: mpsc::Sender<ToVehicle>,
        traffic: Traffic,
    ) -> LinkEnd {
        let Self { mut client, mut events, topic, unacknowledged } = self;
        let room = Semaphore::new(usize::from(UNACKNOWLEDGED) - unacknowledged);
        let sending = async {
            send(&mut client, &topic, &room, &traffic, to_send, to_send_later).await;
            let _ = client.close().await;
        };
        let hearing = hear(&mut events, &room, &traffic, received);
        tokio::pin!(hearing);
        tokio::select! {
            end = &mut hearing => end,
            () = sending => {
                let closed = LinkEnd::Lost("closed by the agent".to_owned());
                timeout(CLOSING, hearing).await.unwrap_or(closed)
            }
        }
    }
}

async fn hear(
    events: &mut Events,
    room: &Semaphore,
    traffic: &Traffic,
    received: mpsc::Sender<ToVehicle>,
) -> LinkEnd {
    let count = |(bytes_out, bytes_in): cost::Cost| traffic.add(bytes_out, bytes_in);
    let lost = |cause: &str| LinkEnd::Lost(cause.to_owned());
    loop {
        match events.next().await {
            Ok(Heard::Message(payload)) => {
                count(cost::heard(payload.len()));
                match decode_down(&payload) {
                    // The agent may be done with this link; the sender notices.
                    Ok(message) => drop(received.send(message).await),
                    Err(error) => return LinkEnd::Lost(error.to_string()),
                }
            }
            Ok(Heard::Pinged) => count(cost::PING),
            Ok(Heard::Taken { somebody_listens: true }) => room.add_permits(1),
            Ok(Heard::Taken { somebody_listens: false }) => {
                return lost("the cloud has left the broker");
            }
            Ok(Heard::PublishRefused(cause) | Heard::SubscriptionRefused(cause)) => {
                return LinkEnd::Lost(format!("the broker refuses this vehicle's topics: {cause}"));
            }
            Ok(Heard::Closed) => return lost("closed by the agent"),
            Ok(Heard::Connected { .. } | Heard::Subscribed | Heard::Other) => {}
            Err(Failure::Silent) => return LinkEnd::Silent,
            Err(Failure::Lost(cause) | Failure::Version(cause) | Failure::Unwelcome(cause)) => {
                return LinkEnd::Lost(cause);
            }
            Err(Failure::Tls(error)) => return LinkEnd::Lost(error.to_string()),
            Err(Failure::NoAnswer) => return LinkEnd::Silent,
        }
    }
}

/// Publishes until the agent hangs up. What is live goes first, and the backlog always leaves room for one more of it.
async fn send(
    client: &mut Client,
    topic: &str,
    room: &Semaphore,
    traffic: &Traffic,
    mut to_send: mpsc::Receiver<Outgoing>,
    mut to_send_later: mpsc::Receiver<LaneFrame>,
) {
    let (mut live, mut late) = (true, true);
    while live || late {
        let Ok(permit) = room.acquire().await else { return };
        let room_to_spare = room.available_permits() > 0;
        let up = tokio::select! {
            biased;
            next = to_send.recv(), if live => match next {
                Some(Outgoing::Batch(frame)) => Up::Batch(frame),
                Some(Outgoing::Control(message)) => Up::Message(message),
                None => { live = false; continue }
            },
            next = to_send_later.recv(), if late && room_to_spare => match next {
                Some(frame) => Up::Batch(frame),
                None => { late = false; continue }
            },
            // The broker has acknowledged something: look again.
            _ = room.acquire(), if late && !room_to_spare => continue,
        };
        permit.forget();
        let payload = up.encode();
        let (bytes_out, bytes_in) = cost::published(payload.len());
        traffic.add(bytes_out, bytes_in);
        if client.publish(topic, payload).await.is_err() {
            return;
        }
    }
}
