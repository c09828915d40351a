//! Tokens in the shared database.

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;

use super::{TokenRow, TokenTable};
use crate::fleet::StorageError;
use crate::fleet::database::FleetDatabase;

pub(super) struct PostgresTokens(pub(super) FleetDatabase);

#[async_trait]
impl TokenTable for PostgresTokens {
    async fn insert(&self, token: TokenRow) -> Result<(), StorageError> {
        let client = self.0.client().await?;
        let statement = client
            .prepare_cached(
                "INSERT INTO enrolment_tokens (secret_sha256, fleet, vehicle, created_at, expires_at, used_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .await?;
        let TokenRow { secret_sha256, vehicle, created_at, expires_at, used_at } = token;
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        client
            .execute(&statement, &[&secret_sha256, &fleet, &name, &created_at, &expires_at, &used_at])
            .await?;
        Ok(())
    }

    async fn find(&self, secret_sha256: &[u8]) -> Result<Option<TokenRow>, StorageError> {
        let client = self.0.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT fleet || '/' || vehicle, created_at, expires_at, used_at FROM enrolment_tokens
                 WHERE secret_sha256 = $1",
            )
            .await?;
        let Some(row) = client.query_opt(&statement, &[&secret_sha256]).await? else { return Ok(None) };
        let Ok(vehicle) = row.try_get::<_, &str>(0)?.parse() else { return Ok(None) };
        Ok(Some(TokenRow {
            secret_sha256: secret_sha256.to_vec(),
            vehicle,
            created_at: row.try_get(1)?,
            expires_at: row.try_get(2)?,
            used_at: row.try_get(3)?,
        }))
    }

    async fn take(&self, secret_sha256: &[u8], now: UtcMillis) -> Result<bool, StorageError> {
        let client = self.0.client().await?;
        // The second of two waits for the first's row and finds it used.
        let statement = client
            .prepare_cached(
                "UPDATE enrolment_tokens SET used_at = $2
                 WHERE secret_sha256 = $1 AND used_at IS NULL AND expires_at > $2",
            )
            .await?;
        Ok(client.execute(&statement, &[&secret_sha256, &now]).await? == 1)
    }

    async fn void(&self, vehicle: &VehicleKey, now: UtcMillis) -> Result<u64, StorageError> {
        let client = self.0.client().await?;
        let statement = client
            .prepare_cached(
                "UPDATE enrolment_tokens SET expires_at = $1
                 WHERE fleet = $2 AND vehicle = $3 AND used_at IS NULL AND expires_at > $1",
            )
            .await?;
        let (fleet, name) = (vehicle.fleet.as_str(), vehicle.vehicle.as_str());
        Ok(client.execute(&statement, &[&now, &fleet, &name]).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Tokens, conformance};
    use crate::fleet::database::testing::{Shared, shared};

    fn fresh() -> Option<(Shared, Tokens)> {
        let shared = shared()?;
        let tokens = Tokens::shared(&shared.database);
        Some((shared, tokens))
    }

    conformance::suite!(fresh);
}
