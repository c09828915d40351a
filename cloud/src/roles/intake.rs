//! The vehicles' side: QUIC, MQTT where a broker is named, and HTTPS for enrolment and releases.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use avl_shared::tls::{Credentials, enrolment_server};
use axum::Router;
use quinn::Endpoint;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::identity::{Identity, Renewal};
use super::parts::Stage;
use super::server::Server;
use crate::data_dir::{DataDir, make_private_dir};
use crate::fleet::control::Control;
use crate::fleet::deny::Deny;
use crate::fleet::listener;
use crate::ingest::{self, Ingest};
use crate::journal::Journal;
use crate::store::Store;

/// The doors, open before anything is waited for: an address that is taken is said at once.
pub(super) struct Doors {
    identity: Identity,
    credentials: Credentials,
    quic: Option<Endpoint>,
    enrolment: TcpListener,
}

/// Where what comes in goes to.
pub(super) struct Inside {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) store: Arc<dyn Store>,
    pub(super) control: Control,
    pub(super) deny: Deny,
}

impl Doors {
    /// For vehicles.
    pub(super) async fn open(
        server: &mut Server,
        data: &DataDir,
        identity: Identity,
    ) -> anyhow::Result<Self> {
        let (credentials, authority) = identity.load(SystemTime::now())?;
        make_private_dir(&data.server())?;
        let reset_key = ingest::load_or_create_reset_key(&data.server())?;
        let config = &server.config;
        let quic = ingest::bind(config.quic, credentials.clone(), &authority, &reset_key, &config.ingest)?;
        let address = quic.local_addr()?;
        let enrolment = bind_enrolment(config.enrol, config.quic, address).await?;
        server.ready.quic = Some(address);
        server.ready.enrol = Some(enrolment.local_addr()?);
        Ok(Self { identity, credentials, quic: Some(quic), enrolment })
    }

    /// For enrolment alone.
    pub(super) async fn open_enrolment(server: &mut Server, identity: Identity) -> anyhow::Result<Self> {
        let (credentials, _) = identity.load(SystemTime::now())?;
        let enrolment = bind_enrolment(server.config.enrol, server.config.quic, server.config.quic).await?;
        server.ready.enrol = Some(enrolment.local_addr()?);
        Ok(Self { identity, credentials, quic: None, enrolment })
    }

    /// Lets vehicles in, and answers `service` by HTTPS.
    pub(super) fn serve(
        self,
        server: &mut Server,
        service: Router,
        inside: Option<Inside>,
    ) -> anyhow::Result<()> {
        let Self { identity, credentials, quic, enrolment } = self;
        if let (Some(quic), Some(inside)) = (&quic, inside) {
            take_in(server, &identity, quic.clone(), inside)?;
        }
        let (tls, current_tls) = watch::channel(Arc::new(enrolment_server(credentials.clone())?));
        server.parts.start(Stage::Intake, "enrolment", |stop| {
            listener::serve(enrolment, Some(current_tls), service, stop)
        });
        let settings = server.config.ingest.clone();
        let renewal = Renewal { identity, settings, quic, enrolment: tls, current: credentials.chain };
        // Stopped before the doors are: a new certificate would open them again.
        server.parts.start(Stage::Intake, "renewal of the server's certificate", |stop| renewal.run(stop));
        Ok(())
    }
}

fn take_in(server: &mut Server, identity: &Identity, quic: Endpoint, inside: Inside) -> anyhow::Result<()> {
    let Inside { journal, store, control, deny } = inside;
    if let Some(enrol) = server.ready.enrol {
        control.serve_releases_at(enrol.port());
    }
    let orders = control.clone();
    server.parts.start(Stage::Intake, "control", |stop| orders.run(stop));
    let ingest = Ingest::new(quic, journal, store, control, deny, server.config.ingest.clone());
    if let Some(broker) = server.config.mqtt.broker()? {
        let settings = server.config.mqtt.clone();
        let tls = identity.broker_tls(&settings, &broker.0)?;
        let mqtt = ingest.mqtt(settings, broker, tls);
        server.parts.start(Stage::Intake, "MQTT intake", |stop| mqtt.run(stop));
    }
    server.parts.start(Stage::Intake, "ingest", |stop| ingest.run(stop));
    Ok(())
}

/// The same number as QUIC unless told otherwise. When the kernel chose that number, TCP may have it taken.
async fn bind_enrolment(
    asked: Option<SocketAddr>,
    quic_asked: SocketAddr,
    quic: SocketAddr,
) -> anyhow::Result<TcpListener> {
    const WHAT: &str = "enrolment (HTTPS)";
    match listener::bind(asked.unwrap_or(quic), WHAT, "--enrol").await {
        Err(_) if asked.is_none() && quic_asked.port() == 0 => {
            Ok(listener::bind(SocketAddr::new(quic.ip(), 0), WHAT, "--enrol").await?)
        }
        outcome => Ok(outcome?),
    }
}
