//! Releases of the gateway's agent: signed with a key that need not be here, kept as files under their SHA-256.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use avl_shared::fix::UtcMillis;
use avl_shared::release::{Manifest, PublicKey, Version, hex};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::data_dir::{make_private_dir, write_private};
use crate::store::sqlite;

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
    #[error(transparent)]
    Open(#[from] sqlite::OpenError),
    #[error("releases cannot be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
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

/// The releases in a data directory.
pub struct Releases {
    folder: PathBuf,
    connection: Connection,
}

impl Releases {
    /// # Errors
    /// When the store or the folder cannot be opened.
    pub fn open(folder: &Path, store: &Path) -> Result<Self, ReleaseError> {
        make_private_dir(folder).map_err(file_error(folder))?;
        Ok(Self { folder: folder.to_owned(), connection: sqlite::open(store)? })
    }

    /// Adds a release; the same version and target replaces what was there. Who signed it is for the vehicles to judge:
    /// the public key is on them.
    ///
    /// # Errors
    /// When the file is not the one that was signed, or cannot be stored.
    pub fn add(&self, signed: &Signed, file: &Path, now: UtcMillis) -> Result<Manifest, ReleaseError> {
        let manifest = Manifest::parse(signed.manifest.as_bytes())
            .map_err(|error| ReleaseError::Malformed(error.to_string()))?;
        let signature =
            STANDARD.decode(&signed.signature).map_err(|error| ReleaseError::Malformed(error.to_string()))?;
        let (found, _) = hash(file)?;
        if found != manifest.sha256 {
            return Err(ReleaseError::OtherFile { found, signed: manifest.sha256 });
        }
        self.keep(file, &manifest.sha256)?;
        self.connection.execute(
            "INSERT INTO releases (version, target, sha256, manifest, signature, added_at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (version, target) DO UPDATE SET sha256 = excluded.sha256, manifest = excluded.manifest,
             signature = excluded.signature, added_at = excluded.added_at",
            params![
                manifest.version.to_string(),
                manifest.target,
                manifest.sha256,
                signed.manifest.as_bytes(),
                signature,
                now
            ],
        )?;
        Ok(manifest)
    }

    fn keep(&self, file: &Path, sha256: &str) -> Result<(), ReleaseError> {
        let place = self.folder.join(sha256);
        if place.exists() {
            return Ok(());
        }
        let beside = self.folder.join(format!("{sha256}.new"));
        let copied = || -> io::Result<()> {
            let mut from = File::open(file)?;
            let mut to =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            io::copy(&mut from, &mut to)?;
            to.flush()?;
            to.sync_all()?;
            fs::rename(&beside, &place)?;
            File::open(&self.folder)?.sync_all()
        };
        copied().map_err(file_error(&place))
    }

    /// All of them, the newest addition last.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<Manifest>, ReleaseError> {
        let mut statement =
            self.connection.prepare("SELECT manifest FROM releases ORDER BY added_at, target")?;
        let manifests = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
        let manifests = manifests.collect::<rusqlite::Result<Vec<_>>>()?;
        manifests
            .iter()
            .map(|bytes| Manifest::parse(bytes).map_err(|error| ReleaseError::Malformed(error.to_string())))
            .collect()
    }

    pub(super) fn find(
        connection: &Connection,
        version: Version,
        target: Option<&str>,
    ) -> Result<Release, ReleaseError> {
        let mut statement =
            connection.prepare("SELECT target FROM releases WHERE version = ? ORDER BY target")?;
        let targets = statement.query_map([version.to_string()], |row| row.get::<_, String>(0))?;
        let targets = targets.collect::<rusqlite::Result<Vec<_>>>()?;
        let target = match (target, targets.as_slice()) {
            (Some(target), _) => target,
            (None, [only]) => only,
            (None, []) => return Err(ReleaseError::Unknown(version.to_string())),
            (None, _) => return Err(ReleaseError::Ambiguous { version, targets: targets.join(", ") }),
        };
        let release = connection
            .query_row(
                "SELECT manifest, signature FROM releases WHERE version = ? AND target = ?",
                params![version.to_string(), target],
                |row| Ok(Release { manifest: row.get(0)?, signature: row.get(1)? }),
            )
            .optional()?;
        release.ok_or_else(|| ReleaseError::Unknown(format!("{version} for {target}")))
    }
}
