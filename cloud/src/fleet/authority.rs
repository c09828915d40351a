//! The built-in certificate authority: one ECDSA P-256 key that signs vehicles and this server.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use avl_shared::enrolment::Fingerprint;
use avl_shared::identity::VehicleKey;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PublicKeyData, RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::data_dir::{exclusively, make_private_dir, write_private};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than a gateway stays in a vehicle without a visit.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Of the server's own certificate; it renews itself.
const SERVER_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Gateways and servers disagree about the time; a certificate made now is valid on a clock a day slow. One that lives
/// for less than a day begins no earlier than its own life ago, or it would be due for renewal at once.
const CLOCK_TOLERANCE: Duration = DAY;
/// A broker that has loaded a list refuses everybody once it has expired, so it lives longer than anybody forgets to
/// make the next.
const CRL_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const KEY_FILE: &str = "key.pem";
const CERTIFICATE_FILE: &str = "certificate.pem";

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("certificate authority in {path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error(
        "certificate authority in {path} has only one of {KEY_FILE} and {CERTIFICATE_FILE}: restore the other from a \
         backup; without the pair every vehicle must enrol again"
    )]
    Incomplete { path: PathBuf },
    #[error(
        "certificate authority in {path} cannot be used ({error}): restore {KEY_FILE} and {CERTIFICATE_FILE} from a backup"
    )]
    Unusable { path: PathBuf, error: String },
    #[error("certificate cannot be made: {0}")]
    Signing(#[from] rcgen::Error),
}

/// A certificate that was just signed.
#[derive(Debug)]
pub struct Signed {
    pub pem: String,
    pub serial: Vec<u8>,
}

/// Holds the authority's key for as long as it lives.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Authority {
    /// Whether a directory has one.
    #[must_use]
    pub fn is_in(directory: &Path) -> bool {
        directory.join(KEY_FILE).exists()
    }

    /// Loads the authority, or makes it. Safe when two processes do so at the same time.
    ///
    /// # Errors
    /// When the files cannot be read or written, or do not belong together. An authority that is there but damaged
    /// is never replaced: that would lock out the fleet.
    pub fn load_or_create(directory: &Path) -> Result<Self, AuthorityError> {
        let at = |error: io::Error| AuthorityError::File { path: directory.to_owned(), error };
        make_private_dir(directory).map_err(at)?;
        let (key_pem, certificate_pem) =
            exclusively(&directory.join("lock"), || -> Result<_, FileOrSigning> {
                let key_path = directory.join(KEY_FILE);
                let certificate_path = directory.join(CERTIFICATE_FILE);
                match (key_path.exists(), certificate_path.exists()) {
                    (true, true) => Ok(Some((
                        std::fs::read_to_string(key_path)?,
                        std::fs::read_to_string(certificate_path)?,
                    ))),
                    (false, false) => {
                        let (key_pem, certificate_pem) = make_authority()?;
                        write_private(&key_path, key_pem.as_bytes())?;
                        write_private(&certificate_path, certificate_pem.as_bytes())?;
                        Ok(Some((key_pem, certificate_pem)))
                    }
                    _ => Ok(None),
                }
            })
            .map_err(|error| match error {
                FileOrSigning::File(error) => at(error),
                FileOrSigning::Signing(error) => AuthorityError::Signing(error),
            })?
            .ok_or_else(|| AuthorityError::Incomplete { path: directory.to_owned() })?;
        Self::from_pem(&key_pem, certificate_pem)
            .map_err(|error| AuthorityError::Unusable { path: directory.to_owned(), error })
    }

    fn from_pem(key_pem: &str, certificate_pem: String) -> Result<Self, String> {
        let key = KeyPair::from_pem(key_pem).map_err(|error| error.to_string())?;
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|error| error.to_string())?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|error| error.to_string())?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err("the key is not the certificate's".to_owned());
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| error.to_string())?;
        Ok(Self { issuer, certificate, pem: certificate_pem })
    }

    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Signs the public key of a certificate request for `vehicle`. Nothing else in the request counts.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn issue_vehicle(
        &self,
        vehicle: &VehicleKey,
        request: &CertificateSigningRequestParams,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Signed, AuthorityError> {
        let mut params = leaf(&vehicle.to_string(), ExtendedKeyUsagePurpose::ClientAuth, now, lifetime)?;
        params.subject_alt_names = vec![SanType::URI(vehicle.uri().try_into()?)];
        let certificate = params.signed_by(&request.public_key, &self.issuer)?;
        Ok(Signed { pem: certificate.pem(), serial: super::deny::serial(certificate.der()) })
    }

    /// A list of revoked certificates (RFC 5280), PEM, for brokers that check one: (serial, revoked at) each.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn revocation_list(
        &self,
        revoked: &[(Vec<u8>, SystemTime)],
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let revoked_certs = revoked
            .iter()
            .map(|(serial, at)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial),
                revocation_time: (*at).into(),
                reason_code: Some(RevocationReason::PrivilegeWithdrawn),
                invalidity_date: None,
            })
            .collect();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + CRL_LIFETIME).into(),
            // Grows from list to list without a counter to keep.
            crl_number: SerialNumber::from(seconds),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    /// Signs this server's key for the given DNS names and addresses.
    pub(super) fn issue_server(
        &self,
        names: &[String],
        key: &impl PublicKeyData,
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let mut params = leaf("avl-cloud", ExtendedKeyUsagePurpose::ServerAuth, now, SERVER_LIFETIME)?;
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }

    /// Signs a part of the cloud as a client. A vehicle's name has a slash, so the name of a part is never a vehicle's.
    pub(super) fn issue_part(
        &self,
        name: &str,
        key: &impl PublicKeyData,
        now: SystemTime,
    ) -> Result<rcgen::Certificate, AuthorityError> {
        let params = leaf(name, ExtendedKeyUsagePurpose::ClientAuth, now, SERVER_LIFETIME)?;
        Ok(params.signed_by(key, &self.issuer)?)
    }
}

