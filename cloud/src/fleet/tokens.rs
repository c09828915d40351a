//! Enrolment tokens: made for an operator, used once by a gateway.

use std::path::Path;
use std::time::Duration;

use avl_shared::enrolment::{EnrolmentToken, Fingerprint, SECRET_BYTES};
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::store::sqlite::{self, OpenError};

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("enrolment tokens cannot be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
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

#[derive(Debug)]
pub struct Tokens {
    connection: Connection,
}

impl Tokens {
    /// Opens the table, and makes the store when it is missing. Works beside a running `avl-cloud`.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(store: &Path) -> Result<Self, TokenError> {
        Ok(Self { connection: sqlite::open(store)? })
    }

    /// Makes a token for `vehicle`; when this returns, it is durable.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn create(
        &self,
        vehicle: &VehicleKey,
        ca: Fingerprint,
        now: UtcMillis,
        life: Duration,
    ) -> Result<EnrolmentToken, TokenError> {
        let token = EnrolmentToken { secret: rand::random::<[u8; SECRET_BYTES]>(), ca };
        let expires_at = i64::try_from(life.as_millis()).ok().and_then(|life| now.checked_add(life));
        let expires_at = expires_at.ok_or(TokenError::TooLong(life))?;
        self.connection.execute(
            "INSERT INTO enrolment_tokens (secret_sha256, fleet, vehicle, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
            params![hash(&token), vehicle.fleet.as_str(), vehicle.vehicle.as_str(), now, expires_at],
        )?;
        Ok(token)
    }

    /// Uses a token up and says which vehicle it admits. Of two requests at the same time one succeeds.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Expired`] or [`TokenError::Used`].
    pub fn redeem(&self, token: &EnrolmentToken, now: UtcMillis) -> Result<VehicleKey, TokenError> {
        self.redeem_with(token, now, |_| true)
    }

    /// As [`Tokens::redeem`]; the token stays good when `admit` answers false.
    ///
    /// # Errors
    /// As [`Tokens::redeem`].
    pub fn redeem_with(
        &self,
        token: &EnrolmentToken,
        now: UtcMillis,
        admit: impl FnOnce(&VehicleKey) -> bool,
    ) -> Result<VehicleKey, TokenError> {
        let hash = hash(token);
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let admitted: Option<(String, String)> = transaction
            .query_row(
                "UPDATE enrolment_tokens SET used_at = ?2 WHERE secret_sha256 = ?1 AND used_at IS NULL AND expires_at > ?2
                 RETURNING fleet, vehicle",
                params![hash, now],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((fleet, vehicle)) = admitted else { return Err(self.why_refused(&hash)?) };
        let vehicle = format!("{fleet}/{vehicle}").parse().map_err(|_| TokenError::Unknown)?;
        if admit(&vehicle) {
            transaction.commit()?;
        } else {
            transaction.rollback()?;
        }
        Ok(vehicle)
    }

    /// Makes a vehicle's unused tokens worthless. Returns how many there were.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn void(&self, vehicle: &VehicleKey, now: UtcMillis) -> Result<usize, TokenError> {
        Ok(self.connection.execute(
            "UPDATE enrolment_tokens SET expires_at = ?1
             WHERE fleet = ?2 AND vehicle = ?3 AND used_at IS NULL AND expires_at > ?1",
            params![now, vehicle.fleet.as_str(), vehicle.vehicle.as_str()],
        )?)
    }

    /// Safe to tell: who asks has shown a secret of 128 bits.
    fn why_refused(&self, hash: &[u8]) -> Result<TokenError, TokenError> {
        let used: Option<bool> = self
            .connection
            .query_row(
                "SELECT used_at IS NOT NULL FROM enrolment_tokens WHERE secret_sha256 = ?",
                [hash],
                |row| row.get(0),
            )
            .optional()?;
        Ok(match used {
            None => TokenError::Unknown,
            Some(true) => TokenError::Used,
            Some(false) => TokenError::Expired,
        })
    }
}

/// A plain hash is enough: the secret is random, there is nothing to guess.
fn hash(token: &EnrolmentToken) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, &token.secret).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn tokens() -> (tempfile::TempDir, Tokens, VehicleKey, Fingerprint) {
        let temp = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&temp.path().join("store.sqlite")).unwrap();
        (temp, tokens, "demo/van-1".parse().unwrap(), Fingerprint([1; 32]))
    }

    #[test]
    fn a_token_admits_its_vehicle_once() {
        let (_temp, tokens, vehicle, ca) = tokens();
        let token = tokens.create(&vehicle, ca, 1_000, HOUR).unwrap();
        assert_eq!(tokens.redeem(&token, 2_000).unwrap(), vehicle);
        assert!(matches!(tokens.redeem(&token, 3_000), Err(TokenError::Used)));
    }

    #[test]
    fn a_token_stays_good_when_its_vehicle_was_not_admitted() {
        let (_temp, tokens, vehicle, ca) = tokens();
        let token = tokens.create(&vehicle, ca, 1_000, HOUR).unwrap();
        tokens.redeem_with(&token, 2_000, |_| false).unwrap();
        assert_eq!(tokens.redeem(&token, 3_000).unwrap(), vehicle);
    }

    #[test]
    fn an_expired_or_invented_token_admits_nobody() {
        let (_temp, tokens, vehicle, ca) = tokens();
        let token = tokens.create(&vehicle, ca, 1_000, HOUR).unwrap();
        assert!(matches!(tokens.redeem(&token, 1_000 + 3_600_000), Err(TokenError::Expired)));
        let invented = EnrolmentToken { secret: [9; SECRET_BYTES], ca };
        assert!(matches!(tokens.redeem(&invented, 2_000), Err(TokenError::Unknown)));
    }

    #[test]
    fn void_tokens_admit_nobody_and_other_vehicles_keep_theirs() {
        let (_temp, tokens, vehicle, ca) = tokens();
        let token = tokens.create(&vehicle, ca, 1_000, HOUR).unwrap();
        let other: VehicleKey = "demo/van-2".parse().unwrap();
        let others = tokens.create(&other, ca, 1_000, HOUR).unwrap();
        assert_eq!(tokens.void(&vehicle, 2_000).unwrap(), 1);
        assert!(matches!(tokens.redeem(&token, 2_000), Err(TokenError::Expired)));
        assert_eq!(tokens.redeem(&others, 2_000).unwrap(), other);
    }

    #[test]
    fn the_secret_itself_is_not_stored() {
        let (temp, tokens, vehicle, ca) = tokens();
        let token = tokens.create(&vehicle, ca, 1_000, HOUR).unwrap();
        drop(tokens);
        let stored = std::fs::read(temp.path().join("store.sqlite")).unwrap();
        assert!(!stored.windows(SECRET_BYTES).any(|window| window == token.secret));
    }
}
