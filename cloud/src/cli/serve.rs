//! What the commands that serve have in common: configuration, log, signals.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use avl_cloud::config::{Config, LogFormat};
use avl_cloud::store::timescale::DatabaseUrl;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// As a shell says of a process that a signal has ended.
const ENDED_BY_SIGTERM: i32 = 128 + 15;

#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// TOML file; any key of any role may stand in it (docs/cloud.md), and one that is unknown is an error
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where /healthz, /readyz and /metrics are answered, plain HTTP without a token; port 0 takes a free one [default: 127.0.0.1:8081, of 'all': none]
    #[arg(long, value_name = "ADDR")]
    pub(crate) health: Option<SocketAddr>,
    /// How logs are written [default: plain]
    #[arg(long, value_name = "FORMAT", value_parser = ["plain", "json"])]
    pub(crate) log_format: Option<String>,
}

/// The servers that processes share.
#[derive(Debug, clap::Args)]
pub(crate) struct Shared {
    /// Brokers of Kafka, which has the journal
    #[arg(long, value_name = "HOST:PORT[,...]")]
    kafka: Option<String>,
    /// TimescaleDB that the store is in, postgres://USER@HOST[:PORT]/DATABASE
    #[arg(long, value_name = "URL")]
    database: Option<DatabaseUrl>,
}

impl Shared {
    pub(crate) fn lay_over(self, config: &mut Config) {
        config.kafka.bootstrap = self.kafka.or(config.kafka.bootstrap.take());
        config.database.url = self.database.or(config.database.url.take());
    }
}

impl Common {
    /// File and environment, and our own flags over both.
    pub(crate) fn load(self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        config.health.listen = self.health.or(config.health.listen);
        match self.log_format.as_deref() {
            Some("json") => config.log_format = LogFormat::Json,
            Some(_) => config.log_format = LogFormat::Plain,
            None => {}
        }
        config.fleet.check().map_err(|refusal| anyhow::anyhow!("configuration: {refusal}"))?;
        Ok(config)
    }

    /// As [`Common::load`], for a process of many, which is always asked for its health.
    pub(crate) fn load_role(self) -> anyhow::Result<Config> {
        let mut config = self.load()?;
        config.health.listen.get_or_insert(SocketAddr::from(([127, 0, 0, 1], 8081)));
        Ok(config)
    }
}

/// Runs a role to its end.
pub(crate) fn serve(
    config: Config,
    role: impl AsyncFnOnce(Config, Stopping) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    start_log(config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stopping = told_to_stop()?;
        role(config, stopping).await
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Plain => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

/// Resolves at the first SIGTERM or Ctrl-C. A second one ends the process at once.
pub(crate) type Stopping = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// Registered before anything starts, so that a signal during the start is not lost.
fn told_to_stop() -> anyhow::Result<Stopping> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    Ok(Box::pin(async move {
        either(&mut terminate, &mut interrupt).await;
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            tracing::warn!(
                "told to stop a second time: ending at once; what was not acknowledged is sent again"
            );
            std::process::exit(ENDED_BY_SIGTERM);
        });
    }))
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
