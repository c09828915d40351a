//! `POST /enrol/v1`: a token and a key in, a certificate out.

use std::sync::Arc;
use std::time::Duration;

use avl_shared::enrolment::{EnrolRequest, EnrolResponse, EnrolmentToken, PATH};
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::issuing::{Issuing, IssuingError, verified_request};
use super::problem::problem;
use super::tokens::{TokenError, Tokens};
use crate::meters;
use crate::time::now_utc;

/// A token and a request for one certificate: some 700 bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// A request signs twice and writes once; a slower disk than this is broken.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum EnrolError {
    #[error("the request cannot be read ({0}): send {{\"token\", \"csr\"}} as JSON, at most 16 KiB")]
    Body(String),
    #[error("{0}")]
    Token(String),
    #[error(
        "the token was made by another server: check --url, or make a token with 'avl-cloud token' on this server"
    )]
    OtherServer,
    #[error(
        "the certificate request cannot be used ({0}): send a PKCS#10 request in PEM with an ECDSA P-256, P-384 or Ed25519 key"
    )]
    Request(String),
    #[error(transparent)]
    Refused(#[from] TokenError),
    #[error(
        "the certificate could not be made; the token is still good: try again, and see the server's log"
    )]
    Signing(IssuingError),
    #[error("the server did not answer in time; try again, and see the server's log")]
    TimedOut,
}

impl EnrolError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) | Self::Token(_) | Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::OtherServer
            | Self::Refused(TokenError::Unknown | TokenError::Expired | TokenError::Used) => {
                StatusCode::FORBIDDEN
            }
            Self::Refused(_) | Self::Signing(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Body(_) | Self::Token(_) | Self::Request(_) => "malformed",
            Self::OtherServer => "other_server",
            Self::Refused(TokenError::Unknown) => "unknown",
            Self::Refused(TokenError::Expired) => "expired",
            Self::Refused(TokenError::Used) => "used",
            Self::Refused(_) | Self::Signing(_) | Self::TimedOut => "failed",
        }
    }
}

impl IntoResponse for EnrolError {
    fn into_response(self) -> Response {
        let status = self.status();
        // What failed inside the server goes to its log, not to a stranger.
        let detail = match &self {
            Self::Refused(TokenError::Storage(_)) => {
                "the token could not be checked: try again, and see the server's log".to_owned()
            }
            error => error.to_string(),
        };
        let kind = format!("urn:avl:problem:enrolment-{}", self.label().replace('_', "-"));
        problem(kind, "The vehicle was not enrolled", status, detail)
    }
}

struct Shared {
    issuing: Arc<Issuing>,
    tokens: Tokens,
}

/// The enrolment service.
pub fn router(issuing: Arc<Issuing>, tokens: Tokens) -> Router {
    let shared = Arc::new(Shared { issuing, tokens });
    Router::new().route(PATH, post(enrol)).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(shared)
}

async fn enrol(
    State(shared): State<Arc<Shared>>,
    body: Result<Json<EnrolRequest>, JsonRejection>,
) -> Result<Json<EnrolResponse>, EnrolError> {
    let answer = async {
        let Json(request) = body.map_err(|error| EnrolError::Body(error.body_text()))?;
        // In a task of its own: a gateway that hangs up does not stop it half-way.
        let work = tokio::spawn(async move { admit(&shared, &request).await });
        match tokio::time::timeout(ANSWER_WITHIN, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(EnrolError::TimedOut),
        }
    };
    let answer = answer.await;
    let outcome = match &answer {
        Ok(response) => {
            tracing::info!(fleet = response.fleet, vehicle = response.vehicle, "vehicle enrolled");
            "enrolled"
        }
        Err(error) => {
            tracing::warn!(%error, "enrolment refused");
            error.label()
        }
    };
    metrics::counter!(meters::ENROLMENTS, "outcome" => outcome).increment(1);
    answer.map(Json)
}

/// The token is used up last: whatever fails before leaves it good. Of two requests with one token both may have a
/// certificate made, and one is given its own; the other's goes nowhere.
async fn admit(shared: &Shared, request: &EnrolRequest) -> Result<EnrolResponse, EnrolError> {
    let token: EnrolmentToken = request
        .token
        .parse()
        .map_err(|error: avl_shared::enrolment::BadToken| EnrolError::Token(error.to_string()))?;
    if token.ca != shared.issuing.authority.fingerprint() {
        return Err(EnrolError::OtherServer);
    }
    let csr = verified_request(&request.csr).map_err(EnrolError::Request)?;
    let vehicle = shared.tokens.look_up(&token, now_utc()).await?;
    let certificate = shared.issuing.issue(&vehicle, &csr).await.map_err(|error| {
        tracing::error!(%error, "certificate cannot be made");
        EnrolError::Signing(error)
    })?;
    let vehicle = shared.tokens.redeem(&token, now_utc()).await?;
    Ok(EnrolResponse {
        certificate,
        ca: shared.issuing.authority.certificate_pem().to_owned(),
        fleet: vehicle.fleet.to_string(),
        vehicle: vehicle.vehicle.to_string(),
    })
}
