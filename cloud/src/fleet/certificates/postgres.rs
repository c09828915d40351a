//! The list in the shared database.

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use deadpool_postgres::Transaction;

use super::{CertificateList, Denied, Issued, Revocation};
use crate::fleet::StorageError;
use crate::fleet::bell::{self, Bell};
use crate::fleet::database::FleetDatabase;

pub(super) struct PostgresCertificates(pub(super) FleetDatabase);

/// Changes of who is denied come one after the other, and each has a number.
async fn count(transaction: &Transaction<'_>) -> Result<(), StorageError> {
    let statement =
        transaction.prepare_cached("UPDATE counters SET value = value + 1 WHERE name = 'denied'").await?;
    transaction.execute(&statement, &[]).await?;
    Ok(bell::ring(transaction).await?)
}

/// Until the end of the transaction nobody else changes whether this vehicle is revoked, or gives it a certificate.
async fn lock(transaction: &Transaction<'_>, vehicle: &str) -> Result<(), StorageError> {
    let statement =
        transaction.prepare_cached("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").await?;
    transaction.execute(&statement, &[&vehicle]).await?;
    Ok(())
}

#[async_trait]
impl CertificateList for PostgresCertificates {
    async fn record(
        &self,
        issued: Issued,
        now: UtcMillis,
        forget_before: UtcMillis,
    ) -> Result<(), StorageError> {
        let mut client = self.0.client().await?;
        let transaction = client.transaction().await?;
        let vehicle = issued.vehicle.to_string();
        // A revocation comes before this certificate, or takes it along.
        lock(&transaction, &vehicle).await?;
        let statement =
            transaction.prepare_cached("SELECT 1 FROM revoked_vehicles WHERE vehicle = $1").await?;
        let revoked = transaction.query_opt(&statement, &[&vehicle]).await?.is_some();
        let statement = transaction
            .prepare_cached(
                "INSERT INTO issued (serial, vehicle, issued_at, not_after) VALUES ($1, $2, $3, $4)",
            )
            .await?;
        transaction.execute(&statement, &[&issued.serial, &vehicle, &now, &issued.not_after]).await?;
        // Several processes forget; who comes second leaves it to the first.
        let statement = transaction
            .prepare_cached(
                "DELETE FROM issued WHERE serial IN
                 (SELECT serial FROM issued WHERE not_after < $1 LIMIT 1000 FOR UPDATE SKIP LOCKED)",
            )
            .await?;
        transaction.execute(&statement, &[&forget_before]).await?;
        if revoked {
            count(&transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn revoke(&self, vehicle: &VehicleKey, reason: &str, now: UtcMillis) -> Result<u64, StorageError> {
        let mut client = self.0.client().await?;
        let transaction = client.transaction().await?;
        let vehicle = vehicle.to_string();
        // PostgreSQL's text has no NUL.
        let reason: String = reason.chars().filter(|&letter| letter != '\0').collect();
        lock(&transaction, &vehicle).await?;
        count(&transaction).await?;
        let statement = transaction
            .prepare_cached(
                "INSERT INTO revoked_vehicles (vehicle, revoked_at, reason) VALUES ($1, $2, $3)
                 ON CONFLICT (vehicle) DO UPDATE SET revoked_at = $2, reason = $3",
            )
            .await?;
        transaction.execute(&statement, &[&vehicle, &now, &reason]).await?;
        let statement = transaction
            .prepare_cached("UPDATE issued SET revoked_at = $2 WHERE vehicle = $1 AND revoked_at IS NULL")
            .await?;
        let known = transaction.execute(&statement, &[&vehicle, &now]).await?;
        transaction.commit().await?;
        Ok(known)
    }

    async fn undo(&self, vehicle: &VehicleKey) -> Result<bool, StorageError> {
        let mut client = self.0.client().await?;
        let transaction = client.transaction().await?;
        let vehicle = vehicle.to_string();
        lock(&transaction, &vehicle).await?;
        count(&transaction).await?;
        let statement = transaction.prepare_cached("DELETE FROM revoked_vehicles WHERE vehicle = $1").await?;
        let found = transaction.execute(&statement, &[&vehicle]).await?;
        let statement =
            transaction.prepare_cached("UPDATE issued SET revoked_at = NULL WHERE vehicle = $1").await?;
        transaction.execute(&statement, &[&vehicle]).await?;
        transaction.commit().await?;
        Ok(found > 0)
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StorageError> {
        let client = self.0.client().await?;
        let rows = client
            .query(
                "SELECT vehicle, revoked_at, reason, EXISTS (SELECT 1 FROM issued i
                 WHERE i.vehicle = r.vehicle AND i.revoked_at IS NULL)
                 FROM revoked_vehicles r ORDER BY revoked_at DESC, vehicle",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Revocation {
                    vehicle: row.try_get(0)?,
                    revoked_at: row.try_get(1)?,
                    reason: row.try_get(2)?,
                    enrolled_again: row.try_get(3)?,
                })
            })
            .collect()
    }

    async fn reason(&self, vehicle: &VehicleKey, serial: &[u8]) -> Result<Option<String>, StorageError> {
        let client = self.0.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT reason FROM revoked_vehicles WHERE vehicle = $1 AND NOT EXISTS
                 (SELECT 1 FROM issued WHERE serial = $2 AND vehicle = $1 AND revoked_at IS NULL)",
            )
            .await?;
        let row = client.query_opt(&statement, &[&vehicle.to_string(), &serial]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    async fn denied(&self) -> Result<Denied, StorageError> {
        let client = self.0.client().await?;
        let rows = client
            .query(
                "SELECT r.vehicle, r.reason, i.serial FROM revoked_vehicles r
                 LEFT JOIN issued i ON i.vehicle = r.vehicle AND i.revoked_at IS NULL",
                &[],
            )
            .await?;
        let mut denied = Denied::default();
        for row in &rows {
            denied.add(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        }
        Ok(denied)
    }

    async fn revoked_serials(&self, now: UtcMillis) -> Result<Vec<(Vec<u8>, UtcMillis)>, StorageError> {
        let client = self.0.client().await?;
        let rows = client
            .query(
                "SELECT serial, revoked_at FROM issued
                 WHERE revoked_at IS NOT NULL AND not_after >= $1 ORDER BY serial",
                &[&now],
            )
            .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    async fn version(&self) -> Result<i64, StorageError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached("SELECT value FROM counters WHERE name = 'denied'").await?;
        Ok(client.query_one(&statement, &[]).await?.try_get(0)?)
    }

    fn bell(&self) -> Bell {
        self.0.bell()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Certificates, conformance};
    use crate::fleet::database::testing::{Shared, shared};

    fn fresh() -> Option<(Shared, [Certificates; 2])> {
        let shared = shared()?;
        let both = [Certificates::shared(&shared.database), Certificates::shared(&shared.database)];
        Some((shared, both))
    }

    conformance::suite!(fresh);
}
