//! Connections: bounded pools, TLS that verifies, and limits on how long anything may take.

use std::fs;
use std::path::Path;
use std::time::Duration;

use avl_shared::tls::database_client;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::tls::{MakeTlsConnect, NoTlsStream};
use tokio_postgres::{Client, Connection, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{OpenError, said};
use super::settings::{DatabaseSettings, DatabaseSettingsError, DatabaseUrl, Target};

/// A server that is gone without a word is noticed after this.
const SILENCE: Duration = Duration::from_secs(30);

/// How to reach one server.
pub(super) struct Address {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
    limits: Limits,
}

struct Limits {
    connections: usize,
    wait: Duration,
}

impl Address {
    pub(super) fn new(
        settings: &DatabaseSettings,
        url: &DatabaseUrl,
        key: &'static str,
    ) -> Result<Self, DatabaseSettingsError> {
        if settings.max_connections == 0 {
            return Err(DatabaseSettingsError::Zero("max_connections"));
        }
        let Target { mut config, encrypted } = url.target(key)?;
        if let Some(path) = &settings.password_file {
            let password =
                fs::read_to_string(path).map_err(|error| unusable("database.password_file", path, &error))?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        let statement_ms = settings.statement_timeout.as_millis();
        // The second frees what a process held that stopped within a transaction.
        let options = format!(
            "{} -c statement_timeout={statement_ms} -c idle_in_transaction_session_timeout={statement_ms}",
            config.get_options().unwrap_or_default()
        );
        config
            .options(options.trim_start())
            .connect_timeout(settings.connect_timeout)
            .keepalives_idle(SILENCE)
            .tcp_user_timeout(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("avl-cloud");
        }
        let tls = if encrypted { Some(connector(settings.authorities.as_deref())?) } else { None };
        let limits = Limits { connections: settings.max_connections, wait: settings.connect_timeout };
        Ok(Self { config, tls, limits })
    }

    /// Connects nowhere yet.
    pub(super) fn pool(self) -> Result<Pool, OpenError> {
        // A round trip each time: after a restart of the server nobody is handed a connection to the old one.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Verified };
        let manager = match self.tls {
            Some(tls) => Manager::from_config(self.config, tls, recycling),
            None => Manager::from_config(self.config, NoTls, recycling),
        };
        Pool::builder(manager)
            .runtime(Runtime::Tokio1)
            .max_size(self.limits.connections)
            .wait_timeout(Some(self.limits.wait))
            .create_timeout(Some(self.limits.wait))
            .build()
            .map_err(|error| OpenError::Unavailable(error.to_string()))
    }

    /// One connection, without the limit on statements: a migration takes as long as it takes.
    pub(super) async fn connect(self) -> Result<Client, OpenError> {
        Ok(match self.open().await? {
            Connected::Plain(client, connection) => {
                tokio::spawn(connection);
                client
            }
            Connected::Encrypted(client, connection) => {
                tokio::spawn(connection);
                client
            }
        })
    }

    /// As [`Address::connect`]; whoever asks moves its messages.
    pub(super) async fn open(mut self) -> Result<Connected, OpenError> {
        self.config.options("-c statement_timeout=0");
        let failed = |error: tokio_postgres::Error| OpenError::Unavailable(said(&error));
        match self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls).await.map_err(failed)?;
                Ok(Connected::Encrypted(client, Box::new(connection)))
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
                Ok(Connected::Plain(client, Box::new(connection)))
            }
        }
    }
}

type Moved<S> = Box<Connection<Socket, S>>;

/// A connection, and what moves its messages.
pub(super) enum Connected {
    Plain(Client, Moved<NoTlsStream>),
    Encrypted(Client, Moved<<MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>),
}

fn connector(authorities: Option<&Path>) -> Result<MakeRustlsConnect, DatabaseSettingsError> {
    let certificates = match authorities {
        Some(path) => read_authorities(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let key = "database.authorities";
    let path = authorities.unwrap_or(Path::new("this machine's authorities"));
    let config = database_client(certificates).map_err(|error| unusable(key, path, &error))?;
    Ok(MakeRustlsConnect::new(config))
}

fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, DatabaseSettingsError> {
    let key = "database.authorities";
    let pem = fs::read(path).map_err(|error| unusable(key, path, &error))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(key, path, &error))?;
    if certificates.is_empty() {
        return Err(unusable(key, path, &"it holds no PEM certificates"));
    }
    Ok(certificates)
}

fn unusable(key: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> DatabaseSettingsError {
    DatabaseSettingsError::File { key, path: path.to_owned(), reason: reason.to_string() }
}
