//! What an operator can set about the MQTT intake: the `[mqtt]` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const DEFAULT_PORT: u16 = 8883;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttSettings {
    /// The broker that vehicles publish to, `mqtts://HOST[:PORT]`. Without it there is no MQTT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The name that the broker's certificate must carry, where it is not the host of `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// PEM file with further authorities that may have signed the broker's certificate, beside the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// The broker keeps what arrives while we are away under this name: the same one after a restart, and another one for each
    /// process of a group.
    pub client_id: String,
    /// Processes of one group share the vehicles' messages.
    pub group: String,
    /// Messages taken from the broker and not yet on disk, at most. Beyond it the broker holds them.
    pub receive_maximum: u16,
    /// How long the broker keeps messages for us while we are away.
    #[serde(with = "humantime_serde")]
    pub session_expiry: Duration,
    /// How often the broker is asked whether it is still there. It is gone after two of these.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// Vehicles that an acknowledgement is due to, at most. Beyond it the oldest are acknowledged at once.
    pub max_waiting: usize,
}

impl Default for MqttSettings {
    fn default() -> Self {
        Self {
            url: None,
            server_name: None,
            authorities: None,
            client_id: "avl-cloud".to_owned(),
            group: "avl".to_owned(),
            receive_maximum: 256,
            session_expiry: Duration::from_secs(24 * 60 * 60),
            keep_alive: Duration::from_secs(30),
            max_waiting: 100_000,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MqttSettingsError {
    #[error("mqtt.url {0:?} is not mqtts://HOST[:PORT]: correct it, or --mqtt")]
    Url(String),
    #[error("mqtt.url {0:?} is MQTT without TLS, and the broker would not know who we are: use mqtts://")]
    Plain(String),
    #[error("mqtt.{0} cannot be used: {1}")]
    Value(&'static str, &'static str),
}

impl MqttSettings {
    /// Host and port of the broker; `None` when there is none.
    ///
    /// # Errors
    /// Names what cannot be used.
    pub fn broker(&self) -> Result<Option<(String, u16)>, MqttSettingsError> {
        let Some(url) = &self.url else { return Ok(None) };
        if url.starts_with("mqtt://") || url.starts_with("tcp://") {
            return Err(MqttSettingsError::Plain(url.clone()));
        }
        let bad = || MqttSettingsError::Url(url.clone());
        let rest = url.strip_prefix("mqtts://").ok_or_else(bad)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            // A colon inside brackets belongs to an address.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
            _ => (rest, DEFAULT_PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', '?', '[']) || port == 0 {
            return Err(bad());
        }
        for (key, text) in [("client_id", &self.client_id), ("group", &self.group)] {
            if text.is_empty() || text.contains(['/', '+', '#', '\0']) {
                return Err(MqttSettingsError::Value(key, "give a name without '/', '+' and '#'"));
            }
        }
        if self.receive_maximum == 0 || self.max_waiting == 0 {
            return Err(MqttSettingsError::Value("receive_maximum and max_waiting", "give at least 1"));
        }
        // The library's lower bound, and the protocol's upper one.
        if !(5..=u64::from(u16::MAX)).contains(&self.keep_alive.as_secs()) {
            return Err(MqttSettingsError::Value("keep_alive", "give 5 s to 18 h"));
        }
        Ok(Some((host.to_owned(), port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(url: &str) -> Result<Option<(String, u16)>, MqttSettingsError> {
        MqttSettings { url: Some(url.to_owned()), ..MqttSettings::default() }.broker()
    }

    #[test]
    fn a_url_names_host_and_port() {
        let at = |host: &str, port| Ok(Some((host.to_owned(), port)));
        assert_eq!(MqttSettings::default().broker(), Ok(None));
        assert_eq!(broker("mqtts://mqtt.example.com"), at("mqtt.example.com", 8883));
        assert_eq!(broker("mqtts://mqtt.example.com:18883/"), at("mqtt.example.com", 18883));
        assert_eq!(broker("mqtts://[2001:db8::1]:8884"), at("2001:db8::1", 8884));
        assert_eq!(broker("mqtts://[2001:db8::1]"), at("2001:db8::1", 8883));
    }

    #[test]
    fn what_is_no_url_and_what_has_no_tls_is_refused() {
        for bad in
            ["", "mqtts://", "broker:8883", "https://broker", "mqtts://a:0", "mqtts://a:b", "mqtts://u@b"]
        {
            assert!(matches!(broker(bad), Err(MqttSettingsError::Url(_))), "{bad}");
        }
        assert!(matches!(broker("mqtt://broker:1883"), Err(MqttSettingsError::Plain(_))));
    }

    #[test]
    fn a_name_that_would_be_a_wildcard_is_refused() {
        let settings =
            MqttSettings { url: Some("mqtts://b".to_owned()), group: "a/#".to_owned(), ..Default::default() };
        assert!(matches!(settings.broker(), Err(MqttSettingsError::Value("group", _))));
    }
}
