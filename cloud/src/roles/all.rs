//! Everything in one process, on the embedded journal and store unless there are Kafka and a database.
//!
//! Parts stop in the order of the data's way: ingest acknowledges and says goodbye, the processor empties the
//! journal, the API goes last. When a part ends by itself, the process stops with an error: half a server that
//! looks healthy is worse than none.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, bail};
use avl_shared::tls::{Credentials, enrolment_server};
use quinn::Endpoint;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::journal::{self, Opened};
use super::renewal::Renewal;
use crate::api::{self, ApiState};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::fleet::authority::Authority;
use crate::fleet::broker::cloud_client;
use crate::fleet::certificates::Certificates;
use crate::fleet::control::{Control, release_router};
use crate::fleet::server_identity::{load_or_issue, server_names};
use crate::fleet::tokens::Tokens;
use crate::fleet::{Issuing, deny, enrolment, listener, renewal};
use crate::ingest::{self, Ingest, MqttIngest, MqttSettings};
use crate::live::LiveFeed;
use crate::meters;
use crate::process::Processor;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::store::timescale::{DatabaseSettings, TimescaleStore, Wishes, migrate};

/// Where the parts listen; printed as one line of JSON when all of them do.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "ready")]
struct Ready {
    http: SocketAddr,
    quic: SocketAddr,
    enrol: SocketAddr,
}

/// Runs until `shutdown` completes, then drains.
///
/// # Errors
/// When a part cannot start, or ends before it is told to.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let root = config.data_dir.clone().context("no data directory: say where with --data-dir")?;
    let data = DataDir::create(root)?;
    let _lock = data.lock()?;

    let authority = Arc::new(Authority::load_or_create(&data.authority())?);
    let names = server_names(&config.names);
    let credentials = load_or_issue(&data.server(), &authority, &names, SystemTime::now())?;
    let reset_key = ingest::load_or_create_reset_key(&data.server())?;
    let (store, upkeep) = open_store(&config.database, &data).await?;
    let tokens = Tokens::open(&data.store())?;
    let control = Control::open(&data.store())?;
    let (deny, following) = deny::follow(Certificates::open(&data.authority())?)?;
    let certificates = Certificates::open(&data.authority())?;
    let issuing = Arc::new(Issuing::new(Arc::clone(&authority), certificates, config.fleet.clone()));
    let Opened { journal, archive, subscription } = journal::open(&config.kafka, &data).await?;

    let quic =
        ingest::bind(config.quic, credentials.clone(), authority.certificate(), &reset_key, &config.ingest)?;
    let enrol_listener = bind_enrolment(&config, quic.local_addr()?).await?;
    let http_listener = listener::bind(config.http, "HTTP", "--http").await?;
    let ready = Ready {
        http: http_listener.local_addr()?,
        quic: quic.local_addr()?,
        enrol: enrol_listener.local_addr()?,
    };
    warn_about_plain_http(ready.http);

    let metrics = api::install_metrics()?;
    meters::describe();
    let feed = LiveFeed::default();
    let api_state = ApiState::new(
        data.path(),
        config.api.clone(),
        Arc::clone(&store),
        feed.clone(),
        control.clone(),
        metrics,
    )?;

    let mut parts = Parts::default();
    let processor = Processor::new(Arc::clone(&store), feed);
    processor.check_start(&*archive).await?;
    parts.start(Stage::Process, "processor", |stop| processor.run(subscription, stop));
    if let Some(upkeep) = upkeep {
        parts.start(Stage::Serve, "upkeep of the database", |stop| upkeep.keep(stop));
    }
    control.serve_releases_at(ready.enrol.port());
    parts.start(Stage::Intake, "control", |stop| control.clone().run(stop));
    parts.start(Stage::Serve, "list of revoked vehicles", |stop| following.run(stop));
    let ingest = Ingest::new(quic.clone(), journal, store, control, deny, config.ingest.clone());
    if let Some(broker) = config.mqtt.broker()? {
        let mqtt = start_mqtt(&ingest, &config.mqtt, broker, &authority)?;
        parts.start(Stage::Intake, "MQTT intake", |stop| mqtt.run(stop));
    }
    parts.start(Stage::Intake, "ingest", |stop| ingest.run(stop));
    let renewal = start_enrolment(
        &mut parts,
        enrol_listener,
        &credentials,
        &issuing,
        tokens,
        &config,
        quic,
        names,
        &data,
    )?;
    parts.start(Stage::Serve, "api", |mut stop| async move {
        let stopped = async move {
            let _ = stop.wait_for(|&stop| stop).await;
        };
        if let Err(error) = api::serve(http_listener, api_state, stopped).await {
            tracing::error!(%error, "HTTP stopped");
        }
    });

    // The reader of this line may be gone already; that is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(&ready)?);
    tracing::info!(http = %ready.http, quic = %ready.quic, enrol = %ready.enrol, "ready");
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        fallen = parts.first_to_fall() => Err(fallen),
    };
    tracing::info!("stopping");
    renewal.abort();
    parts.stop().await;
    match outcome {
        Ok(()) => Ok(()),
        Err(part) => bail!("{part} ended by itself; see the log before this line"),
    }
}

