//! The link over QUIC: one bidirectional control stream, one unidirectional stream for each lane, made when the lane has
//! something to send. What is written to the live lane goes out before what is waiting on the backlog's.
//!
//! Timing. QUIC's own keep-alive is off: the batches themselves keep the connection and the NAT's mapping alive at the
//! default latency of 25 s, and beyond it [`keep_alive`] pings only where that is the cheapest. The idle timeout follows
//! the latency, so that a longer one does not mean a handshake (4.3 KB) for each batch; the smaller of both sides'
//! timeouts counts. A vehicle with nothing to say lets the connection lapse and makes a new one when it has.
//!
//! When the gateway's own address or interface changes, the connection moves along ([`path`]).

mod keep_alive;
mod path;
mod plain;
mod tend;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avl_shared::link::{
    ALPN, CLOSE_REVOKED, Hello, LaneFrame, LinkError, ToCloud, ToVehicle, Welcome, frame_message,
    take_message, to_cloud, to_vehicle,
};
use bytes::BytesMut;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use self::keep_alive::Mapping;
use self::path::Follower;
use self::plain::plain;
use self::tend::{Meter, Tender};
use super::ways::{Way, Ways};
use super::{ConnectError, Link, LinkEnd, Outgoing, Pace, Traffic, Transport};
use crate::config::{QuicConfig, UplinkConfig};
use crate::identity::{Access, Pass};

/// For the handshake and for the welcome behind it, each. Some round trips of a bad cellular link.
const PATIENCE: Duration = Duration::from_secs(15);
/// Data that QUIC may hold for us, unsent or unacknowledged: the bandwidth-delay product of 1 Mbit/s at 1 s. Small
/// enough that what is accepted is sent well before an acknowledgement is missed.
const SEND_WINDOW_BYTES: u64 = 128 * 1024;
/// What the cloud may send ahead: only control messages.
const RECEIVE_WINDOW_BYTES: u32 = 128 * 1024;
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The cloud's own, unless it is configured otherwise; a longer one of ours would mean nothing.
const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// What an attempt without an answer costs: the first packet, padded to 1,200 bytes, and its four repetitions.
const UNANSWERED_BYTES: u64 = 5 * 1_228;
/// Control messages taken off the network before the agent has seen them.
const QUEUED_MESSAGES: usize = 16;
/// QUIC sends what waits on streams of higher priority first; the control stream has 0.
const LIVE_PRIORITY: i32 = -1;
const BACKLOG_PRIORITY: i32 = -2;
/// For the closing packet to leave.
const CLOSING: Duration = Duration::from_millis(500);

pub struct QuicTransport {
    config: QuicConfig,
    access: Access,
    pace: watch::Receiver<Pace>,
    ways: Arc<Ways>,
    mapping: Arc<Mutex<Mapping>>,
}

impl QuicTransport {
    #[must_use]
    pub fn new(uplink: &UplinkConfig, access: Access) -> Self {
        Self {
            config: uplink.quic.clone(),
            access,
            pace: Pace::constant(uplink.latency),
            ways: Arc::new(Ways::new(uplink.interfaces.clone(), uplink.budget.roaming, Traffic::default())),
            mapping: Arc::default(),
        }
    }

    /// Follows this pace, and counts its bytes in this traffic.
    #[must_use]
    pub fn watched(self, uplink: &UplinkConfig, pace: watch::Receiver<Pace>, traffic: Traffic) -> Self {
        let ways = Ways::new(uplink.interfaces.clone(), uplink.budget.roaming, traffic);
        Self { pace, ways: Arc::new(ways), ..self }
    }

