//! Metrics and logs of requests. Neither holds a query string or a header: a sign-in code or a token could be in it.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// From a cached answer to the answer limit.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Histogram samples wait in memory until they are folded in; a scrape does it too.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Makes this process record its metrics. Once a process, inside a runtime.
///
/// # Errors
/// When a recorder is already installed.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    describe_counter!("avl_http_requests_total", "Requests answered, by method, route and status");
    describe_histogram!(
        "avl_http_request_duration_seconds",
        Unit::Seconds,
        "Until an answer begins, by route"
    );
    describe_gauge!("avl_live_viewers", "Viewers of the live stream");
    describe_counter!(
        "avl_live_frames_total",
        "Frames of the live stream, each counted once for all viewers"
    );
    describe_counter!("avl_live_resyncs_total", "Viewers that fell behind and got a new snapshot");
    describe_counter!(
        "avl_live_viewers_shed_total",
        "Viewers disconnected because they did not read or answer"
    );
    // A series that begins at 1 does not increase, and no alert would see it.
    for name in ["avl_live_frames_total", "avl_live_resyncs_total", "avl_live_viewers_shed_total"] {
        metrics::counter!(name).increment(0);
    }
    metrics::gauge!("avl_live_viewers").set(0.0);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

pub(crate) async fn record(request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let method = request.method().clone();
    // The route's pattern, not the path: vehicle names would make a series each.
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), begin.elapsed());
    let labels = [("method", method.to_string()), ("route", route.clone()), ("status", status.to_string())];
    metrics::counter!("avl_http_requests_total", &labels).increment(1);
    metrics::histogram!("avl_http_request_duration_seconds", "route" => route.clone()).record(took);
    tracing::debug!(%method, route, status, took_ms = took.as_millis(), "request");
    response
}