/// The database, brought up to date, or the embedded store. What is not derived from the journal (tokens, orders,
/// releases) is in the embedded store's file either way.
async fn open_store(
    database: &DatabaseSettings,
    data: &DataDir,
) -> anyhow::Result<(Arc<dyn Store>, Option<TimescaleStore>)> {
    if database.url.is_none() {
        return Ok((Arc::new(SqliteStore::open(&data.store())?), None));
    }
    let status = migrate(database, Wishes::default()).await?;
    for warning in &status.warnings {
        tracing::warn!("the database's {warning}");
    }
    tracing::info!(server = %status.server, schema = status.schema, "store in TimescaleDB");
    let store = TimescaleStore::open(database).await?;
    Ok((Arc::new(store.clone()), Some(store)))
}

fn start_mqtt(
    ingest: &Ingest,
    settings: &MqttSettings,
    broker: (String, u16),
    authority: &Arc<Authority>,
) -> anyhow::Result<MqttIngest> {
    let (authority, further) = (Arc::clone(authority), settings.authorities.clone());
    let name = settings.server_name.clone().unwrap_or_else(|| broker.0.clone());
    let tls = move || cloud_client(&authority, &name, further.as_deref(), SystemTime::now());
    // What cannot be used is said at the start, not at each attempt to connect.
    tls()?;
    Ok(ingest.mqtt(settings.clone(), broker, Box::new(tls)))
}

#[allow(clippy::too_many_arguments)]
fn start_enrolment(
    parts: &mut Parts,
    listener: TcpListener,
    credentials: &Credentials,
    issuing: &Arc<Issuing>,
    tokens: Tokens,
    config: &Config,
    quic: Endpoint,
    names: Vec<String>,
    data: &DataDir,
) -> anyhow::Result<JoinHandle<()>> {
    let (tls, current_tls) = watch::channel(Arc::new(enrolment_server(credentials.clone())?));
    let service = enrolment::router(Arc::clone(issuing), tokens)
        .merge(renewal::router(Arc::clone(issuing)))
        .merge(release_router(&data.releases()));
    parts.start(Stage::Intake, "enrolment", |stop| listener::serve(listener, current_tls, service, stop));
    let renewal = Renewal {
        directory: data.server(),
        authority: issuing.authority(),
        names,
        settings: config.ingest.clone(),
        quic,
        enrolment: tls,
        current: credentials.chain.first().cloned().context("the server has no certificate")?,
    };
    Ok(tokio::spawn(renewal.run()))
}

/// The same number as QUIC unless told otherwise. When the kernel chose that number, TCP may have it taken.
async fn bind_enrolment(config: &Config, quic: SocketAddr) -> anyhow::Result<TcpListener> {
    let address = config.enrol.unwrap_or(quic);
    match listener::bind(address, "enrolment (HTTPS)", "--enrol").await {
        Err(_) if config.enrol.is_none() && config.quic.port() == 0 => {
            Ok(listener::bind(SocketAddr::new(address.ip(), 0), "enrolment (HTTPS)", "--enrol").await?)
        }
        outcome => Ok(outcome?),
    }
}

fn warn_about_plain_http(http: SocketAddr) {
    if !http.ip().is_loopback() {
        tracing::warn!(
            %http, "the API and the map are served without TLS beyond this machine: tokens and positions can be read \
             on the way; put a TLS proxy in front"
        );
    }
}

/// When a part stops: earlier stages first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Intake,
    Process,
    Serve,
}

#[derive(Default)]
struct Parts {
    stages: [StageParts; 3],
}

struct StageParts {
    stop: watch::Sender<bool>,
    running: JoinSet<&'static str>,
}

impl Default for StageParts {
    fn default() -> Self {
        Self { stop: watch::Sender::new(false), running: JoinSet::new() }
    }
}

impl Parts {
    fn start<F>(&mut self, stage: Stage, name: &'static str, part: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let parts = &mut self.stages[stage as usize];
        let running = part(parts.stop.subscribe());
        parts.running.spawn(async move {
            running.await;
            name
        });
    }

    /// Resolves when a part ends that was not told to.
    async fn first_to_fall(&mut self) -> String {
        let [intake, process, serve] = &mut self.stages;
        let fallen = tokio::select! {
            Some(fallen) = intake.running.join_next() => fallen,
            Some(fallen) = process.running.join_next() => fallen,
            Some(fallen) = serve.running.join_next() => fallen,
        };
        fallen.map_or_else(|error| format!("a part ({error})"), str::to_owned)
    }

    async fn stop(&mut self) {
        for stage in &mut self.stages {
            stage.stop.send_replace(true);
            while stage.running.join_next().await.is_some() {}
        }
    }
}
