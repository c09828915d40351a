//! Releases in the shared database, their files in parts.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::release::{Manifest, Version, hex};
use deadpool_postgres::Transaction;

use super::{Release, ReleaseError, ReleaseTable, choose, file_error};
use crate::fleet::StorageError;
use crate::fleet::database::FleetDatabase;

/// A part is read and sent at once, for each vehicle that fetches one.
const PART_BYTES: usize = 256 * 1024;

pub(super) struct PostgresReleases(pub(super) FleetDatabase);

#[async_trait]
impl ReleaseTable for PostgresReleases {
    async fn add(
        &self,
        manifest: &Manifest,
        release: Release,
        file: &Path,
        now: UtcMillis,
    ) -> Result<(), ReleaseError> {
        let mut client = self.0.client().await?;
        let transaction = client.transaction().await.map_err(StorageError::from)?;
        keep(&transaction, &manifest.sha256, file).await?;
        let sql = "INSERT INTO releases (version, target, sha256, manifest, signature, added_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (version, target) DO UPDATE SET sha256 = excluded.sha256, manifest = excluded.manifest,
             signature = excluded.signature, added_at = excluded.added_at";
        let version = manifest.version.to_string();
        let Release { manifest: signed, signature } = release;
        transaction
            .execute(sql, &[&version, &manifest.target, &manifest.sha256, &signed, &signature, &now])
            .await
            .map_err(StorageError::from)?;
        Ok(transaction.commit().await.map_err(StorageError::from)?)
    }

    async fn list(&self) -> Result<Vec<Vec<u8>>, ReleaseError> {
        let client = self.0.client().await?;
        let rows = client.query("SELECT manifest FROM releases ORDER BY added_at, target", &[]).await;
        let rows = rows.map_err(StorageError::from)?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(StorageError::from)?)
    }
}

/// Hashed once more on its way: what is kept is what was signed, whatever happens to the file meanwhile.
pub(in crate::fleet) async fn keep(
    transaction: &Transaction<'_>,
    sha256: &str,
    path: &Path,
) -> Result<(), ReleaseError> {
    let mut file = File::open(path).map_err(file_error(path))?;
    let length = file.metadata().map_err(file_error(path))?.len();
    let sql = "INSERT INTO release_files (sha256, size) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let size = i64::try_from(length).unwrap_or(i64::MAX);
    let added = transaction.execute(sql, &[&sha256, &size]).await.map_err(StorageError::from)?;
    if added == 0 {
        return Ok(());
    }
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let sql = "INSERT INTO release_parts (sha256, part, bytes) VALUES ($1, $2, $3)";
    let statement = transaction.prepare_cached(sql).await.map_err(StorageError::from)?;
    for part in 0_i32.. {
        let mut bytes = Vec::with_capacity(PART_BYTES);
        (&mut file).take(PART_BYTES as u64).read_to_end(&mut bytes).map_err(file_error(path))?;
        if bytes.is_empty() {
            break;
        }
        context.update(&bytes);
        let written = transaction.execute(&statement, &[&sha256, &part, &bytes]).await;
        written.map_err(StorageError::from)?;
    }
    let found = hex(context.finish().as_ref());
    if found == sha256 { Ok(()) } else { Err(ReleaseError::OtherFile { found, signed: sha256.to_owned() }) }
}

/// The release of a version, for that target or the only one there is.
pub(in crate::fleet::control) async fn find(
    transaction: &Transaction<'_>,
    version: Version,
    target: Option<&str>,
) -> Result<Release, ReleaseError> {
    let named = version.to_string();
    let sql = "SELECT target, manifest, signature FROM releases WHERE version = $1 ORDER BY target";
    let rows = transaction.query(sql, &[&named]).await.map_err(StorageError::from)?;
    let targets: Vec<String> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(StorageError::from)?;
    let target = choose(version, target, &targets)?;
    let place = targets.iter().position(|known| known == target);
    let row = place.and_then(|place| rows.get(place));
    let row = row.ok_or_else(|| ReleaseError::Unknown(format!("{version} for {target}")))?;
    let read = || -> Result<Release, tokio_postgres::Error> {
        Ok(Release { manifest: row.try_get(1)?, signature: row.try_get(2)? })
    };
    Ok(read().map_err(StorageError::from)?)
}

/// The size of a file.
pub(in crate::fleet::control) async fn size(database: &FleetDatabase, sha256: &str) -> io::Result<u64> {
    let found = async {
        let client = database.client().await?;
        let row = client.query_opt("SELECT size FROM release_files WHERE sha256 = $1", &[&sha256]).await?;
        Ok::<Option<i64>, StorageError>(row.map(|row| row.try_get(0)).transpose()?)
    };
    let size = found.await.map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
    Ok(u64::try_from(size).unwrap_or(0))
}

/// What is left of the part that holds byte `at`; at least one byte.
pub(in crate::fleet::control) async fn read(
    database: &FleetDatabase,
    sha256: &str,
    at: u64,
) -> io::Result<Vec<u8>> {
    let part = i32::try_from(at / PART_BYTES as u64).map_err(io::Error::other)?;
    let skip = usize::try_from(at % PART_BYTES as u64).map_err(io::Error::other)?;
    let found = async {
        let client = database.client().await?;
        let sql = "SELECT bytes FROM release_parts WHERE sha256 = $1 AND part = $2";
        let statement = client.prepare_cached(sql).await?;
        let row = client.query_opt(&statement, &[&sha256, &part]).await?;
        Ok::<Option<Vec<u8>>, StorageError>(row.map(|row| row.try_get(0)).transpose()?)
    };
    let mut bytes = found.await.map_err(io::Error::other)?.unwrap_or_default();
    if bytes.len() <= skip {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a part of a release file is missing"));
    }
    Ok(bytes.split_off(skip))
}
