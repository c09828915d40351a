//! Enrolment tokens: made for an operator, used once by a gateway.

#[cfg(test)]
mod conformance;
mod postgres;
mod sqlite;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use avl_shared::enrolment::{EnrolmentToken, Fingerprint, SECRET_BYTES};
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;

use super::StorageError;
use super::database::FleetDatabase;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("enrolment tokens cannot be read or written: {0}")]
    Storage(#[from] StorageError),
    #[error("enrolment token is unknown here: make one with 'avl-cloud token' on this server")]
    Unknown,
    #[error("enrolment token has expired: make a new one with 'avl-cloud token'")]
    Expired,
    #[error(
        "enrolment token was used already: each admits one vehicle once; make a new one with 'avl-cloud token'"
    )]
    Used,
    #[error("a token's life of {0:?} is too long")]
    TooLong(Duration),
}

/// A token as it is kept: of its secret only the SHA-256, so whoever reads it can enrol nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenRow {
    pub(crate) secret_sha256: Vec<u8>,
    pub(crate) vehicle: VehicleKey,
    pub(crate) created_at: UtcMillis,
    pub(crate) expires_at: UtcMillis,
    pub(crate) used_at: Option<UtcMillis>,
}

/// Where tokens are kept.
#[async_trait]
pub(crate) trait TokenTable: Send + Sync {
    /// Durable when it returns.
    async fn insert(&self, token: TokenRow) -> Result<(), StorageError>;

    async fn find(&self, secret_sha256: &[u8]) -> Result<Option<TokenRow>, StorageError>;

    /// Marks a token as used that is neither used nor expired; true for one caller only, whatever happens at one time.
    async fn take(&self, secret_sha256: &[u8], now: UtcMillis) -> Result<bool, StorageError>;

    /// Lets a vehicle's unused tokens expire; how many.
    async fn void(&self, vehicle: &VehicleKey, now: UtcMillis) -> Result<u64, StorageError>;
}

/// Cloning shares them.
#[derive(Clone)]
pub struct Tokens {
    table: Arc<dyn TokenTable>,
}

impl Tokens {
    /// Opens the table in the embedded store, and makes the store when it is missing. Works beside a running `avl-cloud`.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(store: &Path) -> Result<Self, TokenError> {
        Ok(Self { table: Arc::new(sqlite::SqliteTokens::open(store)?) })
    }

    /// In the database that processes share.
    #[must_use]
    pub fn shared(database: &FleetDatabase) -> Self {
        Self { table: Arc::new(postgres::PostgresTokens(database.clone())) }
    }

    /// Makes a token for `vehicle`; when this returns, it is durable.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn create(
        &self,
        vehicle: &VehicleKey,
        ca: Fingerprint,
        now: UtcMillis,
        life: Duration,
    ) -> Result<EnrolmentToken, TokenError> {
        let token = EnrolmentToken { secret: rand::random::<[u8; SECRET_BYTES]>(), ca };
        let expires_at = i64::try_from(life.as_millis()).ok().and_then(|life| now.checked_add(life));
        let expires_at = expires_at.ok_or(TokenError::TooLong(life))?;
        let row = TokenRow {
            secret_sha256: hash(&token),
            vehicle: vehicle.clone(),
            created_at: now,
            expires_at,
            used_at: None,
        };
        self.table.insert(row).await?;
        Ok(token)
    }

    /// Which vehicle a token admits, as long as nobody redeems it; it stays good.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Expired`] or [`TokenError::Used`].
    pub async fn look_up(&self, token: &EnrolmentToken, now: UtcMillis) -> Result<VehicleKey, TokenError> {
        // Safe to tell why not: who asks has shown a secret of 128 bits.
        match self.table.find(&hash(token)).await? {
            None => Err(TokenError::Unknown),
            Some(TokenRow { used_at: Some(_), .. }) => Err(TokenError::Used),
            Some(row) if row.expires_at <= now => Err(TokenError::Expired),
            Some(row) => Ok(row.vehicle),
        }
    }

    /// Uses a token up and says which vehicle it admits. Of any number of requests at the same time, whatever processes
    /// they come to, one succeeds.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Expired`] or [`TokenError::Used`].
    pub async fn redeem(&self, token: &EnrolmentToken, now: UtcMillis) -> Result<VehicleKey, TokenError> {
        let vehicle = self.look_up(token, now).await?;
        if self.table.take(&hash(token), now).await? {
            return Ok(vehicle);
        }
        // Another was faster, or it was voided: the second look says which.
        Err(self.look_up(token, now).await.err().unwrap_or(TokenError::Used))
    }

    /// Makes a vehicle's unused tokens worthless. Returns how many there were.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn void(&self, vehicle: &VehicleKey, now: UtcMillis) -> Result<u64, TokenError> {
        Ok(self.table.void(vehicle, now).await?)
    }
}

/// A plain hash is enough: the secret is random, there is nothing to guess.
fn hash(token: &EnrolmentToken) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, &token.secret).as_ref().to_vec()
}
