//! Enrolment: the key is made here and never leaves; the cloud signs it in exchange for a single-use token.
//!
//! The token carries the fingerprint of the fleet's CA, so the first contact is already verified: a server that
//! cannot show that CA gets nothing, and what it answers is believed only as far as that CA signed it. Token and
//! address come from the command line or as an [`invitation`] from a QR code or a stick.

pub mod invitation;
pub(crate) mod issued;

use std::io;
use std::sync::Arc;

use avl_shared::enrolment::{EnrolRequest, EnrolResponse, EnrolmentToken, Fingerprint, PATH};
use avl_shared::identity::VehicleKey;
use avl_shared::tls;
use http::StatusCode;
use rustls::CertificateError;

use crate::clock::Clock;
use crate::https::{HttpsError, Target};
use crate::identity::{IdentityFiles, KeyError, Keys, parse_certificates};

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error(transparent)]
    Https(#[from] HttpsError),
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
    #[error("the cloud refused ({status}): {detail}")]
    Refused { status: StatusCode, detail: String },
    #[error("the certificate in the answer is unusable: {0}: enrol again with a new token")]
    BadCertificate(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot make a certificate request: {0}")]
    Request(#[from] rcgen::Error),
}

/// What the cloud gave, verified, not yet stored.
#[derive(Debug)]
pub struct Enrolled {
    pub vehicle: VehicleKey,
    /// Or where it is.
    pub key: String,
    pub certificate_pem: String,
    pub authorities_pem: String,
    /// Where: the certificate is renewed there as well.
    pub url: String,
}

impl Enrolled {
    #[must_use]
    pub fn files(&self) -> IdentityFiles<'_> {
        IdentityFiles {
            key: &self.key,
            certificate: &self.certificate_pem,
            authorities: &self.authorities_pem,
            url: Some(&self.url),
        }
    }
}

/// Makes a key, has it signed, and verifies what came back.
///
/// # Errors
/// See [`EnrolError`]. Nothing was stored; a token that the cloud has seen may be used up.
pub async fn enrol(
    url: &str,
    token: &EnrolmentToken,
    keys: &Keys,
    clock: &Clock,
) -> Result<Enrolled, EnrolError> {
    let target = Target::parse(url)?;
    let key = keys.generate().await?;
    let request = EnrolRequest { token: token.to_string(), csr: key.request.pem()? };
    let answer = ask(&target, &request, token.ca, clock).await?;
    let bad = EnrolError::BadCertificate;
    let authorities = parse_certificates(answer.ca.as_bytes()).map_err(bad)?;
    let pinned = authorities
        .into_iter()
        .find(|authority| Fingerprint::of(authority) == token.ca)
        .ok_or_else(|| bad("the CA of the token is not among the authorities".to_owned()))?;
    let vehicle = issued::check(&answer, &key.signing, &[pinned], clock).map_err(bad)?;
    Ok(Enrolled {
        vehicle,
        key: key.stored,
        certificate_pem: answer.certificate,
        authorities_pem: answer.ca,
        url: url.trim().to_owned(),
    })
}

async fn ask(
    target: &Target,
    request: &EnrolRequest,
    pin: Fingerprint,
    clock: &Clock,
) -> Result<EnrolResponse, EnrolError> {
    let address = target.address();
    let bad_answer =
        |cause: &dyn ToString| HttpsError::BadAnswer { address: target.address(), cause: cause.to_string() };
    let config =
        tls::enrolment_client_at(pin, Arc::new(clock.clone())).map_err(|error| bad_answer(&error))?;
    let body = serde_json::to_vec(request).map_err(|error| bad_answer(&error))?;
    let answer =
        target.exchange(config, PATH, Some(body)).await.map_err(|error| judge(error, &target.host, pin))?;
    if answer.status.is_success() {
        return Ok(answer.read(address)?);
    }
    let (_, detail) = answer.problem();
    Err(EnrolError::Refused { status: answer.status, detail })
}

/// What a failed handshake means to the installer.
fn judge(error: HttpsError, host: &str, pin: Fingerprint) -> EnrolError {
    let HttpsError::Handshake { address, error } = error else { return error.into() };
    let cause = match tls_error(&error) {
        Some(rustls::Error::InvalidCertificate(cause)) => cause.clone(),
        _ => return HttpsError::Handshake { address, error }.into(),
    };
    match cause {
        CertificateError::UnknownIssuer => EnrolError::WrongAuthority { address, pin: pin.to_string() },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            EnrolError::WrongName { host: host.to_owned() }
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => EnrolError::Clock { cause: cause.to_string() },
        _ => HttpsError::Handshake { address, error }.into(),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests;
