//! One attempt to get the next certificate: a new key, a proof by the old one, and what comes back checked and stored.

use std::path::Path;
use std::sync::Arc;

use avl_shared::enrolment::{EnrolResponse, Fingerprint};
use avl_shared::identity::Validity;
use avl_shared::renewal::{self, Challenge, NONCE_PATH, PATH, ProofError, REVOKED, RenewRequest};
use avl_shared::tls::{self, TrustedTime};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use rustls::pki_types::CertificateDer;

use super::files::{certificates_text, store};
use super::{Identity, IdentityFiles, KeyError, Keys, StoredIdentityError, parse_certificates};
use crate::clock::Clock;
use crate::enrol::issued;
use crate::https::{HttpsError, Target};

/// Old and new authorities are trusted side by side while a fleet changes from one to the other; more than this many is
/// no rotation.
const MAX_AUTHORITIES: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("the cloud does not renew this certificate ({status}): {detail}")]
    Refused { status: StatusCode, kind: String, detail: String },
    #[error("the renewed certificate is unusable and was not stored: {0}")]
    BadCertificate(String),
    #[error("cannot prove who this gateway is: {0}: enrol again with --force")]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot make a certificate request: {0}")]
    Request(#[from] rcgen::Error),
    #[error(transparent)]
    Store(#[from] StoredIdentityError),
}

impl RenewalError {
    /// Whether only a person can change the answer.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Refused { status, kind, .. } => kind == REVOKED || *status == StatusCode::FORBIDDEN,
            _ => false,
        }
    }
}

/// Renews at `url` and stores the result in place of the old identity.
pub(super) async fn renew(
    url: &str,
    state_dir: &Path,
    identity: &Identity,
    keys: &Keys,
    clock: &Clock,
) -> Result<(), RenewalError> {
    let outcome = attempt(url, state_dir, identity, keys, clock).await;
    keys.tidy(state_dir).await;
    outcome
}

async fn attempt(
    url: &str,
    state_dir: &Path,
    identity: &Identity,
    keys: &Keys,
    clock: &Clock,
) -> Result<(), RenewalError> {
    let target = Target::parse(url)?;
    let leaf = identity
        .credentials
        .chain
        .first()
        .ok_or_else(|| RenewalError::BadCertificate("there is none to renew".to_owned()))?;
    let challenge: Challenge = ask(&target, identity, clock, NONCE_PATH, None).await?;
    let key = keys.generate().await?;
    let statement = renewal::statement(leaf, key.request.der(), &challenge.nonce);
    let proof = STANDARD.encode(renewal::prove(&*identity.credentials.key, &statement)?);
    let certificate = certificates_text(&identity.credentials.chain);
    let request = RenewRequest { certificate, csr: key.request.pem()?, nonce: challenge.nonce, proof };
    let answer: EnrolResponse = ask(&target, identity, clock, PATH, Some(&request)).await?;

    let bad = RenewalError::BadCertificate;
    let told = parse_certificates(answer.ca.as_bytes()).map_err(bad)?;
    let authorities = merge(told, &identity.authorities, clock);
    let vehicle = issued::check(&answer, &key.signing, &authorities, clock).map_err(bad)?;
    if vehicle != identity.vehicle {
        return Err(bad(format!("it names {vehicle} instead of {}", identity.vehicle)));
    }
    let files = IdentityFiles {
        key: &key.stored,
        certificate: &answer.certificate,
        authorities: &certificates_text(&authorities),
        url: Some(url),
    };
    Ok(store(state_dir, &files)?)
}

async fn ask<T: serde::de::DeserializeOwned>(
    target: &Target,
    identity: &Identity,
    clock: &Clock,
    path: &str,
    request: Option<&RenewRequest>,
) -> Result<T, RenewalError> {
    let bad_answer =
        |cause: &dyn ToString| HttpsError::BadAnswer { address: target.address(), cause: cause.to_string() };
    let time: Arc<dyn TrustedTime> = Arc::new(clock.clone());
    let (config, _) = tls::https_client(&identity.authorities, time).map_err(|error| bad_answer(&error))?;
    let body = request.map(serde_json::to_vec).transpose().map_err(|error| bad_answer(&error))?;
    let answer = target.exchange(config, path, body).await?;
    if answer.status.is_success() {
        return Ok(answer.read(target.address())?);
    }
    let (kind, detail) = answer.problem();
    Err(RenewalError::Refused { status: answer.status, kind, detail })
}

/// What the cloud names now, then what was trusted before and has not expired.
fn merge(
    told: Vec<CertificateDer<'static>>,
    before: &[CertificateDer<'static>],
    clock: &Clock,
) -> Vec<CertificateDer<'static>> {
    let now = clock.now();
    let lives = |der: &CertificateDer<'static>| {
        now.is_none_or(|now| Validity::of(der).is_ok_and(|validity| validity.not_after >= now))
    };
    let mut all = told;
    all.extend(before.iter().filter(|der| lives(der)).cloned());
    let mut seen = Vec::new();
    all.retain(|der| {
        let fingerprint = Fingerprint::of(der);
        let fresh = !seen.contains(&fingerprint);
        seen.push(fingerprint);
        fresh
    });
    all.truncate(MAX_AUTHORITIES);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn authority(until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn old_and_new_authorities_are_trusted_side_by_side_and_expired_ones_go() {
        let (old, new, expired) = (authority(2040), authority(2040), authority(2021));
        let clock = Clock::at_once();
        let merged = merge(vec![new.clone()], &[old.clone(), expired, new.clone()], &clock);
        assert_eq!(merged, [new, old]);
    }
}
