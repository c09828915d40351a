//! What can go wrong with a request, and how it is told: `application/problem+json` (RFC 9457).
//!
//! Every `detail` names the thing, the cause and the cure. Causes inside the server go to its log, not to the client.

use avl_shared::identity::{IdentityError, VehicleKey};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::fleet::control::ControlError;
use crate::store::StoreError;

/// The media type of every error.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What a client waits before it tries again after a 503.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// An error, as RFC 9457 shapes it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A stable name for programs, such as `urn:avl:problem:unknown-vehicle`.
    #[serde(rename = "type")]
    #[schema(example = "urn:avl:problem:unknown-vehicle")]
    pub(crate) kind: String,
    /// The kind of problem in a few words; the same for every occurrence.
    pub(crate) title: &'static str,
    /// The HTTP status code.
    #[schema(example = 404)]
    pub(crate) status: u16,
    /// This occurrence: what, why, and what to do about it.
    pub(crate) detail: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error(
        "vehicle {0} is not known here: names are listed at /api/v1/vehicles, and a vehicle appears there once it has enrolled and connected"
    )]
    UnknownVehicle(VehicleKey),
    #[error(
        "vehicle {0} has no position yet: it has connected but no fix has arrived; run 'avl-edge doctor' on the gateway if this lasts"
    )]
    NoPosition(VehicleKey),
    #[error("the path does not name a vehicle ({0}): write /api/v1/vehicles/FLEET/VEHICLE")]
    BadVehicleName(#[from] IdentityError),
    #[error("the parameters cannot be read ({0}): see /api/v1/openapi.json for those this address takes")]
    BadParameters(String),
    #[error(
        "{name}={value:?} is not a time ({cause}): write RFC 3339 such as 2026-11-22T08:30:00Z; in a URL the + of an offset is %2B"
    )]
    BadTime { name: &'static str, value: String, cause: String },
    #[error(
        "the period ends before it starts (from {from}, to {to}): swap them; 'from' belongs to the period, 'to' does not"
    )]
    BackwardPeriod { from: String, to: String },
    #[error("format={0:?} is not known: use json, csv or gpx")]
    UnknownFormat(String),
    #[error("limit={value:?} is not a number from 1 to {max}")]
    BadLimit { value: String, max: usize },
    #[error(
        "the cursor cannot be read: pass next_cursor of the page before unchanged, or leave it out to start over"
    )]
    BadCursor,
    #[error(
        "{parameter} has no meaning with format={format}: the whole period is sent; leave it out, or use format=json"
    )]
    NotWithExport { parameter: &'static str, format: &'static str },
    #[error(
        "this address needs credentials: send 'Authorization: Bearer TOKEN' with the token in the file api-token of the data directory, or sign in with the link that 'avl-cloud sign-in' prints"
    )]
    NoCredentials,
    #[error(
        "the API token is not valid here: use the one in the file api-token of this server's data directory"
    )]
    WrongToken,
    #[error(
        "the session has expired or was signed by another server: run 'avl-cloud sign-in' for a new link"
    )]
    BadSession,
    #[error("this needs the API token, a session is not enough: send 'Authorization: Bearer TOKEN'")]
    TokenNeeded,
    #[error(
        "this sign-in link is not valid: it was used, is older than ten minutes, or the server was restarted; run 'avl-cloud sign-in' for a new one"
    )]
    LinkNotValid,
    #[error(
        "this server does not answer to the name {0:?}: use its own address, or add the name to api.hosts in its configuration"
    )]
    WrongHost(String),
    #[error(
        "the request comes from the page of another site ({0}): this server only takes such requests from its own page"
    )]
    CrossOrigin(String),
    #[error("the live stream is a WebSocket ({0}): connect with ws:// or wss://")]
    NotAWebSocket(String),
    #[error("nothing is at {0}: the addresses are listed at /api/v1/openapi.json")]
    NotFound(String),
    #[error("{0} does not take this method: see /api/v1/openapi.json")]
    MethodNotAllowed(String),
    #[error(
        "the server is at its limit of {0}: try again in a moment, or raise the limit in its configuration"
    )]
    Busy(&'static str),
    #[error(
        "the answer took longer than {0} seconds: ask for a shorter period, or try again when the server has less to do"
    )]
    TimedOut(u64),
    #[error("the server is shutting down: connect again in a moment")]
    Draining,
    #[error("the store did not answer: try again; the server's log has the cause")]
    Store(#[from] StoreError),
    #[error("{0}; the body is described at /api/v1/openapi.json")]
    BadOrder(String),
    #[error("command {0} has brought nothing yet, or nothing at all: its state says which")]
    NoResult(String),
    #[error(transparent)]
    Order(#[from] ControlError),
    #[error("the server failed at this request: its log has the cause; please report it")]
    Internal(String),
}

impl ApiError {
    /// Status, stable name, title.
    const fn class(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::UnknownVehicle(_) => (StatusCode::NOT_FOUND, "unknown-vehicle", "Unknown vehicle"),
            Self::NoPosition(_) => (StatusCode::NOT_FOUND, "no-position", "No position yet"),
            Self::BadVehicleName(_) => (StatusCode::BAD_REQUEST, "bad-vehicle-name", "Not a vehicle's name"),
            Self::BadParameters(_) => {
                (StatusCode::BAD_REQUEST, "bad-parameters", "Parameters cannot be read")
            }
            Self::BadTime { .. } => (StatusCode::BAD_REQUEST, "bad-time", "Not a time"),
            Self::BackwardPeriod { .. } => {
                (StatusCode::BAD_REQUEST, "backward-period", "Period ends before it starts")
            }
            Self::UnknownFormat(_) => (StatusCode::BAD_REQUEST, "unknown-format", "Unknown format"),
            Self::BadLimit { .. } => (StatusCode::BAD_REQUEST, "bad-limit", "Not a page size"),
            Self::BadCursor => (StatusCode::BAD_REQUEST, "bad-cursor", "Not a cursor"),
            Self::NotWithExport { .. } => {
                (StatusCode::BAD_REQUEST, "not-with-export", "Parameter not for exports")
            }
            Self::NoCredentials => (StatusCode::UNAUTHORIZED, "no-credentials", "Credentials needed"),
            Self::WrongToken => (StatusCode::UNAUTHORIZED, "wrong-token", "Wrong token"),
            Self::BadSession => (StatusCode::UNAUTHORIZED, "bad-session", "Session not valid"),
            Self::TokenNeeded => (StatusCode::FORBIDDEN, "token-needed", "Token needed"),
            Self::LinkNotValid => (StatusCode::GONE, "link-not-valid", "Sign-in link not valid"),
            Self::WrongHost(_) => (StatusCode::MISDIRECTED_REQUEST, "wrong-host", "Wrong host name"),
            Self::CrossOrigin(_) => (StatusCode::FORBIDDEN, "cross-origin", "Request from another site"),
            Self::NotAWebSocket(_) => (StatusCode::UPGRADE_REQUIRED, "not-a-websocket", "WebSocket needed"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too busy"),
            Self::TimedOut(_) => (StatusCode::SERVICE_UNAVAILABLE, "timed-out", "Took too long"),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining", "Shutting down"),
            Self::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store", "Store unavailable"),
            Self::BadOrder(_) | Self::Order(ControlError::BadConfiguration(_)) => {
                (StatusCode::BAD_REQUEST, "bad-order", "Not an order")
            }
            Self::NoResult(_) => (StatusCode::NOT_FOUND, "no-result", "No result"),
            Self::Order(error) => Self::order_class(error),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    const fn order_class(error: &ControlError) -> (StatusCode, &'static str, &'static str) {
        use crate::fleet::control::releases::ReleaseError;
        match error {
            ControlError::UnknownVehicle(_) => (StatusCode::NOT_FOUND, "unknown-vehicle", "Unknown vehicle"),
            ControlError::UnknownCommand { .. } => {
                (StatusCode::NOT_FOUND, "unknown-command", "Unknown command")
            }
            ControlError::TooMany { .. } => (StatusCode::CONFLICT, "too-many-orders", "Too many orders wait"),
            ControlError::Release(ReleaseError::Unknown(_)) => {
                (StatusCode::NOT_FOUND, "unknown-release", "Unknown release")
            }
            ControlError::Release(ReleaseError::Ambiguous { .. }) | ControlError::BadConfiguration(_) => {
                (StatusCode::BAD_REQUEST, "bad-order", "Not an order")
            }
            _ => (StatusCode::SERVICE_UNAVAILABLE, "store", "Store unavailable"),
        }
    }

    pub(crate) fn problem(&self) -> Problem {
        let (status, name, title) = self.class();
        Problem {
            kind: format!("urn:avl:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
        }
    }
}

impl ApiError {
    /// What failed inside goes to the log, not to the client.
    fn detail(&self) -> String {
        match self {
            Self::Order(_) if self.class().0 == StatusCode::SERVICE_UNAVAILABLE => {
                "orders cannot be read or written now: try again; the server's log has the cause".to_owned()
            }
            error => error.to_string(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match &self {
            Self::Store(error) => tracing::error!(%error, "store failed a request"),
            Self::Order(error) if self.class().0 == StatusCode::SERVICE_UNAVAILABLE => {
                tracing::error!(%error, "store failed an order");
            }
            Self::Internal(cause) => tracing::error!(%cause, "request failed"),
            _ => {}
        }
        let (status, _, _) = self.class();
        let mut response = (status, Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"avl\""));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            }
            _ => {}
        }
        response
    }
}
