//! One connection to the broker. The library would reconnect by itself and then send acknowledgements of the last
//! connection's messages; so each connection has a client of its own, and what is late for it goes nowhere.

use std::sync::Arc;
use std::time::Duration;

use avl_shared::identity::VehicleKey;
use avl_shared::link::mqtt::{MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES, shared_filter, topic_down};
use avl_shared::link::{ToVehicle, to_vehicle};
use prost::Message;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use rustls::ClientConfig;
use tokio::sync::mpsc;

use super::MqttSettings;
use crate::meters;

/// For TCP, TLS and the broker's answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Messages to vehicles that the broker has not acknowledged.
const UNACKNOWLEDGED: u16 = 1_000;
/// Acknowledgements and messages handed to the client and not yet taken by it.
const REQUESTS: usize = 64;
/// What a vehicle is told is worth nothing after this: its next welcome says it better.
const MESSAGE_EXPIRY_SECONDS: u32 = 60;
#[allow(clippy::cast_possible_truncation)]
const MAX_PACKET_BYTES: u32 = (MAX_PAYLOAD_BYTES + MAX_ENVELOPE_BYTES) as u32;

pub(super) fn open(settings: &MqttSettings, host: &str, port: u16, tls: ClientConfig) -> (Outbox, EventLoop) {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    let mut options = MqttOptions::new(&settings.client_id, host, port);
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls))))
        .set_network_options(network)
        .set_connection_timeout(CONNECT_TIMEOUT.as_secs())
        .set_keep_alive(settings.keep_alive)
        // What arrives while we are away is kept for us.
        .set_clean_start(false)
        .set_session_expiry_interval(Some(
            u32::try_from(settings.session_expiry.as_secs()).unwrap_or(u32::MAX),
        ))
        .set_receive_maximum(Some(settings.receive_maximum))
        .set_max_packet_size(Some(MAX_PACKET_BYTES))
        .set_manual_acks(true)
        .set_outgoing_inflight_upper_limit(UNACKNOWLEDGED);
    let (client, events) = AsyncClient::new(options, REQUESTS);
    (Outbox { client }, events)
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Broker(String),
    #[error("the broker refuses the subscription ({0}): check its access rules for the user avl-cloud")]
    NotSubscribed(String),
    #[error("the broker sends more than it may: it ignores the receive maximum")]
    Flooded,
    #[error("the journal takes nothing now")]
    Journal,
}

impl From<ConnectionError> for Lost {
    fn from(error: ConnectionError) -> Self {
        Self::Broker(error.to_string())
    }
}

/// What goes to the broker. Waits when the broker is slow, which slows the intake.
#[derive(Clone)]
pub(super) struct Outbox {
    client: AsyncClient,
}

/// The connection is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

impl Outbox {
    /// Tells the broker that it may forget this message.
    pub(super) async fn release(&self, publish: &Publish) -> Result<(), Gone> {
        self.client.ack(publish).await.map_err(|_| Gone)
    }

    pub(super) async fn say(&self, vehicle: &VehicleKey, message: to_vehicle::Message) -> Result<(), Gone> {
        let payload = ToVehicle { message: Some(message) }.encode_to_vec();
        let properties =
            PublishProperties { message_expiry_interval: Some(MESSAGE_EXPIRY_SECONDS), ..Default::default() };
        let topic = topic_down(vehicle);
        let sent = self.client.publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties);
        sent.await.map_err(|_| Gone)
    }

    pub(super) async fn close(&self) {
        let _ = self.client.disconnect().await;
    }
}

/// Keeps the connection alive and hands on what arrives, until it breaks or our goodbye has left.
///
/// Never waits for the worker: it must go on so that the worker can. The broker holds back what exceeds the receive
/// maximum; only messages that their senders do not want acknowledged can be too many, and are dropped.
pub(super) async fn pump(
    events: &mut EventLoop,
    outbox: &Outbox,
    settings: &MqttSettings,
    arrived: &mpsc::Sender<Publish>,
) -> Result<(), Lost> {
    loop {
        match events.poll().await? {
            Event::Incoming(Incoming::ConnAck(ack)) => {
                tracing::info!(session_kept = ack.session_present, "connected to the MQTT broker");
                let filter = shared_filter(&settings.group);
                if outbox.client.try_subscribe(filter, QoS::AtLeastOnce).is_err() {
                    return Err(Lost::Broker("the client takes no requests".to_owned()));
                }
            }
            Event::Incoming(Incoming::SubAck(ack)) => match ack.return_codes.first() {
                Some(SubscribeReasonCode::Success(_)) => {
                    metrics::gauge!(meters::MQTT_CONNECTED).set(1.0);
                    tracing::info!(group = settings.group, "listening for vehicles by MQTT");
                }
                other => return Err(Lost::NotSubscribed(format!("{other:?}"))),
            },
            Event::Incoming(Incoming::Publish(publish)) => {
                let acknowledged = publish.qos != QoS::AtMostOnce;
                if arrived.try_send(publish).is_err() {
                    if acknowledged {
                        return Err(Lost::Flooded);
                    }
                    metrics::counter!(meters::MQTT_REFUSED, "reason" => "overload").increment(1);
                }
            }
            Event::Outgoing(Outgoing::Disconnect) => return Ok(()),
            _ => {}
        }
    }
}
