//! Enrolment: the key is made here and never leaves; the cloud signs it in exchange for a single-use token.
//!
//! The token carries the fingerprint of the fleet's CA, so the first contact is already verified: a server that
//! cannot show that CA gets nothing, and what it answers is believed only as far as that CA signed it.

use std::io;
use std::time::Duration;

use avl_shared::enrolment::{EnrolRequest, EnrolResponse, EnrolmentToken, Fingerprint, PATH};
use avl_shared::identity::{IdentityError, VehicleKey};
use avl_shared::tls;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::identity::{IdentityFiles, parse_certificates};

/// For the whole exchange. An installer is waiting.
const PATIENCE: Duration = Duration::from_secs(30);
/// Three certificates are some 3 KB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("{url:?} is not an address to enrol at: write it as in https://gateway.example.com:7443")]
    BadUrl { url: String },
    #[error(
        "cannot reach {address}: {cause}: check the address, that 'avl-cloud' is running there, and that TCP gets through"
    )]
    Unreachable { address: String, cause: String },
    #[error("no answer from {address} within {} s: check that TCP gets through to it, and try again", PATIENCE.as_secs())]
    TimedOut { address: String },
    #[error(
        "the server at {address} does not show the CA that the token was made for (fingerprint {pin}): the token is from another cloud, or something stands in between; check --url, and make a new token if the cloud was set up anew"
    )]
    WrongAuthority { address: String, pin: String },
    #[error(
        "the server's certificate is not valid for the name {host}: use a name it has, or start 'avl-cloud all' with --name {host}"
    )]
    WrongName { host: String },
    #[error("the server's certificate is not valid at this time ({cause}): check this gateway's clock")]
    Clock { cause: String },
    #[error("TLS with {address} failed: {cause}")]
    Tls { address: String, cause: String },
    #[error("the cloud refused ({status}): {detail}")]
    Refused { status: StatusCode, detail: String },
    #[error("the answer of {address} is not an enrolment ({cause}): check that --url points to avl-cloud")]
    BadAnswer { address: String, cause: String },
    #[error("the certificate in the answer is unusable: {0}: enrol again with a new token")]
    BadCertificate(String),
    #[error(transparent)]
    Name(#[from] IdentityError),
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
}

/// What the cloud gave, verified, not yet stored.
#[derive(Debug)]
pub struct Enrolled {
    pub vehicle: VehicleKey,
    pub key_pem: String,
    pub certificate_pem: String,
    pub authorities_pem: String,
}

impl Enrolled {
    #[must_use]
    pub fn files(&self) -> IdentityFiles<'_> {
        IdentityFiles {
            key: &self.key_pem,
            certificate: &self.certificate_pem,
            authorities: &self.authorities_pem,
        }
    }
}

/// Makes a key, has it signed, and verifies what came back.
///
/// # Errors
/// See [`EnrolError`]. Nothing was stored; a token that the cloud has seen may be used up.
pub async fn enrol(url: &str, token: &EnrolmentToken) -> Result<Enrolled, EnrolError> {
    let target = Target::parse(url)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    // The subject is ignored: the token decides which vehicle this is.
    let csr = CertificateParams::default().serialize_request(&key)?.pem()?;
    let request = EnrolRequest { token: token.to_string(), csr };
    let answer = timeout(PATIENCE, target.post(&request, token.ca))
        .await
        .map_err(|_| EnrolError::TimedOut { address: target.address() })??;
    let vehicle = verify(&answer, &key, token.ca)?;
    Ok(Enrolled {
        vehicle,
        key_pem: key.serialize_pem(),
        certificate_pem: answer.certificate,
        authorities_pem: answer.ca,
    })
}

