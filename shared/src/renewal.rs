//! How a vehicle gets its next certificate, also when the last one has expired while it was offline.
//!
//! `GET {url}/renew/v1/nonce` is answered by a [`Challenge`]; `POST {url}/renew/v1` with a [`RenewRequest`] by an
//! [`crate::enrolment::EnrolResponse`], or by a problem document (RFC 9457). The connection is HTTPS without a client
//! certificate, because TLS would refuse an expired one: instead the vehicle signs, with the key of the certificate that it
//! has, a statement that binds that certificate, the request for the new one and the server's nonce. A new key is
//! made for each renewal.

use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, UnparsedPublicKey};
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

pub const PATH: &str = "/renew/v1";
pub const NONCE_PATH: &str = "/renew/v1/nonce";

/// The problem type of a refusal that only a person can lift: the vehicle stops asking for a while.
pub const REVOKED: &str = "urn:avl:problem:renewal-revoked";

/// Nothing else that these keys sign begins like this; TLS 1.3 signatures begin with 64 spaces.
const CONTEXT: &[u8] = b"avl renewal v1\0";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// Opaque; good for some minutes.
    pub nonce: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewRequest {
    /// The certificate that the vehicle has, PEM, leaf first. It may have expired.
    pub certificate: String,
    /// PKCS#10 of the new key, PEM. Its subject is ignored: the vehicle stays who it is.
    pub csr: String,
    pub nonce: String,
    /// Signature over the [`statement`] by the certificate's key, base64 (standard alphabet).
    pub proof: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("the certificate cannot be parsed ({0})")]
    Certificate(String),
    #[error("the certificate's key is of a kind that is not accepted")]
    Algorithm,
    #[error("the key cannot sign: {0}")]
    Signing(String),
    #[error("the proof was not made by the certificate's key for this request")]
    Wrong,
}

/// What is signed: SHA-256 of certificate and request (DER), and of the nonce as it was sent.
#[must_use]
pub fn statement(certificate: &[u8], csr: &[u8], nonce: &str) -> Vec<u8> {
    let mut text = CONTEXT.to_vec();
    for part in [certificate, csr, nonce.as_bytes()] {
        text.extend_from_slice(digest(&SHA256, part).as_ref());
    }
    text
}

/// Signs a statement with the key of the present certificate.
///
/// # Errors
/// When the key is unusable.
pub fn prove(key: &dyn SigningKey, statement: &[u8]) -> Result<Vec<u8>, ProofError> {
    let failed = |error: rustls::Error| ProofError::Signing(error.to_string());
    let schemes = [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ED25519,
    ];
    key.choose_scheme(&schemes).ok_or(ProofError::Algorithm)?.sign(statement).map_err(failed)
}

/// Checks that the key of `certificate` (DER) made the proof.
///
/// # Errors
/// [`ProofError`] says why it did not.
pub fn verify(certificate: &[u8], statement: &[u8], proof: &[u8]) -> Result<(), ProofError> {
    // OIDs of RFC 5480, section 2.1.1, and RFC 8410, section 3.
    const P256: &str = "1.2.840.10045.3.1.7";
    const P384: &str = "1.3.132.0.34";
    const ED25519_KEY: &str = "1.3.101.112";
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| ProofError::Certificate(error.to_string()))?;
    let key = certificate.public_key();
    let bytes = key.subject_public_key.data.as_ref();
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let curve = curve.map_or_else(|| key.algorithm.algorithm.to_id_string(), |curve| curve.to_id_string());
    let verified = match curve.as_str() {
        P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, bytes).verify(statement, proof),
        P384 => UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, bytes).verify(statement, proof),
        ED25519_KEY => UnparsedPublicKey::new(&ED25519, bytes).verify(statement, proof),
        _ => return Err(ProofError::Algorithm),
    };
    verified.map_err(|_| ProofError::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivateKeyDer;

    fn signed_by(algorithm: &'static rcgen::SignatureAlgorithm) -> (Vec<u8>, Arc<dyn SigningKey>) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (certificate.der().to_vec(), crate::tls::signing_key(key).unwrap())
    }

    #[test]
    fn the_proof_binds_certificate_request_and_nonce() {
        for algorithm in
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
        {
            let (certificate, key) = signed_by(algorithm);
            let (other, _) = signed_by(algorithm);
            let proof = prove(&*key, &statement(&certificate, b"csr", "nonce")).unwrap();
            assert_eq!(verify(&certificate, &statement(&certificate, b"csr", "nonce"), &proof), Ok(()));
            for wrong in [
                statement(&certificate, b"csr", "other"),
                statement(&certificate, b"another", "nonce"),
                statement(&other, b"csr", "nonce"),
            ] {
                assert_eq!(verify(&certificate, &wrong, &proof), Err(ProofError::Wrong));
            }
            assert_eq!(
                verify(&other, &statement(&certificate, b"csr", "nonce"), &proof),
                Err(ProofError::Wrong)
            );
        }
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        assert_ne!(statement(b"ab", b"c", "d"), statement(b"a", b"bc", "d"));
    }

    #[test]
    fn garbage_is_no_certificate() {
        assert!(matches!(verify(b"junk", b"", b""), Err(ProofError::Certificate(_))));
    }
}
