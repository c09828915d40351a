//! Whether this process can do its work, for whoever sends it work: `/healthz`, `/readyz`, `/metrics`.
//!
//! A process is ready when it has started, does not drain, and everything that it needs has answered within the last
//! [`HealthSettings::grace`]: a broker that is being replaced must not take every process out of the balancer at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::meters;

/// Between two looks at what is needed.
const LOOK: Duration = Duration::from_secs(2);
/// What has not answered by then does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The `[health]` section of the configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSettings {
    /// Where health, readiness and metrics are asked for, plain HTTP without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// How long what is needed may be away before the process is not ready.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { listen: None, grace: Duration::from_secs(15) }
    }
}

/// Cloning shares it.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<Mutex<Condition>>,
}

#[derive(Debug)]
struct Condition {
    phase: Phase,
    troubles: BTreeMap<&'static str, Trouble>,
    grace: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Draining,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    cause: String,
}

impl Condition {
    /// What keeps the process from its work; empty when nothing does.
    fn verdict(&self, now: Instant) -> String {
        let mut words = match self.phase {
            Phase::Starting => "starting\n".to_owned(),
            Phase::Draining => return "draining\n".to_owned(),
            Phase::Serving => String::new(),
        };
        for (name, Trouble { since, cause }) in &self.troubles {
            let away = now.duration_since(*since);
            if self.phase == Phase::Starting || away >= self.grace {
                let _ = writeln!(words, "{name}, for {} s: {cause}", away.as_secs());
            }
        }
        words
    }
}

impl Readiness {
    #[must_use]
    pub fn new(settings: &HealthSettings) -> Self {
        let condition =
            Condition { phase: Phase::Starting, troubles: BTreeMap::new(), grace: settings.grace };
        Self { state: Arc::new(Mutex::new(condition)) }
    }

    pub fn started(&self) {
        self.state().phase = Phase::Serving;
    }

    pub fn draining(&self) {
        self.state().phase = Phase::Draining;
    }

    /// What was seen of one of the things that are needed.
    pub fn saw(&self, name: &'static str, outcome: Result<(), String>) {
        metrics::gauge!(meters::HEALTH_ANSWERS, "name" => name).set(f64::from(u8::from(outcome.is_ok())));
        let mut state = self.state();
        match outcome {
            Ok(()) => _ = state.troubles.remove(name),
            Err(cause) => {
                let since = state.troubles.get(name).map_or_else(Instant::now, |known| known.since);
                state.troubles.insert(name, Trouble { since, cause });
            }
        }
    }

    /// `Err` with the reasons.
    ///
    /// # Errors
    /// When the process should get no work.
    pub fn verdict(&self) -> Result<(), String> {
        let words = self.state().verdict(Instant::now());
        if words.is_empty() { Ok(()) } else { Err(words) }
    }

    /// Looks at one of the things that are needed, again and again, until `stop` becomes true.
    pub async fn watch<F: Future<Output = Result<(), String>>>(
        self,
        name: &'static str,
        check: impl Fn() -> F,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            let answer = timeout(ANSWER_WITHIN, check()).await;
            self.saw(name, answer.unwrap_or_else(|_| Err(format!("no answer within {ANSWER_WITHIN:?}"))));
            tokio::select! {
                _ = stop.wait_for(|&stop| stop) => return,
                () = sleep(LOOK) => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, Condition> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The three questions. Whoever can reach them needs no token, so they belong on a loopback or pod address.
pub fn router(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(measured).with_state(metrics))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.verdict() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn measured(State(metrics): State<PrometheusHandle>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_away_for_longer_than_the_grace_makes_it_unready_and_its_return_ready() {
        let readiness = Readiness::new(&HealthSettings::default());
        assert_eq!(readiness.verdict().unwrap_err(), "starting\n");
        readiness.started();
        readiness.verdict().unwrap();
        readiness.saw("database", Err("refused".to_owned()));
        readiness.verdict().unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        readiness.saw("database", Err("still refused".to_owned()));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(readiness.verdict().unwrap_err(), "database, for 15 s: still refused\n");
        readiness.saw("database", Ok(()));
        readiness.verdict().unwrap();
        readiness.draining();
        assert_eq!(readiness.verdict().unwrap_err(), "draining\n");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_start_waits_for_is_said_at_once() {
        let readiness = Readiness::new(&HealthSettings::default());
        readiness.saw("Kafka", Err("refused".to_owned()));
        assert_eq!(readiness.verdict().unwrap_err(), "starting\nKafka, for 0 s: refused\n");
    }
}
