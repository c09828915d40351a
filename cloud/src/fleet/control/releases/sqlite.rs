//! Releases of a data directory: manifests in the embedded store, files in a folder under their SHA-256.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::release::{Manifest, Version};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Release, ReleaseError, ReleaseTable, choose, file_error};
use crate::data_dir::make_private_dir;
use crate::fleet::StorageError;
use crate::fleet::storage::Desk;
use crate::store::sqlite;

pub(super) struct SqliteReleases {
    folder: PathBuf,
    desk: Desk,
}

impl SqliteReleases {
    pub(super) fn open(folder: &Path, store: &Path) -> Result<Self, ReleaseError> {
        make_private_dir(folder).map_err(file_error(folder))?;
        let connection = sqlite::open(store).map_err(StorageError::from)?;
        Ok(Self { folder: folder.to_owned(), desk: Desk::new(connection) })
    }
}

#[async_trait]
impl ReleaseTable for SqliteReleases {
    async fn add(
        &self,
        manifest: &Manifest,
        release: Release,
        file: &Path,
        now: UtcMillis,
    ) -> Result<(), ReleaseError> {
        let (folder, file, manifest) = (self.folder.clone(), file.to_owned(), manifest.clone());
        self.desk
            .work(move |connection| {
                keep(&folder, &file, &manifest.sha256)?;
                let written = connection.execute(
                    "INSERT INTO releases (version, target, sha256, manifest, signature, added_at) VALUES (?, ?, ?, ?, ?, ?)
                     ON CONFLICT (version, target) DO UPDATE SET sha256 = excluded.sha256, manifest = excluded.manifest,
                     signature = excluded.signature, added_at = excluded.added_at",
                    params![
                        manifest.version.to_string(),
                        manifest.target,
                        manifest.sha256,
                        release.manifest,
                        release.signature,
                        now
                    ],
                );
                written.map(drop).map_err(|error| StorageError::from(error).into())
            })
            .await
    }

    async fn list(&self) -> Result<Vec<Vec<u8>>, ReleaseError> {
        let manifests = self.desk.work(|connection| {
            let mut statement =
                connection.prepare("SELECT manifest FROM releases ORDER BY added_at, target")?;
            let manifests = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            Ok::<_, StorageError>(manifests.collect::<rusqlite::Result<Vec<_>>>()?)
        });
        Ok(manifests.await?)
    }
}

fn keep(folder: &Path, file: &Path, sha256: &str) -> Result<(), ReleaseError> {
    let place = folder.join(sha256);
    if place.exists() {
        return Ok(());
    }
    let beside = folder.join(format!("{sha256}.new"));
    let copied = || -> io::Result<()> {
        let mut from = File::open(file)?;
        let mut to =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        io::copy(&mut from, &mut to)?;
        to.flush()?;
        to.sync_all()?;
        fs::rename(&beside, &place)?;
        File::open(folder)?.sync_all()
    };
    copied().map_err(file_error(&place))
}

/// The release of a version, for that target or the only one there is.
pub(in crate::fleet::control) fn find(
    connection: &Connection,
    version: Version,
    target: Option<&str>,
) -> Result<Release, ReleaseError> {
    let found = || -> rusqlite::Result<Vec<String>> {
        let mut statement =
            connection.prepare("SELECT target FROM releases WHERE version = ? ORDER BY target")?;
        statement.query_map([version.to_string()], |row| row.get(0))?.collect()
    };
    let targets = found().map_err(StorageError::from)?;
    let target = choose(version, target, &targets)?;
    let release = connection
        .query_row(
            "SELECT manifest, signature FROM releases WHERE version = ? AND target = ?",
            params![version.to_string(), target],
            |row| Ok(Release { manifest: row.get(0)?, signature: row.get(1)? }),
        )
        .optional()
        .map_err(StorageError::from)?;
    release.ok_or_else(|| ReleaseError::Unknown(format!("{version} for {target}")))
}
