//! Which certificates were issued, and which are revoked: one small SQLite file beside the authority's key.
//!
//! Not in the embedded store, which may be deleted and derived again: a revocation must outlive that. Revoking a vehicle revokes
//! every certificate that it has; one that it gets afterwards, with a new token, is good. A certificate of a revoked
//! vehicle that this file does not know is revoked as well.

#[cfg(test)]
mod conformance;
mod postgres;
mod sqlite;

pub(super) use sqlite::FILE;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;

use super::StorageError;
use super::bell::Bell;
use super::database::FleetDatabase;

#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    #[error(
        "list of certificates {path} cannot be opened: {cause}: restore it from a backup with the rest of ca/"
    )]
    Open { path: PathBuf, cause: String },
    #[error("list of certificates cannot be read or written: {0}")]
    Storage(#[from] StorageError),
}

/// A certificate as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub serial: Vec<u8>,
    pub vehicle: VehicleKey,
    pub not_after: UtcMillis,
}

/// A vehicle that was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub vehicle: String,
    pub revoked_at: UtcMillis,
    pub reason: String,
    /// Whether it was enrolled again since.
    pub enrolled_again: bool,
}

/// The revoked vehicles, with the certificates that they were given since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied(HashMap<String, Denial>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Denial {
    reason: String,
    admitted: HashSet<Vec<u8>>,
}

impl Denied {
    fn add(&mut self, vehicle: String, reason: String, admitted: Option<Vec<u8>>) {
        let denial = self.0.entry(vehicle).or_default();
        denial.reason = reason;
        denial.admitted.extend(admitted);
    }

    /// Why this certificate is not accepted, if it is not.
    #[must_use]
    pub fn reason(&self, vehicle: &VehicleKey, serial: &[u8]) -> Option<&str> {
        // Most clouds have revoked nobody: no text is made for the look-up then.
        if self.0.is_empty() {
            return None;
        }
        let denial = self.0.get(&vehicle.to_string())?;
        (!denial.admitted.contains(serial)).then_some(denial.reason.as_str())
    }

    /// Why nobody of this name is accepted: it is revoked, and was given no certificate since. For where only the name
    /// is known.
    #[must_use]
    pub fn reason_for_name(&self, vehicle: &VehicleKey) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let denial = self.0.get(&vehicle.to_string())?;
        denial.admitted.is_empty().then_some(denial.reason.as_str())
    }
}

/// Where the list is kept.
#[async_trait]
pub(crate) trait CertificateList: Send + Sync {
    /// See [`Certificates::record`].
    async fn record(
        &self,
        issued: Issued,
        now: UtcMillis,
        forget_before: UtcMillis,
    ) -> Result<(), StorageError>;
    /// See [`Certificates::revoke`].
    async fn revoke(&self, vehicle: &VehicleKey, reason: &str, now: UtcMillis) -> Result<u64, StorageError>;
    /// See [`Certificates::undo`].
    async fn undo(&self, vehicle: &VehicleKey) -> Result<bool, StorageError>;
    /// See [`Certificates::revocations`].
    async fn revocations(&self) -> Result<Vec<Revocation>, StorageError>;
    /// See [`Certificates::reason`].
    async fn reason(&self, vehicle: &VehicleKey, serial: &[u8]) -> Result<Option<String>, StorageError>;
    /// See [`Certificates::denied`].
    async fn denied(&self) -> Result<Denied, StorageError>;
    /// See [`Certificates::revoked_serials`].
    async fn revoked_serials(&self, now: UtcMillis) -> Result<Vec<(Vec<u8>, UtcMillis)>, StorageError>;
    /// See [`Certificates::version`].
    async fn version(&self) -> Result<i64, StorageError>;
    /// Rings when it may have changed.
    fn bell(&self) -> Bell {
        Bell::silent()
    }
}

/// Cloning shares it.
#[derive(Clone)]
pub struct Certificates {
    list: Arc<dyn CertificateList>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl Certificates {
    /// Opens the list in the authority's directory, and makes it when it is missing. Works beside a running `avl-cloud`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(authority: &Path) -> Result<Self, CertificatesError> {
        Ok(Self { list: Arc::new(sqlite::SqliteCertificates::open(authority)?) })
    }

    /// In the database that processes share.
    #[must_use]
    pub fn shared(database: &FleetDatabase) -> Self {
        Self { list: Arc::new(postgres::PostgresCertificates(database.clone())) }
    }

    pub(super) fn bell(&self) -> Bell {
        self.list.bell()
    }

    /// Remembers a certificate before it is handed out; forgets those that ended before `forget_before`.
    ///
    /// # Errors
    /// When it cannot be written; the certificate must not be handed out then.
    pub async fn record(
        &self,
        issued: &Issued,
        now: UtcMillis,
        forget_before: UtcMillis,
    ) -> Result<(), CertificatesError> {
        Ok(self.list.record(issued.clone(), now, forget_before).await?)
    }

    /// Revokes every certificate that the vehicle has. Returns how many known ones that were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn revoke(
        &self,
        vehicle: &VehicleKey,
        reason: &str,
        now: UtcMillis,
    ) -> Result<u64, CertificatesError> {
        Ok(self.list.revoke(vehicle, reason, now).await?)
    }

    /// Takes a revocation back: every certificate of the vehicle is good again. False when it was not revoked.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn undo(&self, vehicle: &VehicleKey) -> Result<bool, CertificatesError> {
        Ok(self.list.undo(vehicle).await?)
    }

    /// Newest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn revocations(&self) -> Result<Vec<Revocation>, CertificatesError> {
        Ok(self.list.revocations().await?)
    }

    /// Why this certificate is not accepted, if it is not: straight from where the list is kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn reason(
        &self,
        vehicle: &VehicleKey,
        serial: &[u8],
    ) -> Result<Option<String>, CertificatesError> {
        Ok(self.list.reason(vehicle, serial).await?)
    }

    /// All that is denied, for many look-ups.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn denied(&self) -> Result<Denied, CertificatesError> {
        Ok(self.list.denied().await?)
    }

    /// (serial, revoked at) of revoked certificates that have not expired: what a revocation list must name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn revoked_serials(
        &self,
        now: UtcMillis,
    ) -> Result<Vec<(Vec<u8>, UtcMillis)>, CertificatesError> {
        Ok(self.list.revoked_serials(now).await?)
    }

    /// Changes when another process, or another `Certificates` of this one, has changed who is denied. Read it before
    /// [`Certificates::denied`]: what changes in between is then seen at the next look.
    pub(super) async fn version(&self) -> Result<i64, CertificatesError> {
        Ok(self.list.version().await?)
    }
}
