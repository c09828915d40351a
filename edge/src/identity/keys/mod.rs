//! Where this gateway's key lives: in a file, or in a security module that never gives it out (PKCS#11).
//!
//! What is stored as `identity/key.pem` is either the key itself, or a reference: the module's URI (RFC 7512) and the
//! public half, so that an identity can be loaded before its module answers.

#[cfg(feature = "pkcs11")]
mod token;

use std::path::Path;
use std::sync::Arc;

use avl_shared::tls::signing_key;
use rcgen::{CertificateParams, CertificateSigningRequest, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;

use super::config::{IdentityConfig, Pkcs11Config};
#[cfg(feature = "pkcs11")]
use super::files;

/// What a stored reference begins with.
const URI: &str = "pkcs11:";

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot make a key: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("no usable PEM ({0}): enrol again with --force")]
    Pem(String),
    #[error(
        "it says that the key is in a security module: give [identity.pkcs11] in the configuration, or enrol again with --force for a key in a file"
    )]
    NoModule,
    #[error(
        "this avl-edge was built without security modules: build it with '--features pkcs11', or remove [identity.pkcs11]"
    )]
    NotBuilt,
    #[error("the system gives no thread for it: {0}")]
    Thread(#[from] tokio::task::JoinError),
    #[error(transparent)]
    #[cfg(feature = "pkcs11")]
    Token(#[from] token::TokenError),
}

/// A key that was just made, and the request for its certificate. The request's subject is ignored: the token, or the
/// certificate that is renewed, decides which vehicle this is.
pub struct NewKey {
    pub signing: Arc<dyn SigningKey>,
    pub request: CertificateSigningRequest,
    pub stored: String,
}

/// Makes and finds keys.
#[derive(Clone, Debug, Default)]
pub enum Keys {
    #[default]
    File,
    #[cfg(feature = "pkcs11")]
    Module(token::Token),
}

impl Keys {
    /// # Errors
    /// When a module is configured and this program knows none.
    pub fn of(config: &IdentityConfig) -> Result<Self, KeyError> {
        config.pkcs11.as_ref().map_or(Ok(Self::File), Self::module)
    }

    #[cfg(feature = "pkcs11")]
    fn module(config: &Pkcs11Config) -> Result<Self, KeyError> {
        Ok(Self::Module(token::Token::new(config.clone())))
    }

    #[cfg(not(feature = "pkcs11"))]
    fn module(_: &Pkcs11Config) -> Result<Self, KeyError> {
        Err(KeyError::NotBuilt)
    }

    /// # Errors
    /// When the module refuses.
    pub(crate) async fn generate(&self) -> Result<NewKey, KeyError> {
        let keys = self.clone();
        // A secure element takes its time.
        tokio::task::spawn_blocking(move || keys.generate_now()).await?
    }

    fn generate_now(&self) -> Result<NewKey, KeyError> {
        match self {
            Self::File => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                let request = CertificateParams::default().serialize_request(&key)?;
                let stored = key.serialize_pem();
                Ok(NewKey { signing: from_pem(stored.as_bytes())?, request, stored })
            }
            #[cfg(feature = "pkcs11")]
            Self::Module(token) => Ok(token.generate()?),
        }
    }

    /// # Errors
    /// When what is stored is damaged, or refers to a module that is not configured.
    pub(super) fn load(&self, stored: &[u8]) -> Result<Arc<dyn SigningKey>, KeyError> {
        if !stored.starts_with(URI.as_bytes()) {
            // Also with a module: a gateway that got one later takes it at the next renewal.
            return from_pem(stored);
        }
        match self {
            Self::File => Err(KeyError::NoModule),
            #[cfg(feature = "pkcs11")]
            Self::Module(token) => Ok(token.load(stored)?),
        }
    }

    /// Destroys every key of ours in a module but the one that is stored: the one before, and those of attempts that came
    /// to nothing.
    pub async fn tidy(&self, state_dir: &Path) {
        let (keys, state_dir) = (self.clone(), state_dir.to_owned());
        if let Err(error) = tokio::task::spawn_blocking(move || keys.tidy_now(&state_dir)).await {
            tracing::warn!(%error, "old keys were not looked for");
        }
    }

    #[cfg_attr(not(feature = "pkcs11"), allow(clippy::unused_self))]
    fn tidy_now(&self, state_dir: &Path) {
        #[cfg(feature = "pkcs11")]
        if let Self::Module(token) = self {
            let tidied = files::stored_key(state_dir)
                .map_err(|error| error.to_string())
                .and_then(|stored| token.keep_only(stored.as_deref()).map_err(|error| error.to_string()));
            if let Err(error) = tidied {
                tracing::warn!(error, "an old key stays in the security module");
            }
        }
        #[cfg(not(feature = "pkcs11"))]
        let _ = state_dir;
    }
}

fn from_pem(pem: &[u8]) -> Result<Arc<dyn SigningKey>, KeyError> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| KeyError::Pem(error.to_string()))?;
    signing_key(key).map_err(|error| KeyError::Pem(error.to_string()))
}
