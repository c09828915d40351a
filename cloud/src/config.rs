//! The configuration of every role: a TOML file, overridden by the environment, overridden by flags. One file may serve
//! all roles; each takes what concerns it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::api::ApiSettings;
use crate::fleet::{FleetSettings, TlsSettings};
use crate::health::HealthSettings;
use crate::ingest::{IngestSettings, MqttSettings};
use crate::journal::kafka::KafkaSettings;
use crate::store::timescale::DatabaseSettings;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line each, for people.
    #[default]
    Plain,
    /// One JSON object each, for collectors.
    Json,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// API and map, plain HTTP: put a TLS proxy in front before it leaves this machine.
    pub http: SocketAddr,
    /// Vehicles, QUIC on UDP.
    pub quic: SocketAddr,
    /// Enrolment, HTTPS on TCP; the number of `quic` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrol: Option<SocketAddr>,
    /// DNS names and addresses that gateways reach this server by. Loopback and the host's own name are always there.
    pub names: Vec<String>,
    pub log_format: LogFormat,
    pub health: HealthSettings,
    pub tls: TlsSettings,
    pub api: ApiSettings,
    pub ingest: IngestSettings,
    pub fleet: FleetSettings,
    pub mqtt: MqttSettings,
    pub kafka: KafkaSettings,
    pub database: DatabaseSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            quic: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7443)),
            enrol: None,
            names: Vec::new(),
            log_format: LogFormat::default(),
            health: HealthSettings::default(),
            tls: TlsSettings::default(),
            api: ApiSettings::default(),
            ingest: IngestSettings::default(),
            fleet: FleetSettings::default(),
            mqtt: MqttSettings::default(),
            kafka: KafkaSettings::default(),
            database: DatabaseSettings::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(Box<figment::Error>);

impl Config {
    /// Defaults, then the file, then `AVL_CLOUD__SECTION__KEY`.
    ///
    /// # Errors
    /// Names the file or variable, and the key that is unknown or wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            figment = figment.merge(Toml::file_exact(file));
        }
        figment
            .merge(Env::prefixed("AVL_CLOUD__").split("__"))
            .extract()
            .map_err(|error| ConfigError(Box::new(error)))
    }

    /// # Errors
    /// When none was named.
    pub fn needed_data_dir(&self) -> anyhow::Result<PathBuf> {
        self.data_dir.clone().context("no data directory: say where with --data-dir")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn load(toml: &str) -> Result<Config, ConfigError> {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("avl-cloud.toml");
        std::fs::write(&file, toml).unwrap();
        Config::load(Some(&file))
    }

    #[test]
    fn a_file_changes_what_it_names_and_nothing_else() {
        let config = load("names = [\"fleet.example.com\"]\n[ingest]\nidle_timeout = \"2min\"\n").unwrap();
        assert_eq!(config.names, ["fleet.example.com"]);
        assert_eq!(config.ingest.idle_timeout, Duration::from_secs(120));
        assert_eq!(config.ingest.max_connections, IngestSettings::default().max_connections);
        assert_eq!(config.http.to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn properties_of_the_kafka_client_have_dots_in_their_names() {
        let config =
            load("[kafka]\nbootstrap = \"a:9092\"\n[kafka.client]\n\"security.protocol\" = \"ssl\"\n")
                .unwrap();
        assert_eq!(config.kafka.bootstrap.as_deref(), Some("a:9092"));
        assert_eq!(config.kafka.client["security.protocol"], "ssl");
        assert_eq!(config.kafka.prefix, "avl");
    }

    #[test]
    fn a_misspelt_key_and_a_missing_file_are_errors() {
        let error = load("[ingest]\nidle_timout = \"2min\"\n").unwrap_err().to_string();
        assert!(error.contains("idle_timout"), "{error}");
        assert!(Config::load(Some(Path::new("does/not/exist.toml"))).is_err());
    }
}
