//! Tokens in the embedded store's file.

use std::path::Path;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use rusqlite::{OptionalExtension, Row, params};

use super::{TokenRow, TokenTable};
use crate::fleet::StorageError;
use crate::fleet::storage::Desk;
use crate::store::sqlite;

pub(super) struct SqliteTokens(Desk);

impl SqliteTokens {
    pub(super) fn open(store: &Path) -> Result<Self, StorageError> {
        Ok(Self(Desk::new(sqlite::open(store)?)))
    }
}

#[async_trait]
impl TokenTable for SqliteTokens {
    async fn insert(&self, token: TokenRow) -> Result<(), StorageError> {
        self.0
            .work(move |connection| {
                connection.execute(
                    "INSERT INTO enrolment_tokens (secret_sha256, fleet, vehicle, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
                    params![
                        token.secret_sha256,
                        token.vehicle.fleet.as_str(),
                        token.vehicle.vehicle.as_str(),
                        token.created_at,
                        token.expires_at
                    ],
                )?;
                Ok(())
            })
            .await
    }

    async fn find(&self, secret_sha256: &[u8]) -> Result<Option<TokenRow>, StorageError> {
        let hash = secret_sha256.to_vec();
        self.0
            .work(move |connection| {
                let sql = "SELECT secret_sha256, fleet, vehicle, created_at, expires_at, used_at FROM enrolment_tokens
                     WHERE secret_sha256 = ?";
                Ok(connection.query_row(sql, [hash], row).optional()?.flatten())
            })
            .await
    }

    async fn take(&self, secret_sha256: &[u8], now: UtcMillis) -> Result<bool, StorageError> {
        let hash = secret_sha256.to_vec();
        self.0
            .work(move |connection| {
                let changed = connection.execute(
                    "UPDATE enrolment_tokens SET used_at = ?2
                     WHERE secret_sha256 = ?1 AND used_at IS NULL AND expires_at > ?2",
                    params![hash, now],
                )?;
                Ok(changed == 1)
            })
            .await
    }

    async fn void(&self, vehicle: &VehicleKey, now: UtcMillis) -> Result<u64, StorageError> {
        let vehicle = vehicle.clone();
        self.0
            .work(move |connection| {
                let changed = connection.execute(
                    "UPDATE enrolment_tokens SET expires_at = ?1
                     WHERE fleet = ?2 AND vehicle = ?3 AND used_at IS NULL AND expires_at > ?1",
                    params![now, vehicle.fleet.as_str(), vehicle.vehicle.as_str()],
                )?;
                Ok(changed as u64)
            })
            .await
    }
}

/// `None` for a name that no release wrote.
fn row(row: &Row<'_>) -> rusqlite::Result<Option<TokenRow>> {
    let name = format!("{}/{}", row.get::<_, String>(1)?, row.get::<_, String>(2)?);
    let Ok(vehicle) = name.parse() else { return Ok(None) };
    Ok(Some(TokenRow {
        secret_sha256: row.get(0)?,
        vehicle,
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
        used_at: row.get(5)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::{Tokens, conformance};
    use std::time::Duration;

    fn fresh() -> Option<(tempfile::TempDir, Tokens)> {
        let temp = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&temp.path().join("store.sqlite")).unwrap();
        Some((temp, tokens))
    }

    conformance::suite!(fresh);

    #[tokio::test]
    async fn the_secret_itself_is_not_stored() {
        let (temp, tokens) = fresh().unwrap();
        let token = tokens
            .create(&conformance::van(), conformance::CA, 1_000, Duration::from_secs(60))
            .await
            .unwrap();
        drop(tokens);
        let stored = std::fs::read(temp.path().join("store.sqlite")).unwrap();
        assert!(!stored.windows(token.secret.len()).any(|window| window == token.secret));
    }
}
