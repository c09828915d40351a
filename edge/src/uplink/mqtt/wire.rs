//! The MQTT client library, in the two versions of the protocol, behind one face: one connection, one client.
//!
//! The library would reconnect by itself, keep what is unacknowledged for the next connection and drop it when the broker has
//! forgotten the session. None of that is used: each connection has a client of its own, which is thrown away with
//! it, and the buffer is the only outbox.

use std::sync::Arc;
use std::time::Duration;

use avl_shared::link::mqtt::{MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES};
use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5 as packet5;
use rumqttc::{self as v3, ConnectReturnCode as Code3, NetworkOptions, TlsConfiguration, Transport, v5};
use rustls::ClientConfig;

/// Publishes that the broker has not acknowledged, at most: a live batch waits behind no more than these, less than a second on
/// 50 kbit/s, and a link of 600 ms round trip still carries some thousand fixes a second.
pub(super) const UNACKNOWLEDGED: u16 = 4;
/// Requests between us and the client: never more than are unacknowledged, a subscription and the goodbye.
const REQUESTS: usize = 8;
#[allow(clippy::cast_possible_truncation)]
const MAX_PACKET_BYTES: u32 = (MAX_PAYLOAD_BYTES + MAX_ENVELOPE_BYTES) as u32;
/// The one topic that has an alias.
const ALIAS: u16 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V5,
    /// 3.1.1
    V3,
}

/// Where and as whom to connect.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) client_id: String,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) keep_alive: Duration,
    /// For TCP, TLS and the broker's answer together.
    pub(super) patience: Duration,
    /// To leave by; the kernel's choice without.
    pub(super) interface: Option<String>,
}

/// What the broker says, as far as the link cares.
#[derive(Debug)]
pub(super) enum Heard {
    Connected {
        topic_aliases: bool,
    },
    Subscribed,
    SubscriptionRefused(String),
    Message(Bytes),
    /// One publish of ours is acknowledged; `false` when the broker says that nobody listens.
    Taken {
        somebody_listens: bool,
    },
    PublishRefused(String),
    /// We have asked the broker whether it is there.
    Pinged,
    /// Our goodbye has left.
    Closed,
    Other,
}

#[derive(Debug)]
pub(super) enum Failure {
    /// The broker speaks another version, or we cannot tell why it hung up.
    Version(String),
    /// The broker knows us and does not want us.
    Unwelcome(String),
    /// Two pings without an answer.
    Silent,
    /// TLS failed; kept for a judgement.
    Tls(rustls::Error),
    NoAnswer,
    Lost(String),
}

pub(super) enum Client {
    V5 { client: v5::AsyncClient, alias: Alias },
    V3(v3::AsyncClient),
}

/// Saves the topic in each publish but the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alias {
    /// Of no use to this broker.
    None,
    Possible,
    Known,
}

pub(super) enum Events {
    V5(Box<v5::EventLoop>),
    V3(Box<v3::EventLoop>),
}

/// Prepares a connection; the first [`Events::next`] makes it.
pub(super) fn open(version: Version, target: &Target) -> (Client, Events) {
    let tls = Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&target.tls)));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(target.patience.as_secs());
    if let Some(interface) = &target.interface {
        network.set_bind_device(interface);
    }
    match version {
        Version::V5 => {
            let mut options = v5::MqttOptions::new(&target.client_id, &target.host, target.port);
            options
                .set_transport(tls)
                .set_network_options(network)
                .set_connection_timeout(target.patience.as_secs())
                .set_keep_alive(target.keep_alive)
                // Nothing waits at the broker for a vehicle that is away: what it missed is in its next welcome.
                .set_clean_start(true)
                .set_max_packet_size(Some(MAX_PACKET_BYTES))
                .set_outgoing_inflight_upper_limit(UNACKNOWLEDGED);
            let (client, events) = v5::AsyncClient::new(options, REQUESTS);
            (Client::V5 { client, alias: Alias::None }, Events::V5(Box::new(events)))
        }
        Version::V3 => {
            let mut options = v3::MqttOptions::new(&target.client_id, &target.host, target.port);
            options
                .set_transport(tls)
                .set_keep_alive(target.keep_alive)
                .set_clean_session(true)
                .set_max_packet_size(MAX_PACKET_BYTES as usize, MAX_PACKET_BYTES as usize)
                .set_inflight(UNACKNOWLEDGED);
            let (client, mut events) = v3::AsyncClient::new(options, REQUESTS);
            events.set_network_options(network);
            (Client::V3(client), Events::V3(Box::new(events)))
        }
    }
}

