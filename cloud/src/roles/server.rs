//! What every role begins with and ends in: metrics, health, waiting for what it needs, the line that says where it
//! listens, and the orderly stop.

use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::parts::{Parts, Stage};
use crate::config::Config;
use crate::fleet::listener;
use crate::health::{self, Readiness};
use crate::{api, meters};

/// Waits between attempts double from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Where the parts listen; printed as one line of JSON when all of them do.
#[derive(Debug, Default, Serialize)]
#[serde(tag = "event", rename = "ready")]
pub(super) struct Ready {
    pub(super) role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quic: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enrol: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health: Option<SocketAddr>,
}

/// A process that is being put together.
pub(super) struct Server {
    pub(super) config: Config,
    pub(super) parts: Parts,
    pub(super) metrics: PrometheusHandle,
    pub(super) readiness: Readiness,
    pub(super) ready: Ready,
}

/// Puts a role together, runs it until `shutdown` completes, then drains. When a part ends by itself, the process stops
/// with an error: half a server that looks healthy is worse than none.
///
/// # Errors
/// When a part cannot start, or ends before it is told to.
pub(super) async fn run(
    role: &'static str,
    config: Config,
    shutdown: impl Future<Output = ()>,
    compose: impl AsyncFnOnce(&mut Server) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut shutdown = pin!(shutdown);
    let mut server = Server::begin(role, config).await?;
    let composed = tokio::select! {
        composed = compose(&mut server) => Some(composed),
        () = &mut shutdown => None,
    };
    if let Some(composed) = composed {
        composed?;
    } else {
        tracing::info!("stopping before the start is complete");
        server.parts.stop().await;
        return Ok(());
    }
    let Ready { http, quic, enrol, health, .. } = server.ready;
    // The reader of this line may be gone already; that is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(&server.ready)?);
    tracing::info!(role, ?http, ?quic, ?enrol, ?health, "ready");
    server.readiness.started();
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        fallen = server.parts.first_to_fall() => Err(fallen),
    };
    tracing::info!("stopping");
    server.readiness.draining();
    server.parts.stop().await;
    match outcome {
        Ok(()) => Ok(()),
        Err(part) => bail!("{part} ended by itself; see the log before this line"),
    }
}

impl Server {
    async fn begin(role: &'static str, config: Config) -> anyhow::Result<Self> {
        let metrics = api::install_metrics()?;
        meters::describe();
        let readiness = Readiness::new(&config.health);
        let ready = Ready { role, ..Ready::default() };
        let mut server = Self { config, parts: Parts::default(), metrics, readiness, ready };
        if let Some(address) = server.config.health.listen {
            let listener = listener::bind(address, "health", "--health").await?;
            server.ready.health = Some(listener.local_addr()?);
            let service = health::router(server.readiness.clone(), server.metrics.clone());
            // The last to stop: whoever balances must hear that the others drain.
            server.parts.start(Stage::Serve, "health", |stop| listener::serve(listener, None, service, stop));
        }
        Ok(server)
    }

    /// Attempts until it succeeds: a server that is being started, or a schema that is being made. What cannot pass by
    /// waiting (`may_pass` says) is returned at once.
    pub(super) async fn wait_for<T, E>(
        &self,
        what: &'static str,
        may_pass: impl Fn(&E) -> bool,
        attempt: impl AsyncFn() -> Result<T, E>,
    ) -> anyhow::Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let error = match attempt().await {
                Ok(value) => {
                    self.readiness.saw(what, Ok(()));
                    if wait > FIRST_WAIT {
                        tracing::info!("{what} answers, after {} s", begun.elapsed().as_secs());
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            if !may_pass(&error) {
                return Err(error).with_context(|| what.to_owned());
            }
            self.readiness.saw(what, Err(error.to_string()));
            let waited = begun.elapsed().as_secs();
            tracing::warn!(
                "the start waits for {what}, for {waited} s now: {error}; trying again in {wait:?}"
            );
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Keeps looking at what this process needs.
    pub(super) fn watch<F>(&mut self, what: &'static str, check: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let readiness = self.readiness.clone();
        self.parts.start(Stage::Serve, what, |stop| readiness.watch(what, check, stop));
    }
}
