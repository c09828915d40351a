//! Keys in a PKCS#11 token: a secure element, a TPM behind tpm2-pkcs11, an HSM, or SoftHSM in tests.
//!
//! The private key is made in the token, cannot be read out, and is found again by its random id. Each use opens a
//! session and logs in: a token that was reset in between is of no consequence, and a signature is needed only at a
//! handshake or a renewal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use rcgen::{CertificateParams, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{SubjectPublicKeyInfoDer, alg_id};
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::super::config::Pkcs11Config;
use super::super::files::pem_text;
use super::{NewKey, URI};

/// DER of the OID of P-256 (RFC 5480, section 2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// An uncompressed point of P-256: the byte 4 and two coordinates.
const POINT_BYTES: usize = 65;
const COORDINATE_BYTES: usize = 32;
const ID_BYTES: usize = 16;

/// A module may be loaded and initialised once in a process, and stays.
static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("security module {path}: {cause}: check identity.pkcs11.module", path = path.display())]
    Module { path: PathBuf, cause: Cryptoki },
    #[error("no token with the label {label:?} in {path}: 'pkcs11-tool --module {path} --list-slots' shows those that are there", path = path.display())]
    NoToken { label: String, path: PathBuf },
    #[error("PIN file {path}: {cause}: check identity.pkcs11.pin_file", path = path.display())]
    PinFile { path: PathBuf, cause: io::Error },
    #[error("the PIN file {path} can be read by other users (mode {mode:o}): run 'chmod 600 {path}' and change the PIN if somebody may have seen it", path = path.display())]
    PinExposed { path: PathBuf, mode: u32 },
    #[error("the token refuses the PIN of {path} ({cause}): correct it before the token locks itself", path = path.display())]
    WrongPin { path: PathBuf, cause: Cryptoki },
    #[error("the token does not {action}: {cause}")]
    Refused { action: &'static str, cause: Cryptoki },
    #[error("the token has no key with the id {id}: it was exchanged or erased; enrol again with --force")]
    NoKey { id: String },
    #[error("the token gave what is no P-256 {0}")]
    Odd(&'static str),
    #[error("the stored reference to the key is damaged ({0}): enrol again with --force")]
    Reference(String),
    #[error("cannot make the certificate request: {0}")]
    Request(#[from] rcgen::Error),
}

#[derive(Clone, Debug)]
pub struct Token(Arc<Pkcs11Config>);

impl Token {
    pub(super) fn new(config: Pkcs11Config) -> Self {
        Self(Arc::new(config))
    }

    pub(super) fn generate(&self) -> Result<NewKey, TokenError> {
        let id: [u8; ID_BYTES] = rand::random();
        let session = self.session()?;
        let named = [Attribute::Token(true), Attribute::Label(self.label()), Attribute::Id(id.to_vec())];
        let public = [Attribute::Private(false), Attribute::Verify(true), Attribute::EcParams(P256.to_vec())];
        let private = [
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        let (public, _) = session
            .generate_key_pair(
                &Mechanism::EccKeyPairGen,
                &[&named[..], &public].concat(),
                &[&named[..], &private].concat(),
            )
            .map_err(refused("make a P-256 key"))?;
        let attributes = session
            .get_attributes(public, &[AttributeType::EcPoint])
            .map_err(refused("tell the public key"))?;
        let point = attributes.into_iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(point) => uncompressed(&point),
            _ => None,
        });
        let point = point.ok_or(TokenError::Odd("public key"))?;
        let spki = public_key_to_spki(&alg_id::ECDSA_P256, &point);
        let stored = format!("{}\n{}", self.uri(&id), pem_text("PUBLIC KEY", &spki));
        let key = TokenKey { token: self.clone(), id: id.to_vec(), spki };
        let request = CertificateParams::default().serialize_request(&Requester { key: &key, point })?;
        Ok(NewKey { signing: Arc::new(key), request, stored })
    }

    pub(super) fn load(&self, stored: &[u8]) -> Result<Arc<dyn SigningKey>, TokenError> {
        let text = str::from_utf8(stored).map_err(|error| TokenError::Reference(error.to_string()))?;
        let id = id_of(text)?;
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(stored)
            .map_err(|error| TokenError::Reference(error.to_string()))?;
        Ok(Arc::new(TokenKey { token: self.clone(), id, spki }))
    }

    pub(super) fn keep_only(&self, stored: Option<&str>) -> Result<(), TokenError> {
        let keep = stored.filter(|text| text.starts_with(URI)).map(id_of).transpose()?;
        let session = self.session()?;
        let ours =
            session.find_objects(&[Attribute::Label(self.label())]).map_err(refused("list its keys"))?;
        for object in ours {
            let attributes = session
                .get_attributes(object, &[AttributeType::Class, AttributeType::Id])
                .map_err(refused("tell a key's id"))?;
            let is_key = attributes.iter().any(|attribute| {
                matches!(attribute, Attribute::Class(ObjectClass::PRIVATE_KEY | ObjectClass::PUBLIC_KEY))
            });
            let kept = attributes
                .iter()
                .any(|attribute| matches!(attribute, Attribute::Id(id) if Some(id) == keep.as_ref()));
            if is_key && !kept {
                session.destroy_object(object).map_err(refused("destroy an old key"))?;
            }
        }
        Ok(())
    }

    fn sign(&self, id: &[u8], message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let session = self.session()?;
        let found = session
            .find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(id.to_vec())])
            .map_err(refused("look for the key"))?;
        let key = *found.first().ok_or_else(|| TokenError::NoKey { id: hex(id) })?;
        // Not every token hashes by itself.
        let raw = session
            .sign(&Mechanism::Ecdsa, key, digest(&SHA256, message).as_ref())
            .map_err(refused("sign"))?;
        signature(&raw).ok_or(TokenError::Odd("signature"))
    }

    fn session(&self) -> Result<Session, TokenError> {
        let module = self.module()?;
        let slots = module.get_slots_with_token().map_err(refused("list its slots"))?;
        let slot = slots
            .into_iter()
            .find(|slot| module.get_token_info(*slot).is_ok_and(|info| info.label() == self.0.token))
            .ok_or_else(|| TokenError::NoToken {
                label: self.0.token.clone(),
                path: self.0.module.clone(),
            })?;
        let session = module.open_rw_session(slot).map_err(refused("open a session"))?;
        match session.login(UserType::User, Some(&self.pin()?)) {
            // A login is the whole process's.
            Ok(()) | Err(Cryptoki::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(cause) => Err(TokenError::WrongPin { path: self.0.pin_file.clone(), cause }),
        }
    }

    fn module(&self) -> Result<Pkcs11, TokenError> {
        let path = &self.0.module;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(path) {
            return Ok(module.clone());
        }
        let failed = |cause| TokenError::Module { path: path.clone(), cause };
        let module = Pkcs11::new(path).map_err(failed)?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Cryptoki::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(cause) => return Err(failed(cause)),
        }
        loaded.insert(path.clone(), module.clone());
        Ok(module)
    }

    fn pin(&self) -> Result<AuthPin, TokenError> {
        let path = &self.0.pin_file;
        let failed = |cause| TokenError::PinFile { path: path.clone(), cause };
        let mode = fs::metadata(path).map_err(failed)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::PinExposed { path: path.clone(), mode });
        }
        Ok(AuthPin::new(fs::read_to_string(path).map_err(failed)?.trim().into()))
    }

    fn label(&self) -> Vec<u8> {
        self.0.label.clone().into_bytes()
    }

    fn uri(&self, id: &[u8]) -> String {
        let id = id.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02x}");
            text
        });
        format!("{URI}id={id};type=private")
    }
}

