//! The list as a SQLite file beside the authority's key.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{CertificateList, CertificatesError, Denied, Issued, Revocation};
use crate::data_dir::{make_private_dir, make_private_file};
use crate::fleet::StorageError;
use crate::fleet::storage::Desk;

pub(in crate::fleet) const FILE: &str = "certificates.sqlite";
/// As for the store: another process may be writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE issued (
    serial      BLOB PRIMARY KEY,
    vehicle     TEXT NOT NULL,
    issued_at   INTEGER NOT NULL,
    not_after   INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;
CREATE INDEX issued_of_vehicle ON issued (vehicle);
CREATE TABLE revoked_vehicles (
    vehicle     TEXT PRIMARY KEY,
    revoked_at  INTEGER NOT NULL,
    reason      TEXT NOT NULL
) STRICT;
";

pub(super) struct SqliteCertificates(Desk);

impl SqliteCertificates {
    pub(super) fn open(authority: &Path) -> Result<Self, CertificatesError> {
        let path = authority.join(FILE);
        let opened = || -> Result<Connection, Box<dyn std::error::Error>> {
            make_private_dir(authority)?;
            make_private_file(&path)?;
            let mut connection = Connection::open(&path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            match version {
                0 => {
                    transaction.execute_batch(SCHEMA)?;
                    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
                }
                SCHEMA_VERSION => {}
                newer => return Err(format!("it is of a newer release (schema {newer})").into()),
            }
            transaction.commit()?;
            Ok(connection)
        };
        let connection = opened()
            .map_err(|cause| CertificatesError::Open { path: path.clone(), cause: cause.to_string() })?;
        Ok(Self(Desk::new(connection)))
    }
}

#[async_trait]
impl CertificateList for SqliteCertificates {
    async fn record(
        &self,
        issued: Issued,
        now: UtcMillis,
        forget_before: UtcMillis,
    ) -> Result<(), StorageError> {
        self.0
            .work(move |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                transaction.execute("DELETE FROM issued WHERE not_after < ?", [forget_before])?;
                transaction.execute(
                    "INSERT INTO issued (serial, vehicle, issued_at, not_after) VALUES (?, ?, ?, ?)",
                    params![issued.serial, issued.vehicle.to_string(), now, issued.not_after],
                )?;
                Ok(transaction.commit()?)
            })
            .await
    }

    async fn revoke(&self, vehicle: &VehicleKey, reason: &str, now: UtcMillis) -> Result<u64, StorageError> {
        let (vehicle, reason) = (vehicle.to_string(), reason.to_owned());
        self.0
            .work(move |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                transaction.execute(
                    "INSERT INTO revoked_vehicles (vehicle, revoked_at, reason) VALUES (?1, ?2, ?3)
                     ON CONFLICT (vehicle) DO UPDATE SET revoked_at = ?2, reason = ?3",
                    params![vehicle, now, reason],
                )?;
                let count = transaction.execute(
                    "UPDATE issued SET revoked_at = ? WHERE vehicle = ? AND revoked_at IS NULL",
                    params![now, vehicle],
                )?;
                transaction.commit()?;
                Ok(count as u64)
            })
            .await
    }

    async fn undo(&self, vehicle: &VehicleKey) -> Result<bool, StorageError> {
        let vehicle = vehicle.to_string();
        self.0
            .work(move |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let found =
                    transaction.execute("DELETE FROM revoked_vehicles WHERE vehicle = ?", [&vehicle])?;
                transaction.execute("UPDATE issued SET revoked_at = NULL WHERE vehicle = ?", [&vehicle])?;
                transaction.commit()?;
                Ok(found > 0)
            })
            .await
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StorageError> {
        self.0
            .work(|connection| {
                let mut statement = connection.prepare(
                    "SELECT vehicle, revoked_at, reason, EXISTS (SELECT 1 FROM issued
                     WHERE issued.vehicle = revoked_vehicles.vehicle AND issued.revoked_at IS NULL)
                     FROM revoked_vehicles ORDER BY revoked_at DESC, vehicle",
                )?;
                let rows = statement.query_map([], |row| {
                    Ok(Revocation {
                        vehicle: row.get(0)?,
                        revoked_at: row.get(1)?,
                        reason: row.get(2)?,
                        enrolled_again: row.get(3)?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn reason(&self, vehicle: &VehicleKey, serial: &[u8]) -> Result<Option<String>, StorageError> {
        let (vehicle, serial) = (vehicle.to_string(), serial.to_vec());
        self.0
            .work(move |connection| {
                let reason = connection.query_row(
                    "SELECT reason FROM revoked_vehicles WHERE vehicle = ?1
                     AND NOT EXISTS (SELECT 1 FROM issued WHERE serial = ?2 AND vehicle = ?1 AND revoked_at IS NULL)",
                    params![vehicle, serial],
                    |row| row.get(0),
                );
                Ok(reason.optional()?)
            })
            .await
    }

    async fn denied(&self) -> Result<Denied, StorageError> {
        self.0
            .work(|connection| {
                let mut denied = Denied::default();
                let mut statement = connection.prepare(
                    "SELECT revoked_vehicles.vehicle, reason, serial FROM revoked_vehicles
                     LEFT JOIN issued ON issued.vehicle = revoked_vehicles.vehicle AND issued.revoked_at IS NULL",
                )?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    denied.add(row.get(0)?, row.get(1)?, row.get(2)?);
                }
                Ok(denied)
            })
            .await
    }

    async fn revoked_serials(&self, now: UtcMillis) -> Result<Vec<(Vec<u8>, UtcMillis)>, StorageError> {
        self.0
            .work(move |connection| {
                let mut statement = connection.prepare(
                    "SELECT serial, revoked_at FROM issued
                     WHERE revoked_at IS NOT NULL AND not_after >= ? ORDER BY serial",
                )?;
                let rows = statement.query_map([now], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn version(&self) -> Result<i64, StorageError> {
        self.0.work(|connection| Ok(connection.query_row("PRAGMA data_version", [], |row| row.get(0))?)).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Certificates, conformance};

    /// Two that share one list, as two processes do.
    fn fresh() -> Option<(tempfile::TempDir, [Certificates; 2])> {
        let temp = tempfile::tempdir().unwrap();
        let open = || Certificates::open(temp.path()).unwrap();
        let both = [open(), open()];
        Some((temp, both))
    }

    conformance::suite!(fresh);
}