    async fn handshake(&self, pass: &Pass) -> Result<Connected, ConnectError> {
        let (Some((host, port)), Some(name)) = (self.config.host_and_port(), self.config.certificate_name())
        else {
            return Err(ConnectError::Resolve {
                host: self.config.address.clone(),
                cause: "not HOST:PORT".to_owned(),
            });
        };
        let unresolved = |cause: String| ConnectError::Resolve { host: host.to_owned(), cause };
        let addresses =
            tokio::net::lookup_host((host, port)).await.map_err(|error| unresolved(error.to_string()))?;
        let mut failure = unresolved("it has none".to_owned());
        for address in addresses {
            let ways = self.ways.to(address);
            if ways.is_empty() {
                failure =
                    ConnectError::NoInterface { names: self.ways.names(), address: address.to_string() };
            }
            for way in ways {
                match self.handshake_with(address, name, way, pass).await {
                    Ok(connected) => return Ok(connected),
                    Err(error) => failure = error,
                }
                self.ways.failed(way);
            }
        }
        Err(failure)
    }

    async fn handshake_with(
        &self,
        address: SocketAddr,
        name: &str,
        way: Way,
        pass: &Pass,
    ) -> Result<Connected, ConnectError> {
        // A new socket each time: after a change of network the old one may point nowhere.
        let endpoint = self.ways.open(address, way).and_then(plain).and_then(|socket| {
            Endpoint::new_with_abstract_socket(endpoint_config(), None, socket, Arc::new(quinn::TokioRuntime))
        });
        let endpoint = endpoint.map_err(|error| ConnectError::Socket { cause: error.to_string() })?;
        let refused = |cause: String| ConnectError::Refused { cause };
        self.ways.tell(way);
        let idle_timeout = idle_timeout(self.pace.borrow().latency);
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(pass.tls.clone())
            .map_err(|error| ConnectError::BadIdentity { cause: error.to_string() })?;
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::new(transport_config(idle_timeout)));
        let connecting =
            endpoint.connect_with(client, address, name).map_err(|error| refused(error.to_string()))?;
        match timeout(PATIENCE, connecting).await {
            Ok(Ok(connection)) => {
                self.ways.works(way);
                Ok(Connected { endpoint, connection, way, idle_timeout })
            }
            Ok(Err(error)) => Err(self.judge(&error, address, pass)),
            Err(_) => {
                self.ways.traffic().add(UNANSWERED_BYTES, 0);
                Err(no_answer(address))
            }
        }
    }
}

struct Connected {
    endpoint: Endpoint,
    connection: Connection,
    way: Way,
    idle_timeout: Duration,
}

impl QuicTransport {
    /// TLS alerts travel as QUIC errors 0x100 to 0x1ff (RFC 9001, section 4.8).
    fn judge(&self, error: &ConnectionError, address: SocketAddr, pass: &Pass) -> ConnectError {
        let alert =
            |code: u64| u8::try_from(code.checked_sub(0x100)?).ok().map(rustls::AlertDescription::from);
        match error {
            ConnectionError::TimedOut => no_answer(address),
            ConnectionError::TransportError(ours) if alert(ours.code.into()).is_some() => {
                self.access.wrong_server(address.to_string(), &pass.objection, ours.reason.clone())
            }
            ConnectionError::ConnectionClosed(close) => match alert(close.error_code.into()) {
                Some(alert) => self.access.refused(&pass.identity, alert, close.to_string()),
                None => ConnectError::Refused { cause: error.to_string() },
            },
            ConnectionError::ApplicationClosed(close)
                if close.error_code == VarInt::from_u32(CLOSE_REVOKED) =>
            {
                self.access.revoked(&pass.identity, String::from_utf8_lossy(&close.reason).into_owned())
            }
            ConnectionError::VersionMismatch => ConnectError::Protocol { cause: error.to_string() },
            other => ConnectError::Refused { cause: other.to_string() },
        }
    }
}

