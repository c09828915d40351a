//! `GET /renew/v1/nonce` and `POST /renew/v1`: the certificate that a vehicle has, for its next one.
//!
//! The old certificate must be of our authority, not revoked, and not longer expired than the grace; that the vehicle
//! holds its key is proven by a signature over our nonce (`avl_shared::renewal`). The new certificate names the same
//! vehicle, whatever the request says.

use std::sync::Arc;
use std::time::Duration;

use avl_shared::enrolment::EnrolResponse;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::{IdentityError, Validity, VehicleKey};
use avl_shared::renewal::{
    Challenge, NONCE_PATH, PATH, ProofError, REVOKED, RenewRequest, statement, verify,
};
use avl_shared::tls;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;

use super::deny::serial;
use super::issuing::{Issuing, IssuingError, verified_request};
use super::nonce::Nonces;
use super::problem::problem;
use crate::meters;
use crate::time::now_utc;

/// Two certificates and a request: some 3 KB.
const MAX_BODY_BYTES: usize = 32 * 1024;
/// As for enrolment.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(
        "the request cannot be read ({0}): send {{\"certificate\", \"csr\", \"nonce\", \"proof\"}} as JSON, at most 32 KiB"
    )]
    Body(String),
    #[error("the nonce is not of this server or too old: get a new one from {NONCE_PATH} and try again")]
    Nonce,
    #[error("the certificate cannot be read ({0}): send it in PEM, the vehicle's own first")]
    Certificate(String),
    #[error("the certificate is not of this server ({0}): enrol the vehicle again with a new token")]
    Foreign(String),
    #[error(
        "the certificate expired longer ago than it may be renewed: enrol the vehicle again with a new token"
    )]
    TooOld,
    #[error("the certificate is revoked ({0}): enrol the vehicle again with a new token")]
    Revoked(String),
    #[error("the certificate request cannot be used ({0})")]
    Request(String),
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Name(#[from] IdentityError),
    #[error("the certificate could not be made: try again, and see the server's log")]
    Issuing(#[from] IssuingError),
    #[error("the server did not answer in time: try again, and see the server's log")]
    TimedOut,
}

impl RenewError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) | Self::Certificate(_) | Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Nonce => StatusCode::CONFLICT,
            Self::Foreign(_) | Self::TooOld | Self::Revoked(_) | Self::Proof(_) | Self::Name(_) => {
                StatusCode::FORBIDDEN
            }
            Self::Issuing(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Body(_) | Self::Certificate(_) | Self::Request(_) | Self::Name(_) => "malformed",
            Self::Nonce => "nonce",
            Self::Foreign(_) => "foreign",
            Self::TooOld => "too_old",
            Self::Revoked(_) => "revoked",
            Self::Proof(_) => "proof",
            Self::Issuing(_) | Self::TimedOut => "failed",
        }
    }
}

impl IntoResponse for RenewError {
    fn into_response(self) -> Response {
        let kind = match &self {
            Self::Revoked(_) => REVOKED.to_owned(),
            other => format!("urn:avl:problem:renewal-{}", other.label().replace('_', "-")),
        };
        problem(kind, "The certificate was not renewed", self.status(), self.to_string())
    }
}

struct Shared {
    issuing: Arc<Issuing>,
    nonces: Nonces,
}

/// The renewal service.
pub fn router(issuing: Arc<Issuing>) -> Router {
    let shared = Arc::new(Shared { issuing, nonces: Nonces::new() });
    Router::new()
        .route(NONCE_PATH, get(challenge))
        .route(PATH, post(renew))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(shared)
}

async fn challenge(State(shared): State<Arc<Shared>>) -> Json<Challenge> {
    Json(Challenge { nonce: shared.nonces.make(now_utc()) })
}

async fn renew(
    State(shared): State<Arc<Shared>>,
    body: Result<Json<RenewRequest>, JsonRejection>,
) -> Result<Json<EnrolResponse>, RenewError> {
    let answer = async {
        let Json(request) = body.map_err(|error| RenewError::Body(error.body_text()))?;
        // Signing is short; what is waited for is the list.
        let work = tokio::spawn(async move { exchange(&shared, &request, now_utc()).await });
        match tokio::time::timeout(ANSWER_WITHIN, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(RenewError::TimedOut),
        }
    };
    let answer = answer.await;
    let outcome = match &answer {
        Ok(response) => {
            tracing::info!(fleet = response.fleet, vehicle = response.vehicle, "certificate renewed");
            "renewed"
        }
        Err(error) => {
            tracing::warn!(%error, "renewal refused");
            error.label()
        }
    };
    metrics::counter!(meters::RENEWALS, "outcome" => outcome).increment(1);
    answer.map(Json)
}

async fn exchange(
    shared: &Shared,
    request: &RenewRequest,
    now: UtcMillis,
) -> Result<EnrolResponse, RenewError> {
    if !shared.nonces.is_fresh(&request.nonce, now) {
        return Err(RenewError::Nonce);
    }
    let issuing = &shared.issuing;
    let leaf = CertificateDer::from_pem_slice(request.certificate.as_bytes())
        .map_err(|error| RenewError::Certificate(error.to_string()))?;
    let validity = Validity::of(&leaf)?;
    check_signature(issuing, &leaf, validity, now)?;
    let grace = i64::try_from(issuing.settings.renewal_grace.as_millis()).unwrap_or(i64::MAX);
    if now > validity.not_after.saturating_add(grace) {
        return Err(RenewError::TooOld);
    }
    let vehicle = VehicleKey::from_certificate(&leaf)?;
    let csr = verified_request(&request.csr).map_err(RenewError::Request)?;
    let csr_der = rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(request.csr.as_bytes())
        .map_err(|error| RenewError::Request(error.to_string()))?;
    let proof = STANDARD.decode(&request.proof).map_err(|_| ProofError::Wrong)?;
    verify(&leaf, &statement(&leaf, &csr_der, &request.nonce), &proof)?;
    // Last, so that only who holds the key learns that it is revoked, and as late as possible.
    let revoked = issuing.certificates.reason(&vehicle, &serial(&leaf)).await.map_err(IssuingError::from)?;
    if let Some(reason) = revoked {
        return Err(RenewError::Revoked(reason));
    }
    let certificate = issuing.issue(&vehicle, &csr).await.inspect_err(|error| {
        tracing::error!(%error, "certificate cannot be made");
    })?;
    Ok(EnrolResponse {
        certificate,
        ca: issuing.authority.certificate_pem().to_owned(),
        fleet: vehicle.fleet.to_string(),
        vehicle: vehicle.vehicle.to_string(),
    })
}

/// As at a handshake, at the last moment at which the certificate was valid.
fn check_signature(
    issuing: &Issuing,
    leaf: &CertificateDer<'_>,
    validity: Validity,
    now: UtcMillis,
) -> Result<(), RenewError> {
    let foreign = |cause: &dyn std::fmt::Display| RenewError::Foreign(cause.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(issuing.authority.certificate().clone()).map_err(|error| foreign(&error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .build()
        .map_err(|error| foreign(&error))?;
    let at = u64::try_from(now.min(validity.not_after) / 1000).unwrap_or(0);
    verifier
        .verify_client_cert(leaf, &[], UnixTime::since_unix_epoch(Duration::from_secs(at)))
        .map(drop)
        .map_err(|error| foreign(&error))
}
