//! `POST /enrol/v1`: a token and a key in, a certificate out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use avl_shared::enrolment::{EnrolRequest, EnrolResponse, EnrolmentToken, PATH};
use avl_shared::identity::VehicleKey;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use rcgen::CertificateSigningRequestParams;
use serde::Serialize;

use super::authority::{Authority, AuthorityError};
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
    Signing(AuthorityError),
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

/// RFC 9457.
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
}

impl IntoResponse for EnrolError {
    fn into_response(self) -> Response {
        let status = self.status();
        // What failed inside the server goes to its log, not to a stranger.
        let detail = match &self {
            Self::Refused(TokenError::Open(_) | TokenError::Sqlite(_)) => {
                "the token could not be checked: try again, and see the server's log".to_owned()
            }
            error => error.to_string(),
        };
        let problem = Problem {
            kind: format!("urn:avl:problem:enrolment-{}", self.label().replace('_', "-")),
            title: "The vehicle was not enrolled",
            status: status.as_u16(),
            detail,
        };
        (
            status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            axum::Json(problem).into_response().into_body(),
        )
            .into_response()
    }
}

struct Shared {
    authority: Arc<Authority>,
    tokens: Mutex<Tokens>,
}

/// The enrolment service.
pub fn router(authority: Arc<Authority>, tokens: Tokens) -> Router {
    let shared = Arc::new(Shared { authority, tokens: Mutex::new(tokens) });
    Router::new().route(PATH, post(enrol)).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(shared)
}

async fn enrol(
    State(shared): State<Arc<Shared>>,
    body: Result<Json<EnrolRequest>, JsonRejection>,
) -> Result<Json<EnrolResponse>, EnrolError> {
    let answer = async {
        let Json(request) = body.map_err(|error| EnrolError::Body(error.body_text()))?;
        let work = tokio::task::spawn_blocking(move || admit(&shared, &request));
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

/// The key is looked at before the token, so that a broken request does not use a token up.
fn admit(shared: &Shared, request: &EnrolRequest) -> Result<EnrolResponse, EnrolError> {
    let token: EnrolmentToken = request
        .token
        .parse()
        .map_err(|error: avl_shared::enrolment::BadToken| EnrolError::Token(error.to_string()))?;
    if token.ca != shared.authority.fingerprint() {
        return Err(EnrolError::OtherServer);
    }
    let csr = verified(&request.csr)?;
    let mut signed = None;
    let tokens = shared.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let vehicle = tokens.redeem_with(&token, now_utc(), |vehicle: &VehicleKey| {
        let outcome = shared.authority.issue_vehicle(vehicle, &csr, SystemTime::now());
        let made = outcome.is_ok();
        signed = Some(outcome);
        made
    })?;
    drop(tokens);
    let certificate = match signed {
        Some(Ok(certificate)) => certificate,
        Some(Err(error)) => {
            tracing::error!(%error, "certificate cannot be made");
            return Err(EnrolError::Signing(error));
        }
        None => return Err(EnrolError::TimedOut),
    };
    Ok(EnrolResponse {
        certificate,
        ca: shared.authority.certificate_pem().to_owned(),
        fleet: vehicle.fleet.to_string(),
        vehicle: vehicle.vehicle.to_string(),
    })
}

/// Whoever asks holds the private key: a request is signed with it.
fn verified(pem: &str) -> Result<CertificateSigningRequestParams, EnrolError> {
    let csr = CertificateSigningRequestParams::from_pem(pem)
        .map_err(|error| EnrolError::Request(error.to_string()))?;
    let accepted = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    if accepted.iter().any(|algorithm| *algorithm == csr.public_key.algorithm()) {
        Ok(csr)
    } else {
        Err(EnrolError::Request("its key is of a kind that is not accepted".to_owned()))
    }
}