impl Transport for QuicTransport {
    async fn connect(&mut self, hello: Hello) -> Result<Link, ConnectError> {
        let pass = self.access.pass(&[ALPN]).await?;
        let connected = self.handshake(&pass).await?;
        let connection = connected.connection.clone();
        let address = connection.remote_address();
        match timeout(PATIENCE, greet(&connection, hello)).await {
            Ok(Ok((welcome, control))) => {
                self.access.welcomed(&welcome);
                Ok(self.link(connected, welcome, control))
            }
            Ok(Err(greeting)) => {
                // Before our own close takes the place of the cloud's.
                let reason = connection.close_reason();
                connection.close(VarInt::from_u32(1), b"no welcome");
                Err(match (greeting, reason) {
                    (Greeting::Lost, Some(reason)) => self.judge(&reason, address, &pass),
                    (Greeting::Lost, None) => {
                        ConnectError::Refused { cause: "control stream closed".to_owned() }
                    }
                    (Greeting::Protocol(cause), _) => ConnectError::Protocol { cause },
                })
            }
            Err(_) => {
                connection.close(VarInt::from_u32(1), b"no welcome");
                Err(no_answer(address))
            }
        }
    }
}

struct Control {
    send: SendStream,
    receive: RecvStream,
    /// Read, and not yet a whole message.
    rest: BytesMut,
}

enum Greeting {
    Lost,
    Protocol(String),
}

async fn greet(connection: &Connection, hello: Hello) -> Result<(Welcome, Control), Greeting> {
    let (mut send, receive) = connection.open_bi().await.map_err(|_| Greeting::Lost)?;
    let hello = ToCloud { message: Some(to_cloud::Message::Hello(hello)) };
    send.write_all(&frame_message(&hello)).await.map_err(|_| Greeting::Lost)?;
    let mut control = Control { send, receive, rest: BytesMut::new() };
    match next_message(&mut control.receive, &mut control.rest).await {
        Ok(Some(ToVehicle { message: Some(to_vehicle::Message::Welcome(welcome)) })) => {
            Ok((welcome, control))
        }
        Ok(Some(other)) => Err(Greeting::Protocol(format!("{other:?} instead of a welcome"))),
        Ok(None) => {
            // The stream ended or broke; the connection's own reason follows at once when there is one.
            let _ = timeout(CLOSING, connection.closed()).await;
            Err(Greeting::Lost)
        }
        Err(error) => Err(Greeting::Protocol(error.to_string())),
    }
}

/// The next control message; `None` when the stream has ended or broken.
async fn next_message(receive: &mut RecvStream, rest: &mut BytesMut) -> Result<Option<ToVehicle>, LinkError> {
    loop {
        if let Some(message) = take_message(rest)? {
            return Ok(Some(message));
        }
        match receive.read_chunk(16 * 1024, true).await {
            Ok(Some(chunk)) => rest.extend_from_slice(&chunk.bytes),
            Ok(None) | Err(_) => return Ok(None),
        }
    }
}

impl QuicTransport {
    /// Starts the task that moves messages between the agent's channels and the streams.
    fn link(&self, connected: Connected, welcome: Welcome, control: Control) -> Link {
        let Connected { endpoint, connection, way, idle_timeout } = connected;
        let (ways, mapping, pace) = (Arc::clone(&self.ways), Arc::clone(&self.mapping), self.pace.clone());
        let (pings, pings_to_send) = mpsc::channel(1);
        let meter = Meter::default();
        let (outgoing, to_send) = mpsc::channel(1);
        let (backlog, backlog_to_send) = mpsc::channel(1);
        let (received, incoming) = mpsc::channel(QUEUED_MESSAGES);
        let Control { send, mut receive, mut rest } = control;
        let end = tokio::spawn(async move {
            let reading = async {
                loop {
                    match next_message(&mut receive, &mut rest).await {
                        Ok(Some(message)) => {
                            if received.send(message).await.is_err() {
                                // The agent is done with this link; the writer sees that too.
                                std::future::pending::<()>().await;
                            }
                        }
                        Ok(None) => return "control stream closed by the cloud".to_owned(),
                        Err(error) => return error.to_string(),
                    }
                }
            };
            let cause = tokio::select! {
                cause = reading => cause,
                cause = write(&connection, send, to_send, pings_to_send) => cause,
                cause = write_backlog(&connection, backlog_to_send) => cause,
                () = Tender {
                    follower: Follower::new(&endpoint, &connection, &ways, way),
                    meter: &meter,
                    pace,
                    mapping: &mapping,
                    idle_timeout,
                    pings,
                }.run() => String::new(),
            };
            // The connection's own reason, when it has one, says more than what became of a stream.
            let end = match connection.close_reason() {
                Some(ConnectionError::TimedOut) => LinkEnd::Silent,
                Some(reason) => LinkEnd::Lost(reason.to_string()),
                None => LinkEnd::Lost(cause),
            };
            connection.close(VarInt::from_u32(0), b"");
            let _ = timeout(CLOSING, endpoint.wait_idle()).await;
            meter.count(&connection, ways.traffic());
            end
        });
        Link { transport: "quic", welcome, outgoing, backlog, incoming, end }
    }
}

