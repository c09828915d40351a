//! The `[uplink]` section of the gateway's configuration.

use std::time::Duration;

use serde::Deserialize;

use super::budget::BudgetConfig;
use super::interfaces::InterfaceConfig;
use super::mqtt::MqttConfig;
use crate::config::{ByteSize, host_and_port};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinkConfig {
    /// How long a fix may wait before it is sent.
    #[serde(default = "default_latency", with = "humantime_serde")]
    pub latency: Duration,
    /// How often the cloud is asked to acknowledge.
    #[serde(default = "default_ack_interval", with = "humantime_serde")]
    pub ack_interval: Duration,
    /// How long an acknowledgement may be outstanding before the connection is taken for dead.
    #[serde(default = "default_ack_timeout", with = "humantime_serde")]
    pub ack_timeout: Duration,
    /// The longest wait between two attempts to connect.
    #[serde(default = "default_reconnect_max", with = "humantime_serde")]
    pub reconnect_max: Duration,
    /// Bytes a second that the backlog may take, at most; 0 is as fast as the link allows.
    #[serde(default = "default_backlog_rate")]
    pub backlog_rate: ByteSize,
    pub quic: QuicConfig,
    /// In the order of preference; none to leave it to the kernel's routes.
    #[serde(default)]
    pub interfaces: Vec<InterfaceConfig>,
    #[serde(default)]
    pub budget: BudgetConfig,
    /// The broker, where there is one.
    #[serde(default)]
    pub mqtt: Option<MqttConfig>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuicConfig {
    /// `host:port`, UDP.
    pub address: String,
    /// The name that the cloud's certificate must carry, where it is not the host of `address`.
    #[serde(default)]
    pub server_name: Option<String>,
}

impl QuicConfig {
    /// Host and port of `address`; an IPv6 host without its brackets.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        host_and_port(&self.address)
    }

    /// The name to verify the cloud's certificate against.
    #[must_use]
    pub fn certificate_name(&self) -> Option<&str> {
        self.server_name.as_deref().or_else(|| self.host_and_port().map(|(host, _)| host))
    }
}

/// Below the 30 s after which most cellular NATs forget a UDP mapping: a batch every 25 s is cheaper than one a
/// minute with pings between.
const fn default_latency() -> Duration {
    Duration::from_secs(25)
}

/// It only empties the buffer, which has room for weeks: a connection that breaks costs nothing more for it, since the
/// next welcome says what is durable, and a dead one is noticed sooner all the same, by packets that QUIC does not see
/// acknowledged.
const fn default_ack_interval() -> Duration {
    Duration::from_secs(1800)
}

/// Longer than a bad cellular minute, since giving up on a living connection costs 4 KB and a resend.
const fn default_ack_timeout() -> Duration {
    Duration::from_secs(60)
}

const fn default_reconnect_max() -> Duration {
    Duration::from_secs(60)
}

/// The window of the backlog lane already keeps it from delaying the live one.
const fn default_backlog_rate() -> ByteSize {
    ByteSize(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_need_brackets() {
        let quic = |address: &str| QuicConfig { address: address.to_owned(), server_name: None };
        assert_eq!(quic("[::1]:7443").host_and_port(), Some(("::1", 7443)));
        assert_eq!(quic("10.0.0.1:7443").host_and_port(), Some(("10.0.0.1", 7443)));
        for bad in ["::1:7443", "host", "host:0", "host:99999", ":7443", "[::1:7443"] {
            assert_eq!(quic(bad).host_and_port(), None, "{bad}");
        }
    }
}
