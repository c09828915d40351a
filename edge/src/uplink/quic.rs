//! The link over QUIC: one bidirectional control stream, one unidirectional stream for each lane, made when the lane has
//! something to send. What is written to the live lane goes out before what is waiting on the backlog's.
//!
//! Timing. Keep-alive is off: a ping cycle costs 111 bytes, and the batches themselves keep the connection and the
//! NAT's mapping alive at the default latency of 25 s. The idle timeout follows the latency, so that a longer one does not
//! mean a handshake (4.3 KB) for each batch; the smaller of both sides' timeouts counts. A vehicle with nothing to
//! say lets the connection lapse and makes a new one when it has.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use avl_shared::link::{
    Hello, LaneFrame, LinkError, ToCloud, ToVehicle, Welcome, frame_message, take_message, to_cloud,
    to_vehicle,
};
use avl_shared::tls;
use bytes::BytesMut;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{ConnectError, Link, LinkEnd, Outgoing, Transport};
use crate::config::{QuicConfig, UplinkConfig};
use crate::identity::Identity;

/// For the handshake and for the welcome behind it, each. Some round trips of a bad cellular link.
const PATIENCE: Duration = Duration::from_secs(15);
/// Data that QUIC may hold for us, unsent or unacknowledged: the bandwidth-delay product of 1 Mbit/s at 1 s. Small
/// enough that what is accepted is sent well before an acknowledgement is missed.
const SEND_WINDOW_BYTES: u64 = 128 * 1024;
/// What the cloud may send ahead: only control messages.
const RECEIVE_WINDOW_BYTES: u32 = 128 * 1024;
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Control messages taken off the network before the agent has seen them.
const QUEUED_MESSAGES: usize = 16;
/// QUIC sends what waits on streams of higher priority first; the control stream has 0.
const LIVE_PRIORITY: i32 = -1;
const BACKLOG_PRIORITY: i32 = -2;
/// For the closing packet to leave.
const CLOSING: Duration = Duration::from_millis(500);

pub struct QuicTransport {
    config: QuicConfig,
    client: quinn::ClientConfig,
}

impl QuicTransport {
    /// # Errors
    /// When key or certificates cannot be used for TLS.
    pub fn new(uplink: &UplinkConfig, identity: &Identity) -> anyhow::Result<Self> {
        let tls = tls::link_client(identity.credentials.clone(), &identity.authorities)?;
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::new(transport_config(uplink.latency)?));
        Ok(Self { config: uplink.quic.clone(), client })
    }

    async fn handshake(&self) -> Result<(Endpoint, Connection), ConnectError> {
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
            match self.handshake_with(address, name).await {
                Ok(connected) => return Ok(connected),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn handshake_with(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> Result<(Endpoint, Connection), ConnectError> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // A new socket each time: after a change of network the old one may point nowhere.
        let endpoint =
            Endpoint::client(any).map_err(|error| ConnectError::Socket { cause: error.to_string() })?;
        let refused = |cause: String| ConnectError::Refused { cause };
        let connecting = endpoint
            .connect_with(self.client.clone(), address, name)
            .map_err(|error| refused(error.to_string()))?;
        match timeout(PATIENCE, connecting).await {
            Ok(Ok(connection)) => Ok((endpoint, connection)),
            Ok(Err(error)) => Err(judge(&error, address)),
            Err(_) => Err(no_answer(address)),
        }
    }
}

impl Transport for QuicTransport {
    async fn connect(&mut self, hello: Hello) -> Result<Link, ConnectError> {
        let (endpoint, connection) = self.handshake().await?;
        let address = connection.remote_address();
        match timeout(PATIENCE, greet(&connection, hello)).await {
            Ok(Ok((welcome, control))) => Ok(link(endpoint, connection, welcome, control)),
            Ok(Err(greeting)) => {
                // Before our own close takes the place of the cloud's.
                let reason = connection.close_reason();
                connection.close(VarInt::from_u32(1), b"no welcome");
                Err(match (greeting, reason) {
                    (Greeting::Lost, Some(reason)) => judge(&reason, address),
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

/// Starts the task that moves messages between the agent's channels and the streams.
fn link(endpoint: Endpoint, connection: Connection, welcome: Welcome, control: Control) -> Link {
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
            cause = write(&connection, send, to_send) => cause,
            cause = write_backlog(&connection, backlog_to_send) => cause,
        };
        // The connection's own reason, when it has one, says more than what became of a stream.
        let end = match connection.close_reason() {
            Some(ConnectionError::TimedOut) => LinkEnd::Silent,
            Some(reason) => LinkEnd::Lost(reason.to_string()),
            None => LinkEnd::Lost(cause),
        };
        connection.close(VarInt::from_u32(0), b"");
        let _ = timeout(CLOSING, endpoint.wait_idle()).await;
        end
    });
    Link { welcome, outgoing, backlog, incoming, end }
}

/// Writes until the agent hangs up or a stream breaks.
async fn write(
    connection: &Connection,
    mut control: SendStream,
    mut to_send: mpsc::Receiver<Outgoing>,
) -> String {
    let mut lane = LaneStream { connection, stream: None, priority: LIVE_PRIORITY };
    while let Some(next) = to_send.recv().await {
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
    "closed by the agent".to_owned()
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

fn transport_config(latency: Duration) -> anyhow::Result<quinn::TransportConfig> {
    let idle = (latency * 2 + Duration::from_secs(10)).max(MIN_IDLE_TIMEOUT);
    let mut config = quinn::TransportConfig::default();
    config
        .max_idle_timeout(Some(idle.try_into()?))
        .keep_alive_interval(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        // Probes for a larger packet cost more than they gain on a lane of some hundred bytes a minute.
        .mtu_discovery_config(None);
    Ok(config)
}

fn no_answer(address: SocketAddr) -> ConnectError {
    ConnectError::NoAnswer { address: address.to_string(), seconds: PATIENCE.as_secs() }
}

/// TLS alerts travel as QUIC errors 0x100 to 0x1ff (RFC 9001, section 4.8).
fn judge(error: &ConnectionError, address: SocketAddr) -> ConnectError {
    let is_tls = |code: u64| (0x100..0x200).contains(&code);
    match error {
        ConnectionError::TimedOut => no_answer(address),
        ConnectionError::TransportError(ours) if is_tls(ours.code.into()) => {
            ConnectError::WrongServer { address: address.to_string(), cause: ours.reason.clone() }
        }
        ConnectionError::ConnectionClosed(close) if is_tls(close.error_code.into()) => {
            ConnectError::CertificateRefused { cause: close.to_string() }
        }
        ConnectionError::VersionMismatch => ConnectError::Protocol { cause: error.to_string() },
        other => ConnectError::Refused { cause: other.to_string() },
    }
}
