//! The gateway's configuration: every key, its default and its bounds.
//!
//! One TOML file; each key can be overridden by an environment variable `AVL_EDGE__SECTION__KEY`. Unknown keys are
//! refused, because a misspelt one would silently keep its default. `avl-edge.example.toml` explains every key.

pub mod effective;
mod error;
mod load;
pub mod reference;
pub mod sense;
mod units;

pub use error::ConfigError;
pub use load::{DEFAULT_FILE, ENV_PREFIX, load, load_with};
pub use units::ByteSize;

use std::path::PathBuf;

use serde::Deserialize;

pub use crate::buffer::BufferConfig;
use crate::clock::ClockConfig;
use crate::control::{ControlConfig, UpdateConfig};
use crate::health::HealthConfig;
use crate::health::log::LogConfig;
use crate::identity::IdentityConfig;
use crate::policy::{HistoryConfig, ReportConfig};
use crate::sensors::SensorsConfig;
use crate::source::SourceConfig;
pub use crate::uplink::{QuicConfig, UplinkConfig};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Identity, buffer and refused batches live here.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    pub source: SourceConfig,
    #[serde(default)]
    pub clock: ClockConfig,
    #[serde(default)]
    pub identity: IdentityConfig,
    #[serde(default)]
    pub buffer: BufferConfig,
    pub uplink: UplinkConfig,
    #[serde(default)]
    pub control: ControlConfig,
    #[serde(default)]
    pub update: UpdateConfig,
    #[serde(default)]
    pub health: HealthConfig,
    #[serde(default)]
    pub log: LogConfig,
    #[serde(default)]
    pub sensors: SensorsConfig,
    #[serde(default)]
    pub report: ReportConfig,
    #[serde(default)]
    pub history: HistoryConfig,
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/avl-edge")
}

/// Host and port of `HOST:PORT`; an IPv6 host without its brackets.
#[must_use]
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
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