/// The connection's other half is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

impl Client {
    pub(super) async fn subscribe(&self, topic: &str) -> Result<(), Gone> {
        match self {
            Self::V5 { client, .. } => {
                client.subscribe(topic, v5::mqttbytes::QoS::AtLeastOnce).await.map_err(|_| Gone)
            }
            Self::V3(client) => client.subscribe(topic, v3::QoS::AtLeastOnce).await.map_err(|_| Gone),
        }
    }

    pub(super) fn use_topic_alias(&mut self) {
        if let Self::V5 { alias, .. } = self {
            *alias = Alias::Possible;
        }
    }

    /// Always to the same topic.
    pub(super) async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), Gone> {
        match self {
            Self::V5 { client, alias } => {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                let properties =
                    packet5::PublishProperties { topic_alias: Some(ALIAS), ..Default::default() };
                let sent = match alias {
                    Alias::None => client.publish(topic, qos, false, payload).await,
                    Alias::Possible => {
                        client.publish_with_properties(topic, qos, false, payload, properties).await
                    }
                    Alias::Known => client.publish_with_properties("", qos, false, payload, properties).await,
                };
                if *alias == Alias::Possible {
                    *alias = Alias::Known;
                }
                sent.map_err(|_| Gone)
            }
            Self::V3(client) => {
                client.publish(topic, v3::QoS::AtLeastOnce, false, payload).await.map_err(|_| Gone)
            }
        }
    }

    pub(super) async fn close(&self) -> Result<(), Gone> {
        match self {
            Self::V5 { client, .. } => client.disconnect().await.map_err(|_| Gone),
            Self::V3(client) => client.disconnect().await.map_err(|_| Gone),
        }
    }
}

impl Events {
    /// After a failure it must not be called again: it would connect anew.
    pub(super) async fn next(&mut self) -> Result<Heard, Failure> {
        match self {
            Self::V5(events) => match events.poll().await {
                Ok(v5::Event::Incoming(packet)) => {
                    Ok(heard5(packet, events.state.broker_topic_alias_max >= ALIAS))
                }
                Ok(v5::Event::Outgoing(v3::Outgoing::Disconnect)) => Ok(Heard::Closed),
                Ok(v5::Event::Outgoing(v3::Outgoing::PingReq)) => Ok(Heard::Pinged),
                Ok(v5::Event::Outgoing(_)) => Ok(Heard::Other),
                Err(error) => Err(failure5(error)),
            },
            Self::V3(events) => match events.poll().await {
                Ok(v3::Event::Incoming(packet)) => Ok(heard3(packet)),
                Ok(v3::Event::Outgoing(v3::Outgoing::Disconnect)) => Ok(Heard::Closed),
                Ok(v3::Event::Outgoing(v3::Outgoing::PingReq)) => Ok(Heard::Pinged),
                Ok(v3::Event::Outgoing(_)) => Ok(Heard::Other),
                Err(error) => Err(failure3(error)),
            },
        }
    }
}

fn heard5(packet: v5::Incoming, topic_aliases: bool) -> Heard {
    use packet5::{PubAckReason, SubscribeReasonCode};
    match packet {
        v5::Incoming::ConnAck(_) => Heard::Connected { topic_aliases },
        v5::Incoming::Publish(publish) => Heard::Message(publish.payload),
        v5::Incoming::PubAck(ack) => match ack.reason {
            PubAckReason::Success => Heard::Taken { somebody_listens: true },
            PubAckReason::NoMatchingSubscribers => Heard::Taken { somebody_listens: false },
            other => Heard::PublishRefused(format!("{other:?}")),
        },
        v5::Incoming::SubAck(ack) => match ack.return_codes.first() {
            Some(SubscribeReasonCode::Success(_)) => Heard::Subscribed,
            other => Heard::SubscriptionRefused(format!("{other:?}")),
        },
        _ => Heard::Other,
    }
}

