//! What an operator can set about the database: the `[database]` section of the configuration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::config::{Host, SslMode};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `postgres://USER@HOST[:PORT]/DATABASE[?sslmode=…]`. Without it the store is embedded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<DatabaseUrl>,
    /// A read replica, which tracks and exports are read from. The ledger is always the primary's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_url: Option<DatabaseUrl>,
    /// File with the password of both, where the URLs have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// PEM file with the authorities that may have signed the servers' certificates; else those of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// Connections to the primary, and to the replica, at one time.
    pub max_connections: usize,
    /// How long to wait for a connection, made or free.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long one statement may take.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: None,
            replica_url: None,
            password_file: None,
            authorities: None,
            max_connections: 16,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
        }
    }
}

/// A URL that may hold a password: nothing prints it.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        Ok(Self(url.to_owned()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DatabaseSettingsError {
    #[error(
        "no database: say which with --database postgres://USER@HOST/DATABASE, or database.url in the configuration"
    )]
    Missing,
    #[error("{key} is not postgres://USER@HOST[:PORT]/DATABASE: {reason}")]
    Url { key: &'static str, reason: String },
    #[error(
        "{key} has sslmode={mode}, which does not prove who answers: use verify-full (the default beyond this machine), \
         or disable on a network that nobody else reaches"
    )]
    Unproven { key: &'static str, mode: String },
    #[error("{key}: {path} cannot be used: {reason}")]
    File { key: &'static str, path: PathBuf, reason: String },
    #[error("database.{0} must be more than 0")]
    Zero(&'static str),
}

/// One server, as its URL names it.
pub(super) struct Target {
    pub(super) config: tokio_postgres::Config,
    pub(super) encrypted: bool,
}

impl DatabaseUrl {
    /// `key` names the URL in errors.
    pub(super) fn target(&self, key: &'static str) -> Result<Target, DatabaseSettingsError> {
        let wrong = |reason: &str| DatabaseSettingsError::Url { key, reason: reason.to_owned() };
        if !self.0.starts_with("postgres://") && !self.0.starts_with("postgresql://") {
            return Err(wrong("it begins with something else"));
        }
        let (address, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
        // Ours to judge: the driver knows only modes that prove nothing.
        let (mut mode, mut others) = (None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value.to_owned()),
                Some(("sslrootcert", _)) => return Err(wrong("give sslrootcert as database.authorities")),
                _ => others.push(pair),
            }
        }
        let plain =
            if others.is_empty() { address.to_owned() } else { format!("{address}?{}", others.join("&")) };
        let mut config: tokio_postgres::Config = plain.parse().map_err(|error: tokio_postgres::Error| {
            // The driver's words name the part that is wrong, never the password.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            wrong(&cause.unwrap_or_else(|| error.to_string()))
        })?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host"));
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(wrong("it names no database"));
        }
        let encrypted = match mode.as_deref() {
            None => !config.get_hosts().iter().all(is_local),
            Some("verify-full") => true,
            Some("disable") => false,
            Some(mode) => return Err(DatabaseSettingsError::Unproven { key, mode: mode.to_owned() }),
        };
        config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        Ok(Target { config, encrypted })
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, DatabaseSettingsError> {
        DatabaseUrl::from(url.to_owned()).target("database.url")
    }

    #[test]
    fn beyond_this_machine_tls_is_verified_unless_it_is_switched_off() {
        for (url, encrypted) in [
            ("postgres://avl@db.example.com/avl", true),
            ("postgres://avl@db.example.com/avl?sslmode=disable", false),
            ("postgres://avl@127.0.0.1:5433/avl", false),
            ("postgresql://avl@localhost/avl?application_name=x", false),
            ("postgres://avl@localhost/avl?sslmode=verify-full&application_name=x", true),
            ("postgres://avl@localhost,db.example.com/avl", true),
        ] {
            assert_eq!(target(url).unwrap().encrypted, encrypted, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_the_password() {
        for url in [
            "mysql://avl:hush@db/avl",
            "postgres://avl:hush@db",
            "postgres://avl:hush@/avl",
            "postgres://avl:hush@db:port/avl",
            "postgres://avl:hush@db/avl?colour=red",
            "postgres://avl:hush@db/avl?sslmode=require",
            "postgres://avl:hush@db/avl?sslrootcert=/ca.pem",
        ] {
            let error = target(url).err().unwrap().to_string();
            assert!(error.starts_with("database.url") && !error.contains("hush"), "{error}");
        }
        let settings = DatabaseSettings {
            url: Some("postgres://avl:hush@db/avl".to_owned().into()),
            ..DatabaseSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