/// The id in a stored URI.
fn id_of(stored: &str) -> Result<Vec<u8>, TokenError> {
    let bad = || TokenError::Reference("no id in its first line".to_owned());
    let line = stored.lines().next().and_then(|line| line.strip_prefix(URI)).ok_or_else(bad)?;
    let id = line.split(';').find_map(|part| part.strip_prefix("id=")).ok_or_else(bad)?;
    let bytes: Option<Vec<u8>> =
        id.split('%').skip(1).map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.filter(|bytes| bytes.len() == ID_BYTES).ok_or_else(bad)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// PKCS#11 wraps the point into an OCTET STRING; some tokens do not.
fn uncompressed(point: &[u8]) -> Option<Vec<u8>> {
    let bare = match point {
        [0x04, 0x41, rest @ ..] if rest.len() == POINT_BYTES => rest,
        whole => whole,
    };
    (bare.len() == POINT_BYTES && bare.first() == Some(&0x04)).then(|| bare.to_vec())
}

/// From PKCS#11's two numbers side by side to ECDSA-Sig-Value (RFC 3279, section 2.2.3).
fn signature(raw: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = raw.split_at_checked(COORDINATE_BYTES).filter(|(_, s)| s.len() == COORDINATE_BYTES)?;
    let mut body = Vec::with_capacity(2 * (COORDINATE_BYTES + 3));
    for number in [r, s] {
        let start = number.iter().position(|&byte| byte != 0)?;
        let digits = number.get(start..)?;
        let padded = digits.first().is_some_and(|first| first & 0x80 != 0);
        body.push(0x02);
        body.push(u8::try_from(digits.len() + usize::from(padded)).ok()?);
        body.extend(padded.then_some(0));
        body.extend_from_slice(digits);
    }
    let mut der = vec![0x30, u8::try_from(body.len()).ok()?];
    der.append(&mut body);
    Some(der)
}

fn refused(action: &'static str) -> impl FnOnce(Cryptoki) -> TokenError {
    move |cause| TokenError::Refused { action, cause }
}

#[derive(Clone, Debug)]
struct TokenKey {
    token: Token,
    id: Vec<u8>,
    spki: SubjectPublicKeyInfoDer<'static>,
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.spki.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.token.sign(&self.id, message).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// Signs the request for a certificate.
struct Requester<'a> {
    key: &'a TokenKey,
    point: Vec<u8>,
}

impl PublicKeyData for Requester<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Requester<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signed = self.key.token.sign(&self.key.id, message);
        signed.map_err(|error| {
            tracing::error!("{error}");
            rcgen::Error::RemoteKeyError
        })
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