fn heard3(packet: v3::Incoming) -> Heard {
    match packet {
        v3::Incoming::ConnAck(_) => Heard::Connected { topic_aliases: false },
        v3::Incoming::Publish(publish) => Heard::Message(publish.payload),
        v3::Incoming::PubAck(_) => Heard::Taken { somebody_listens: true },
        v3::Incoming::SubAck(ack) => match ack.return_codes.first() {
            Some(v3::SubscribeReasonCode::Success(_)) => Heard::Subscribed,
            other => Heard::SubscriptionRefused(format!("{other:?}")),
        },
        _ => Heard::Other,
    }
}

fn failure5(error: v5::ConnectionError) -> Failure {
    use packet5::ConnectReturnCode as Code;
    use v5::mqttbytes::Error as Packet;
    match error {
        v5::ConnectionError::ConnectionRefused(
            code @ (Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion),
        ) => Failure::Version(format!("{code:?}")),
        v5::ConnectionError::ConnectionRefused(code) => {
            refused(&code, code == Code::ServerBusy || code == Code::ServerUnavailable)
        }
        v5::ConnectionError::Timeout(_) => Failure::NoAnswer,
        v5::ConnectionError::Tls(v5::TlsError::Io(error)) | v5::ConnectionError::Io(error) => io(&error),
        v5::ConnectionError::Tls(v5::TlsError::TLS(error)) => Failure::Tls(error),
        v5::ConnectionError::MqttState(state) => match state {
            v5::StateError::AwaitPingResp => Failure::Silent,
            v5::StateError::Io(error) | v5::StateError::Deserialization(Packet::Io(error)) => io(&error),
            v5::StateError::ConnectionAborted => Failure::Version("the broker hung up".to_owned()),
            v5::StateError::Deserialization(error) => Failure::Version(error.to_string()),
            v5::StateError::ServerDisconnect { reason_code, reason_string } => {
                let detail = reason_string.map(|reason| format!(" ({reason})")).unwrap_or_default();
                Failure::Lost(format!("the broker closed the connection: {reason_code:?}{detail}"))
            }
            other => Failure::Lost(other.to_string()),
        },
        other => Failure::Lost(other.to_string()),
    }
}

fn failure3(error: v3::ConnectionError) -> Failure {
    match error {
        v3::ConnectionError::ConnectionRefused(code @ Code3::RefusedProtocolVersion) => {
            Failure::Version(format!("{code:?}"))
        }
        v3::ConnectionError::ConnectionRefused(code) => refused(&code, code == Code3::ServiceUnavailable),
        v3::ConnectionError::NetworkTimeout | v3::ConnectionError::FlushTimeout => Failure::NoAnswer,
        v3::ConnectionError::Tls(v3::TlsError::Io(error)) | v3::ConnectionError::Io(error) => io(&error),
        v3::ConnectionError::Tls(v3::TlsError::TLS(error)) => Failure::Tls(error),
        v3::ConnectionError::MqttState(state) => match state {
            v3::StateError::AwaitPingResp => Failure::Silent,
            v3::StateError::Io(error) | v3::StateError::Deserialization(v3::mqttbytes::Error::Io(error)) => {
                io(&error)
            }
            other => Failure::Lost(other.to_string()),
        },
        other => Failure::Lost(other.to_string()),
    }
}

fn refused(code: &impl std::fmt::Debug, busy: bool) -> Failure {
    let cause = format!("the broker answers {code:?}");
    if busy { Failure::Lost(cause) } else { Failure::Unwelcome(cause) }
}

/// What TLS has to say comes wrapped into an I/O error.
fn io(error: &std::io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
    tls.map_or_else(|| Failure::Lost(error.to_string()), Failure::Tls)
}
