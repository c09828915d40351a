//! The `[uplink.mqtt]` section of the gateway's configuration.

use std::time::Duration;

use serde::Deserialize;

use crate::config::host_and_port;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// `host:port` of the broker, TCP with TLS.
    pub address: String,
    /// The transport that is used as long as it works.
    #[serde(default)]
    pub prefer: Prefer,
    /// How long an attempt at the preferred transport may take where the other one could be tried.
    #[serde(default = "default_patience", with = "humantime_serde")]
    pub patience: Duration,
    /// Wait before the preferred transport is probed for the first time.
    #[serde(default = "default_probe_interval", with = "humantime_serde")]
    pub probe_interval: Duration,
    /// The longest wait between two probes.
    #[serde(default = "default_probe_interval_max", with = "humantime_serde")]
    pub probe_interval_max: Duration,
    /// How often the broker is asked whether it is still there.
    #[serde(default = "default_keep_alive", with = "humantime_serde")]
    pub keep_alive: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefer {
    #[default]
    Quic,
    Mqtt,
}

/// A value of `[uplink.mqtt]` that cannot be used: its key, the cause and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    pub key: &'static str,
    pub cause: String,
    pub cure: &'static str,
}

/// What the MQTT library takes, and what fits the protocol's 16 bits of seconds.
const KEEP_ALIVE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5)..=Duration::from_secs(18 * 60 * 60);

impl MqttConfig {
    /// Host and port of `address`; an IPv6 host without its brackets.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        host_and_port(&self.address)
    }

    /// # Errors
    /// The first value that cannot be used.
    pub fn check(&self) -> Result<(), BadValue> {
        let bad = |key, cause: String, cure| Err(BadValue { key, cause, cure });
        if self.host_and_port().is_none() {
            let cure = "write it as in \"mqtt.example.com:8883\" or \"[2001:db8::1]:8883\"";
            return bad("uplink.mqtt.address", format!("{:?} is not HOST:PORT", self.address), cure);
        }
        if !KEEP_ALIVE.contains(&self.keep_alive) {
            let cause = format!("{:?} is not between 5 seconds and 18 hours", self.keep_alive);
            return bad("uplink.mqtt.keep_alive", cause, "give a time such as \"15m\"");
        }
        for (key, value) in
            [("uplink.mqtt.patience", self.patience), ("uplink.mqtt.probe_interval", self.probe_interval)]
        {
            if value.is_zero() {
                return bad(key, "0 s cannot work".to_owned(), "give a time such as \"15s\"");
            }
        }
        if self.probe_interval_max < self.probe_interval {
            let cause = format!("{:?} is shorter than uplink.mqtt.probe_interval", self.probe_interval_max);
            return bad("uplink.mqtt.probe_interval_max", cause, "give a longer time, such as \"1h\"");
        }
        Ok(())
    }
}

/// Some round trips of a bad cellular link.
const fn default_patience() -> Duration {
    Duration::from_secs(15)
}

/// A captive portal, or a fair's overloaded cell, lasts minutes; a probe costs 4.3 KB.
const fn default_probe_interval() -> Duration {
    Duration::from_secs(5 * 60)
}

/// Hourly probes cost 0.1 MB a day, and keep a vehicle on the dearer transport for an hour too long at most.
const fn default_probe_interval_max() -> Duration {
    Duration::from_secs(60 * 60)
}

/// A ping costs 204 bytes, and a broker that is gone shows by unanswered requests for acknowledgements before.
const fn default_keep_alive() -> Duration {
    Duration::from_secs(15 * 60)
}
