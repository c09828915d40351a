//! Releases of the gateway's agent: signed with a key that need not be here, kept as files under their SHA-256.

pub(in crate::fleet) mod postgres;
pub(super) mod sqlite;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use avl_shared::fix::UtcMillis;
use avl_shared::release::{Manifest, PublicKey, Version, hex};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use crate::data_dir::write_private;
use crate::fleet::StorageError;
use crate::fleet::database::FleetDatabase;

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("{path}: {cause}", path = path.display())]
    File { path: PathBuf, cause: io::Error },
    #[error("{path} holds no release key: make one with 'avl-cloud release keygen'", path = path.display())]
    BadKey { path: PathBuf },
    #[error("{path} is there already: a new key would make every release signed with the old one useless", path = path.display())]
    KeyExists { path: PathBuf },
    #[error("the system gave no random numbers")]
    NoRandom,
    #[error("the signed release cannot be read ({0}): give the file that 'avl-cloud release sign' wrote")]
    Malformed(String),
    #[error("the file is not the one that was signed: it has SHA-256 {found}, the manifest names {signed}")]
    OtherFile { found: String, signed: String },
    #[error(
        "there is no release {0} here: add it with 'avl-cloud release add'; 'avl-cloud release list' shows what there is"
    )]
    Unknown(String),
    #[error("release {version} is here for several targets ({targets}): say which with --target")]
    Ambiguous { version: Version, targets: String },
    #[error("releases cannot be read or written: {0}")]
    Storage(#[from] StorageError),
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> ReleaseError + '_ {
    move |cause| ReleaseError::File { path: path.to_owned(), cause }
}

/// Makes a release key in `path`, for its owner's eyes only. Returns the public half.
///
/// # Errors
/// When a key is there already, or the file cannot be written.
pub fn make_key(path: &Path) -> Result<PublicKey, ReleaseError> {
    if path.exists() {
        return Err(ReleaseError::KeyExists { path: path.to_owned() });
    }
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| ReleaseError::NoRandom)?;
    write_private(path, format!("{}\n", STANDARD.encode(pkcs8.as_ref())).as_bytes())
        .map_err(file_error(path))?;
    public_half(&read_key(path)?, path)
}

fn read_key(path: &Path) -> Result<Ed25519KeyPair, ReleaseError> {
    let text = fs::read_to_string(path).map_err(file_error(path))?;
    let bad = || ReleaseError::BadKey { path: path.to_owned() };
    let pkcs8 = STANDARD.decode(text.trim()).map_err(|_| bad())?;
    Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| bad())
}

fn public_half(key: &Ed25519KeyPair, path: &Path) -> Result<PublicKey, ReleaseError> {
    let bytes = key.public_key().as_ref().try_into();
    bytes.map(PublicKey).map_err(|_| ReleaseError::BadKey { path: path.to_owned() })
}

/// What of a release is chosen by whoever signs it.
#[derive(Clone, Debug)]
pub struct Terms {
    pub version: Version,
    pub target: String,
    pub min_version: Version,
    pub percentage: u8,
    pub not_after_ms: UtcMillis,
}

/// A manifest with its signature, as it is carried from the signer to the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signed {
    /// The very text that was signed.
    pub manifest: String,
    /// Base64.
    pub signature: String,
}

/// Signs `file` with the key in `key`.
///
/// # Errors
/// When one of them cannot be read.
pub fn sign(key: &Path, file: &Path, terms: Terms) -> Result<Signed, ReleaseError> {
    let key = read_key(key)?;
    let (sha256, size) = hash(file)?;
    let Terms { version, target, min_version, percentage, not_after_ms } = terms;
    let manifest = Manifest { version, target, size, sha256, min_version, percentage, not_after_ms };
    let manifest =
        serde_json::to_string(&manifest).map_err(|error| ReleaseError::Malformed(error.to_string()))?;
    // What a vehicle would refuse is refused here.
    Manifest::parse(manifest.as_bytes()).map_err(|error| ReleaseError::Malformed(error.to_string()))?;
    let signature = STANDARD.encode(key.sign(manifest.as_bytes()));
    Ok(Signed { manifest, signature })
}

fn hash(path: &Path) -> Result<(String, u64), ReleaseError> {
    let mut file = File::open(path).map_err(file_error(path))?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut piece, mut size) = (vec![0; 64 * 1024], 0);
    loop {
        match file.read(&mut piece).map_err(file_error(path))? {
            0 => return Ok((hex(context.finish().as_ref()), size)),
            count => {
                context.update(&piece[..count]);
                size += count as u64;
            }
        }
    }
}

/// A release that vehicles can be sent.
#[derive(Clone, Debug)]
pub struct Release {
    pub manifest: Vec<u8>,
    pub signature: Vec<u8>,
}

/// Where releases are kept.
#[async_trait]
pub(crate) trait ReleaseTable: Send + Sync {
    /// Keeps the file, and then the release; both durable when it returns.
    async fn add(
        &self,
        manifest: &Manifest,
        release: Release,
        file: &Path,
        now: UtcMillis,
    ) -> Result<(), ReleaseError>;

    /// Manifests, the newest addition last.
    async fn list(&self) -> Result<Vec<Vec<u8>>, ReleaseError>;
}

/// The releases that vehicles can be sent.
pub struct Releases {
    table: Box<dyn ReleaseTable>,
}

impl Releases {
    /// In a data directory.
    ///
    /// # Errors
    /// When the store or the folder cannot be opened.
    pub fn open(folder: &Path, store: &Path) -> Result<Self, ReleaseError> {
        Ok(Self { table: Box::new(sqlite::SqliteReleases::open(folder, store)?) })
    }

    /// In the database that processes share.
    #[must_use]
    pub fn shared(database: &FleetDatabase) -> Self {
        Self { table: Box::new(postgres::PostgresReleases(database.clone())) }
    }

    /// Adds a release; the same version and target replaces what was there. Who signed it is for the vehicles to judge:
    /// the public key is on them.
    ///
    /// # Errors
    /// When the file is not the one that was signed, or cannot be stored.
    pub async fn add(&self, signed: &Signed, file: &Path, now: UtcMillis) -> Result<Manifest, ReleaseError> {
        let manifest = Manifest::parse(signed.manifest.as_bytes())
            .map_err(|error| ReleaseError::Malformed(error.to_string()))?;
        let signature =
            STANDARD.decode(&signed.signature).map_err(|error| ReleaseError::Malformed(error.to_string()))?;
        let (found, _) = hash(file)?;
        if found != manifest.sha256 {
            return Err(ReleaseError::OtherFile { found, signed: manifest.sha256 });
        }
        let release = Release { manifest: signed.manifest.clone().into_bytes(), signature };
        self.table.add(&manifest, release, file, now).await?;
        Ok(manifest)
    }

    /// All of them, the newest addition last.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn list(&self) -> Result<Vec<Manifest>, ReleaseError> {
        let manifests = self.table.list().await?;
        manifests
            .iter()
            .map(|bytes| Manifest::parse(bytes).map_err(|error| ReleaseError::Malformed(error.to_string())))
            .collect()
    }
}

/// Which target is meant, of those that there are of a version.
fn choose<'a>(
    version: Version,
    target: Option<&'a str>,
    targets: &'a [String],
) -> Result<&'a str, ReleaseError> {
    match (target, targets) {
        (Some(target), _) => Ok(target),
        (None, [only]) => Ok(only),
        (None, []) => Err(ReleaseError::Unknown(version.to_string())),
        (None, _) => Err(ReleaseError::Ambiguous { version, targets: targets.join(", ") }),
    }
}
