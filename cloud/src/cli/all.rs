//! `avl-cloud all`: everything on this machine.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use avl_cloud::config::{Config, LogFormat};
use avl_cloud::roles;
use avl_cloud::store::timescale::DatabaseUrl;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Run everything on this machine: vehicles' QUIC, enrolment, journal, store, API and map
///
/// Needs no other server, unless --kafka or --mqtt names one. When it listens it prints one line of JSON with its addresses on stdout; logs go to stderr
/// (RUST_LOG sets their level). SIGTERM and Ctrl-C stop it in order: vehicles get their last acknowledgements first.
/// Every flag can stand in the file of --config or in the environment (AVL_CLOUD__INGEST__MAX_CONNECTIONS=500); a flag
/// wins over the environment, and the environment over the file.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where everything is kept: keys, journal, store. Made when missing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// TOML file with the keys data_dir, http, quic, enrol, names, log_format, [api], [ingest], [fleet], [mqtt], [kafka] and [database]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// API and map, plain HTTP [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Vehicles, QUIC on UDP [default: 0.0.0.0:7443]
    #[arg(long, value_name = "ADDR")]
    quic: Option<SocketAddr>,
    /// Enrolment, HTTPS on TCP [default: the number of --quic]
    #[arg(long, value_name = "ADDR")]
    enrol: Option<SocketAddr>,
    /// MQTT broker that vehicles publish to, mqtts://HOST[:PORT] [default: none]
    #[arg(long, value_name = "URL")]
    mqtt: Option<String>,
    /// Keep the journal in Kafka, at these brokers, instead of in DIR [default: none]
    #[arg(long, value_name = "HOST:PORT[,...]")]
    kafka: Option<String>,
    /// TimescaleDB that the store is in, postgres://USER@HOST[:PORT]/DATABASE [default: embedded]. Its schema is brought up to date
    #[arg(long, value_name = "URL")]
    database: Option<DatabaseUrl>,
    /// DNS name or address that gateways reach this server by; may be repeated
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Life of a vehicle's certificate, such as 90d; renewed by itself after two thirds of it [default: 90d]
    #[arg(long, value_name = "TIME", value_parser = humantime_serde::re::humantime::parse_duration)]
    vehicle_certificate_lifetime: Option<Duration>,
    /// How logs are written [default: plain]
    #[arg(long, value_name = "FORMAT", value_parser = ["plain", "json"])]
    log_format: Option<String>,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = configure(arguments)?;
    start_log(config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = told_to_stop()?;
        roles::all::run(config, shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn configure(arguments: Arguments) -> anyhow::Result<Config> {
    let mut config = Config::load(arguments.config.as_deref())?;
    config.data_dir = arguments.data_dir.or(config.data_dir);
    config.http = arguments.http.unwrap_or(config.http);
    config.quic = arguments.quic.unwrap_or(config.quic);
    config.enrol = arguments.enrol.or(config.enrol);
    config.mqtt.url = arguments.mqtt.or(config.mqtt.url);
    config.kafka.bootstrap = arguments.kafka.or(config.kafka.bootstrap);
    config.database.url = arguments.database.or(config.database.url);
    config.names.extend(arguments.names);
    if let Some(lifetime) = arguments.vehicle_certificate_lifetime {
        config.fleet.certificate_lifetime = lifetime;
    }
    config.fleet.check().map_err(|refusal| anyhow::anyhow!("configuration: {refusal}"))?;
    match arguments.log_format.as_deref() {
        Some("json") => config.log_format = LogFormat::Json,
        Some(_) => config.log_format = LogFormat::Plain,
        None => {}
    }
    Ok(config)
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Plain => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

/// Registered before anything starts, so that a signal during the start is not lost.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
