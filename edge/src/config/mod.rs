//! The gateway's configuration: every key, its default and its bounds.
//!
//! One TOML file; each key can be overridden by an environment variable `AVL_EDGE__SECTION__KEY`. Unknown keys are
//! refused, because a misspelt one would silently keep its default. `avl-edge.example.toml` explains every key.

mod error;
mod load;
mod units;

pub use error::ConfigError;
pub use load::{ENV_PREFIX, load};
pub use units::ByteSize;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::source::SourceConfig;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Identity, buffer and refused batches live here.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    pub source: SourceConfig,
    #[serde(default)]
    pub buffer: BufferConfig,
    pub uplink: UplinkConfig,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BufferConfig {
    /// The longest that a fix is in memory only.
    #[serde(with = "humantime_serde")]
    pub durability: Duration,
    /// Blocks on flash, at most; beyond it the oldest go.
    pub max_bytes: ByteSize,
}

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
    pub quic: QuicConfig,
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
        let (host, port) = self.address.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        if host.is_empty() {
            return None;
        }
        Some((host, port.parse().ok().filter(|port| *port != 0)?))
    }

    /// The name to verify the cloud's certificate against.
    #[must_use]
    pub fn certificate_name(&self) -> Option<&str> {
        self.server_name.as_deref().or_else(|| self.host_and_port().map(|(host, _)| host))
    }
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self { durability: Duration::from_secs(5), max_bytes: ByteSize(256 << 20) }
    }
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/avl-edge")
}

/// Below the 30 s after which most cellular NATs forget a UDP mapping: a batch every 25 s is cheaper than one a
/// minute with pings between.
const fn default_latency() -> Duration {
    Duration::from_secs(25)
}

const fn default_ack_interval() -> Duration {
    Duration::from_secs(180)
}

/// Longer than a bad cellular minute, since giving up on a living connection costs 4 KB and a resend.
const fn default_ack_timeout() -> Duration {
    Duration::from_secs(60)
}

const fn default_reconnect_max() -> Duration {
    Duration::from_secs(60)
}
