//! The transports that are configured, as one.

use avl_shared::link::Hello;

use super::failover::{Failover, Settings, Timing};
use super::mqtt::{MqttTransport, Prefer};
use super::quic::QuicTransport;
use super::{ConnectError, Ending, Link, Traffic, Transport, UplinkConfig};
use crate::identity::Access;

/// QUIC, and MQTTS where a broker is configured.
pub enum Transports {
    Quic(QuicTransport),
    QuicFirst(Failover<QuicTransport, MqttTransport>),
    MqttFirst(Failover<MqttTransport, QuicTransport>),
}

impl Transports {
    #[must_use]
    pub fn new(uplink: &UplinkConfig, quic: QuicTransport, access: Access, traffic: Traffic) -> Self {
        let Some(config) = &uplink.mqtt else { return Self::Quic(quic) };
        let mqtt = MqttTransport::new(config, access).watched(uplink, traffic);
        let timing = Timing { first_probe: config.probe_interval, longest_probe: config.probe_interval_max };
        let settings =
            |address: &str| Settings { timing, patience: config.patience, address: address.to_owned() };
        match config.prefer {
            Prefer::Quic => Self::QuicFirst(Failover::new(quic, mqtt, settings(&uplink.quic.address))),
            Prefer::Mqtt => Self::MqttFirst(Failover::new(mqtt, quic, settings(&config.address))),
        }
    }
}

impl Transport for Transports {
    async fn connect(&mut self, hello: Hello) -> Result<Link, ConnectError> {
        match self {
            Self::Quic(quic) => quic.connect(hello).await,
            Self::QuicFirst(both) => both.connect(hello).await,
            Self::MqttFirst(both) => both.connect(hello).await,
        }
    }

    fn ended(&mut self, ending: Ending) {
        match self {
            Self::Quic(quic) => quic.ended(ending),
            Self::QuicFirst(both) => both.ended(ending),
            Self::MqttFirst(both) => both.ended(ending),
        }
    }
}
