//! For operators and for the page's first request: health, metrics, configuration, the API's own description.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{ApiError, Problem};
use super::state::ApiState;
use crate::journal::Partition;

/// An orchestrator probes every few seconds and gives up after one.
const READY_WITHIN: Duration = Duration::from_millis(800);

/// Is the process alive
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    operation_id = "healthz",
    security(()),
    responses((status = 200, description = "It answers", body = String, content_type = "text/plain"))
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Can it serve: the store answers and the server is not shutting down
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    operation_id = "readyz",
    security(()),
    responses(
        (status = 200, description = "It can", body = String, content_type = "text/plain"),
        (status = 503, description = "It cannot, and why", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn readyz(State(state): State<ApiState>) -> Result<&'static str, ApiError> {
    if *state.draining.borrow() {
        return Err(ApiError::Draining);
    }
    match tokio::time::timeout(READY_WITHIN, state.store.next_offset(Partition::FIRST)).await {
        Ok(Ok(_)) => Ok("ready\n"),
        Ok(Err(error)) => Err(ApiError::Store(error)),
        Err(_) => Err(ApiError::TimedOut(1)),
    }
}

/// Metrics in the Prometheus text format
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    operation_id = "metrics",
    responses((status = 200, description = "All metrics of this process", body = String, content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(state): State<ApiState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
        .into_response()
}

/// What the page must know before anybody has signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageConfig {
    /// Version of the server.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Raster tile template for the map; `null`: use the map that is built into the page.
    #[schema(example = "https://tiles.example.com/{z}/{x}/{y}.png")]
    tile_url: Option<String>,
    /// The attribution to show with the tiles, as plain text.
    #[schema(example = "© OpenStreetMap contributors")]
    tile_attribution: Option<String>,
}

/// Configuration of the web page
#[utoipa::path(
    get,
    path = "/api/v1/config",
    tag = "operation",
    operation_id = "getConfig",
    security(()),
    responses((status = 200, description = "The configuration; it holds nothing secret", body = PageConfig))
)]
pub(crate) async fn config(State(state): State<ApiState>) -> Json<PageConfig> {
    Json(PageConfig {
        version: env!("CARGO_PKG_VERSION"),
        tile_url: state.settings.tile_url.clone(),
        tile_attribution: state.settings.tile_attribution.clone(),
    })
}

/// This API as an OpenAPI 3.1 document
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "operation",
    operation_id = "getOpenApi",
    responses((status = 200, description = "The document", body = Object))
)]
pub(crate) async fn openapi() -> Response {
    Json(super::router::openapi()).into_response()
}