/// The certificate must be for our key, signed by the pinned CA for client authentication, and name a vehicle.
fn verify(answer: &EnrolResponse, key: &KeyPair, pin: Fingerprint) -> Result<VehicleKey, EnrolError> {
    let bad = EnrolError::BadCertificate;
    let chain = parse_certificates(answer.certificate.as_bytes()).map_err(bad)?;
    let authorities = parse_certificates(answer.ca.as_bytes()).map_err(bad)?;
    let pinned: &CertificateDer<'static> = authorities
        .iter()
        .find(|authority| Fingerprint::of(authority) == pin)
        .ok_or_else(|| bad("the CA of the token is not among the authorities".to_owned()))?;
    let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| bad(error.to_owned()))?;
    rustls::sign::CertifiedKey::from_der(chain.clone(), private, &tls::provider())
        .map_err(|error| bad(format!("it does not belong to the key made here ({error})")))?;
    let mut roots = RootCertStore::empty();
    roots.add(pinned.clone()).map_err(|error| bad(error.to_string()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), tls::provider())
        .build()
        .map_err(|error| bad(error.to_string()))?;
    let (leaf, intermediates) = chain.split_first().ok_or_else(|| bad("no certificate in it".to_owned()))?;
    verifier
        .verify_client_cert(leaf, intermediates, UnixTime::now())
        .map_err(|error| bad(error.to_string()))?;
    let vehicle = VehicleKey::from_certificate(leaf)?;
    let said = VehicleKey { fleet: answer.fleet.parse()?, vehicle: answer.vehicle.parse()? };
    if vehicle == said {
        Ok(vehicle)
    } else {
        Err(bad(format!("it names {vehicle}, the answer names {said}")))
    }
}

struct Target {
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, EnrolError> {
        let bad = || EnrolError::BadUrl { url: url.to_owned() };
        let uri: Uri = url.trim().parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("https") {
            return Err(bad());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(443),
            path: format!("{}{PATH}", uri.path().trim_end_matches('/')),
        })
    }

    fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    async fn post(&self, request: &EnrolRequest, pin: Fingerprint) -> Result<EnrolResponse, EnrolError> {
        let bad_answer = |cause: String| EnrolError::BadAnswer { address: self.address(), cause };
        let stream = self.connect(pin).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| bad_answer(error.to_string()))?;
        // Ends with the exchange; its errors show up in the exchange as well.
        let connection = tokio::spawn(connection);
        let body = serde_json::to_vec(request).map_err(|error| bad_answer(error.to_string()))?;
        let request = Request::post(&self.path)
            .header(HOST, self.address())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| EnrolError::BadUrl { url: self.path.clone() })?;
        let response = sender.send_request(request).await.map_err(|error| bad_answer(error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| bad_answer(error.to_string()))?
            .to_bytes();
        connection.abort();
        if status.is_success() {
            serde_json::from_slice(&body).map_err(|error| bad_answer(error.to_string()))
        } else {
            Err(EnrolError::Refused { status, detail: problem_detail(&body) })
        }
    }

    async fn connect(
        &self,
        pin: Fingerprint,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, EnrolError> {
        let address = self.address();
        let config = tls::enrolment_client(pin)
            .map_err(|error| EnrolError::Tls { address: address.clone(), cause: error.to_string() })?;
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| EnrolError::BadUrl { url: format!("https://{address}") })?;
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| {
            EnrolError::Unreachable { address: address.clone(), cause: error.to_string() }
        })?;
        TlsConnector::from(std::sync::Arc::new(config))
            .connect(name, tcp)
            .await
            .map_err(|error| self.judge(&error, pin))
    }

    /// What a failed handshake means to the installer.
    fn judge(&self, error: &io::Error, pin: Fingerprint) -> EnrolError {
        let address = self.address();
        let tls_error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls_error {
            Some(rustls::Error::InvalidCertificate(cause)) => match cause {
                CertificateError::UnknownIssuer => {
                    EnrolError::WrongAuthority { address, pin: pin.to_string() }
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    EnrolError::WrongName { host: self.host.clone() }
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => {
                    EnrolError::Clock { cause: cause.to_string() }
                }
                other => EnrolError::Tls { address, cause: other.to_string() },
            },
            _ => EnrolError::Tls { address, cause: error.to_string() },
        }
    }
}

/// The `detail` of a problem document (RFC 9457), or the start of whatever came instead.
fn problem_detail(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: Option<String>,
        title: Option<String>,
    }
    serde_json::from_slice::<Problem>(body)
        .ok()
        .and_then(|problem| problem.detail.or(problem.title))
        .unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(200).collect())
}

#[cfg(test)]
#[path = "enrol_tests.rs"]
mod tests;