enum FileOrSigning {
    File(io::Error),
    Signing(rcgen::Error),
}

impl From<io::Error> for FileOrSigning {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<rcgen::Error> for FileOrSigning {
    fn from(error: rcgen::Error) -> Self {
        Self::Signing(error)
    }
}

fn make_authority() -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = name("AVL fleet authority");
    params.not_before = (now - CLOCK_TOLERANCE).into();
    params.not_after = (now + AUTHORITY_LIFETIME).into();
    params.serial_number = Some(serial());
    // Zero intermediates: this key signs leaves and nothing else.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok((key.serialize_pem(), certificate.pem()))
}

fn leaf(
    common_name: &str,
    usage: ExtendedKeyUsagePurpose,
    now: SystemTime,
    lifetime: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = name(common_name);
    params.not_before = (now - CLOCK_TOLERANCE.min(lifetime)).into();
    params.not_after = (now + lifetime).into();
    params.serial_number = Some(serial());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// 128 random bits: unique without a counter to keep (CA/Browser Forum asks for at least 64).
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    // A positive number without a leading zero octet.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use x509_parser::prelude::RevokedCertificate;

    fn request(common_name: &str) -> CertificateSigningRequestParams {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["attacker.example".to_owned()]).unwrap();
        params.distinguished_name = name(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        CertificateSigningRequestParams::from_pem(&pem).unwrap()
    }

    #[test]
    fn the_authority_survives_a_restart_and_its_key_is_private() {
        let temp = tempfile::tempdir().unwrap();
        let first = Authority::load_or_create(temp.path()).unwrap();
        let again = Authority::load_or_create(temp.path()).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        let mode = std::fs::metadata(temp.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_half_lost_authority_is_never_replaced() {
        let temp = tempfile::tempdir().unwrap();
        Authority::load_or_create(temp.path()).unwrap();
        std::fs::remove_file(temp.path().join(CERTIFICATE_FILE)).unwrap();
        assert!(matches!(Authority::load_or_create(temp.path()), Err(AuthorityError::Incomplete { .. })));
    }

    #[test]
    fn a_key_of_another_authority_is_noticed() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Authority::load_or_create(one.path()).unwrap();
        Authority::load_or_create(other.path()).unwrap();
        std::fs::copy(other.path().join(KEY_FILE), one.path().join(KEY_FILE)).unwrap();
        assert!(matches!(Authority::load_or_create(one.path()), Err(AuthorityError::Unusable { .. })));
    }

    #[test]
    fn the_certificate_says_what_the_token_says_and_nothing_of_the_request() {
        let temp = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(temp.path()).unwrap();
        let vehicle: VehicleKey = "demo/van-1".parse().unwrap();
        let pem =
            authority.issue_vehicle(&vehicle, &request("demo/other"), SystemTime::now(), DAY).unwrap().pem;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert_eq!(VehicleKey::from_certificate(&der).unwrap(), vehicle);
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(parsed.subject().to_string(), "CN=demo/van-1");
        assert!(!parsed.is_ca());
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn the_revocation_list_is_signed_by_the_authority_and_names_the_serials() {
        let temp = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(temp.path()).unwrap();
        let now = SystemTime::now();
        let pem = authority.revocation_list(&[(vec![0x41; 16], now)], now).unwrap();
        let der = rustls::pki_types::CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, list) = x509_parser::parse_x509_crl(&der).unwrap();
        let (_, issuer) = x509_parser::parse_x509_certificate(authority.certificate()).unwrap();
        list.verify_signature(issuer.public_key()).unwrap();
        let serials: Vec<&[u8]> =
            list.iter_revoked_certificates().map(RevokedCertificate::raw_serial).collect();
        assert_eq!(serials, [&[0x41; 16][..]]);
    }
}