/// Writes until the agent hangs up or a stream breaks.
async fn write(
    connection: &Connection,
    mut control: SendStream,
    mut to_send: mpsc::Receiver<Outgoing>,
    mut pings: mpsc::Receiver<()>,
) -> String {
    let mut lane = LaneStream { connection, stream: None, priority: LIVE_PRIORITY };
    loop {
        let next = tokio::select! {
            biased;
            next = to_send.recv() => next,
            // A message that says nothing: one byte, which the cloud's QUIC acknowledges.
            Some(()) = pings.recv() => Some(Outgoing::Control(ToCloud { message: None })),
        };
        let Some(next) = next else { return "closed by the agent".to_owned() };
        let written = match next {
            Outgoing::Control(message) => {
                control.write_all(&frame_message(&message)).await.map_err(|error| error.to_string())
            }
            Outgoing::Batch(frame) => lane.write(&frame).await,
        };
        if let Err(error) = written {
            return error;
        }
    }
}

/// The same for the backlog; a lane of its own, so that it never holds up the writer of the live one.
async fn write_backlog(connection: &Connection, mut to_send: mpsc::Receiver<LaneFrame>) -> String {
    let mut lane = LaneStream { connection, stream: None, priority: BACKLOG_PRIORITY };
    while let Some(frame) = to_send.recv().await {
        if let Err(error) = lane.write(&frame).await {
            return error;
        }
    }
    // The other writer notices the end too, and has more to finish.
    std::future::pending().await
}

struct LaneStream<'a> {
    connection: &'a Connection,
    /// Opened with the first batch.
    stream: Option<SendStream>,
    priority: i32,
}

impl LaneStream<'_> {
    async fn write(&mut self, frame: &LaneFrame) -> Result<(), String> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = self.connection.open_uni().await.map_err(|error| error.to_string())?;
                stream.set_priority(self.priority).map_err(|error| error.to_string())?;
                self.stream.insert(stream)
            }
        };
        let mut bytes = BytesMut::with_capacity(frame.batch.len() + 8);
        frame.write(&mut bytes);
        stream.write_all(&bytes).await.map_err(|error| error.to_string())
    }
}

/// One connection to a socket: the cloud's packets need no name for it, which saves eight bytes on each. It is found by
/// the cloud's address, so it moves along with ours all the same.
fn endpoint_config() -> quinn::EndpointConfig {
    let mut config = quinn::EndpointConfig::default();
    config.cid_generator(|| Box::new(quinn_proto::RandomConnectionIdGenerator::new(0)));
    config
}

fn idle_timeout(latency: Duration) -> Duration {
    (latency.saturating_mul(2).saturating_add(Duration::from_secs(10)))
        .clamp(MIN_IDLE_TIMEOUT, MAX_IDLE_TIMEOUT)
}

fn transport_config(idle_timeout: Duration) -> quinn::TransportConfig {
    let mut config = quinn::TransportConfig::default();
    config
        .max_idle_timeout(idle_timeout.try_into().ok())
        .keep_alive_interval(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        // Probes for a larger packet cost more than they gain on a lane of some hundred bytes a minute.
        .mtu_discovery_config(None);
    config
}

fn no_answer(address: SocketAddr) -> ConnectError {
    ConnectError::NoAnswer { address: address.to_string(), seconds: PATIENCE.as_secs() }
}
