//! The `[control]` and `[update]` sections: what the cloud may do to this vehicle. Only the gateway's own file says so.

use std::path::PathBuf;
use std::time::Duration;

use avl_shared::release::PublicKey;
use serde::{Deserialize, Serialize};

use crate::config::ByteSize;

/// Commands that this vehicle carries out; every other one is refused.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    pub allow: Vec<Permission>,
    /// Keys that a remote configuration may set: `section.key`, or `section.*` for all below.
    pub remote_keys: Vec<String>,
    /// A remote configuration under which no connection succeeds for so long is taken back.
    #[serde(with = "humantime_serde")]
    pub confirm_within: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    Locate,
    Interval,
    History,
    Diagnostics,
    Restart,
    Update,
}

impl Permission {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Locate => "locate",
            Self::Interval => "interval",
            Self::History => "history",
            Self::Diagnostics => "diagnostics",
            Self::Restart => "restart",
            Self::Update => "update",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateConfig {
    /// Releases must be signed by its private half; without it nothing is installed.
    pub public_key: Option<PublicKey>,
    /// Holds the two slots `a` and `b`, and which of them is in use.
    pub directory: PathBuf,
    /// A new version that has not proven itself for so long is taken back.
    #[serde(with = "humantime_serde")]
    pub confirm_within: Duration,
    /// The largest file that is downloaded.
    pub max_bytes: ByteSize,
    /// Where release files are, without the SHA-256; the cloud's own HTTPS listener unless given.
    pub url: Option<String>,
}

/// Never set from afar, whatever `remote_keys` says: who could change these could lock the owner out, or make the
/// vehicle another's.
pub(super) const NEVER_REMOTE: [&str; 4] = ["state_dir", "identity", "control", "update"];

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            allow: vec![
                Permission::Locate,
                Permission::Interval,
                Permission::History,
                Permission::Diagnostics,
            ],
            remote_keys: [
                "report.*",
                "history.*",
                "buffer.durability",
                "uplink.latency",
                "uplink.ack_interval",
                "uplink.budget.*",
                "log.*",
            ]
            .map(str::to_owned)
            .to_vec(),
            // Some attempts to connect, and a tunnel.
            confirm_within: Duration::from_secs(10 * 60),
        }
    }
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            public_key: None,
            directory: PathBuf::from("/opt/avl-edge"),
            // A start, a cold receiver and a bad minute of the network.
            confirm_within: Duration::from_secs(15 * 60),
            // Several times what the agent has.
            max_bytes: ByteSize(32 << 20),
            url: None,
        }
    }
}

impl ControlConfig {
    /// # Errors
    /// (key, cause, cure) of what cannot be used.
    pub fn validate(&self) -> Result<(), (&'static str, String, &'static str)> {
        if self.confirm_within.is_zero() {
            return Err((
                "control.confirm_within",
                "0 s cannot work".to_owned(),
                "give a time such as \"10m\"",
            ));
        }
        for pattern in &self.remote_keys {
            let first = pattern.split('.').next().unwrap_or_default();
            if first == "*" || NEVER_REMOTE.contains(&first) {
                let cause = format!(
                    "{pattern:?} covers keys that are never set from afar: {}",
                    NEVER_REMOTE.join(", ")
                );
                return Err((
                    "control.remote_keys",
                    cause,
                    "name the sections and keys that may be set, such as \"report.*\"",
                ));
            }
        }
        Ok(())
    }
}

impl UpdateConfig {
    /// # Errors
    /// (key, cause, cure) of what cannot be used.
    pub fn validate(&self) -> Result<(), (&'static str, String, &'static str)> {
        if self.confirm_within.is_zero() {
            return Err((
                "update.confirm_within",
                "0 s cannot work".to_owned(),
                "give a time such as \"15m\"",
            ));
        }
        if self.url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            let cause = format!("{:?} is not HTTPS", self.url.clone().unwrap_or_default());
            return Err((
                "update.url",
                cause,
                "write it as in \"https://gateway.example.com:7443/release/v1/\"",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_remote_cannot_be_allowed() {
        for pattern in ["*", "control.allow", "update.*", "state_dir", "identity.*"] {
            let config = ControlConfig { remote_keys: vec![pattern.to_owned()], ..ControlConfig::default() };
            assert_eq!(config.validate().unwrap_err().0, "control.remote_keys", "{pattern}");
        }
        assert_eq!(ControlConfig::default().validate(), Ok(()));
        assert_eq!(UpdateConfig::default().validate(), Ok(()));
    }
}
