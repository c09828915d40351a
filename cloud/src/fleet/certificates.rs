//! Which certificates were issued, and which are revoked: one small SQLite file beside the authority's key.
//!
//! Not in the store, which may be deleted and derived again: a revocation must outlive that. Revoking a vehicle revokes
//! every certificate that it has; one that it gets afterwards, with a new token, is good. A certificate of a revoked
//! vehicle that this file does not know is revoked as well.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::data_dir::{make_private_dir, make_private_file};

const FILE: &str = "certificates.sqlite";
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

#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    #[error(
        "list of certificates {path} cannot be opened: {cause}: restore it from a backup with the rest of ca/"
    )]
    Open { path: PathBuf, cause: String },
    #[error("list of certificates cannot be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
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

#[derive(Debug)]
pub struct Certificates {
    connection: Connection,
}

impl Certificates {
    /// Opens the list in the authority's directory, and makes it when it is missing. Works beside a running `avl-cloud`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(authority: &Path) -> Result<Self, CertificatesError> {
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
        Ok(Self { connection })
    }

    /// Remembers a certificate before it is handed out; forgets those that ended before `forget_before`.
    ///
    /// # Errors
    /// When it cannot be written; the certificate must not be handed out then.
    pub fn record(
        &self,
        issued: &Issued,
        now: UtcMillis,
        forget_before: UtcMillis,
    ) -> Result<(), CertificatesError> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM issued WHERE not_after < ?", [forget_before])?;
        transaction.execute(
            "INSERT INTO issued (serial, vehicle, issued_at, not_after) VALUES (?, ?, ?, ?)",
            params![issued.serial, issued.vehicle.to_string(), now, issued.not_after],
        )?;
        Ok(transaction.commit()?)
    }

    /// Revokes every certificate that the vehicle has. Returns how many known ones that were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn revoke(
        &self,
        vehicle: &VehicleKey,
        reason: &str,
        now: UtcMillis,
    ) -> Result<usize, CertificatesError> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let vehicle = vehicle.to_string();
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
        Ok(count)
    }

    /// Takes a revocation back: every certificate of the vehicle is good again. False when it was not revoked.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn undo(&self, vehicle: &VehicleKey) -> Result<bool, CertificatesError> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let vehicle = vehicle.to_string();
        let found = transaction.execute("DELETE FROM revoked_vehicles WHERE vehicle = ?", [&vehicle])?;
        transaction.execute("UPDATE issued SET revoked_at = NULL WHERE vehicle = ?", [&vehicle])?;
        transaction.commit()?;
        Ok(found > 0)
    }

    /// Newest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn revocations(&self) -> Result<Vec<Revocation>, CertificatesError> {
        let mut statement = self.connection.prepare(
            "SELECT vehicle, revoked_at, reason,
                    EXISTS (SELECT 1 FROM issued WHERE issued.vehicle = revoked_vehicles.vehicle AND issued.revoked_at IS NULL)
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
    }

    /// Why this certificate is not accepted, if it is not: straight from the file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reason(&self, vehicle: &VehicleKey, serial: &[u8]) -> Result<Option<String>, CertificatesError> {
        let reason = self
            .connection
            .query_row(
                "SELECT reason FROM revoked_vehicles WHERE vehicle = ?1
                 AND NOT EXISTS (SELECT 1 FROM issued WHERE serial = ?2 AND vehicle = ?1 AND revoked_at IS NULL)",
                params![vehicle.to_string(), serial],
                |row| row.get(0),
            )
            .optional()?;
        Ok(reason)
    }

    /// All that is denied, for many look-ups.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn denied(&self) -> Result<Denied, CertificatesError> {
        let mut denied = Denied::default();
        let mut statement = self.connection.prepare(
            "SELECT revoked_vehicles.vehicle, reason, serial FROM revoked_vehicles
             LEFT JOIN issued ON issued.vehicle = revoked_vehicles.vehicle AND issued.revoked_at IS NULL",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let denial = denied.0.entry(row.get(0)?).or_default();
            denial.reason = row.get(1)?;
            denial.admitted.extend(row.get::<_, Option<Vec<u8>>>(2)?);
        }
        Ok(denied)
    }

    /// (serial, revoked at) of revoked certificates that have not expired: what a revocation list must name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn revoked_serials(&self, now: UtcMillis) -> Result<Vec<(Vec<u8>, UtcMillis)>, CertificatesError> {
        let mut statement = self.connection.prepare(
            "SELECT serial, revoked_at FROM issued WHERE revoked_at IS NOT NULL AND not_after >= ? ORDER BY serial",
        )?;
        let rows = statement.query_map([now], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Changes when another process has changed the file.
    pub(super) fn data_version(&self) -> Result<i64, CertificatesError> {
        Ok(self.connection.query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = 1_800_000_000_000;

    fn van(n: u8) -> VehicleKey {
        format!("demo/van-{n}").parse().unwrap()
    }

    fn issued(n: u8, serial: u8) -> Issued {
        Issued { serial: vec![serial; 16], vehicle: van(n), not_after: NOW + 1_000_000 }
    }

    fn list() -> (tempfile::TempDir, Certificates) {
        let temp = tempfile::tempdir().unwrap();
        let list = Certificates::open(temp.path()).unwrap();
        for certificate in [issued(1, 10), issued(1, 11), issued(2, 20)] {
            list.record(&certificate, NOW, 0).unwrap();
        }
        (temp, list)
    }

    /// Both ways to ask must answer alike.
    fn reason(list: &Certificates, vehicle: u8, serial: u8) -> Option<String> {
        let from_file = list.reason(&van(vehicle), &[serial; 16]).unwrap();
        let denied = list.denied().unwrap();
        assert_eq!(denied.reason(&van(vehicle), &[serial; 16]), from_file.as_deref());
        from_file
    }

    #[test]
    fn a_revoked_vehicle_loses_every_certificate_and_nobody_else_does() {
        let (_temp, list) = list();
        assert_eq!(reason(&list, 1, 10), None);
        assert_eq!(list.revoke(&van(1), "stolen", NOW).unwrap(), 2);
        assert_eq!(reason(&list, 1, 10).as_deref(), Some("stolen"));
        assert_eq!(reason(&list, 1, 11).as_deref(), Some("stolen"));
        assert_eq!(reason(&list, 1, 99).as_deref(), Some("stolen"), "one that the list does not know");
        assert_eq!(reason(&list, 2, 20), None);
    }

    #[test]
    fn a_certificate_given_after_the_revocation_is_good_and_the_old_ones_stay_revoked() {
        let (_temp, list) = list();
        list.revoke(&van(1), "stolen", NOW).unwrap();
        list.record(&issued(1, 12), NOW + 1, 0).unwrap();
        assert_eq!(reason(&list, 1, 12), None);
        assert_eq!(reason(&list, 1, 10).as_deref(), Some("stolen"));
        assert!(list.revocations().unwrap()[0].enrolled_again);
        list.revoke(&van(1), "again", NOW + 2).unwrap();
        assert_eq!(reason(&list, 1, 12).as_deref(), Some("again"));
    }

    #[test]
    fn a_revocation_can_be_taken_back_and_outlives_a_restart_until_then() {
        let (temp, list) = list();
        list.revoke(&van(1), "mistake", NOW).unwrap();
        drop(list);
        let list = Certificates::open(temp.path()).unwrap();
        assert_eq!(reason(&list, 1, 10).as_deref(), Some("mistake"));
        assert!(list.undo(&van(1)).unwrap());
        assert!(!list.undo(&van(1)).unwrap());
        assert_eq!(reason(&list, 1, 10), None);
    }

    #[test]
    fn another_process_sees_the_change() {
        let (temp, list) = list();
        let running = Certificates::open(temp.path()).unwrap();
        let before = running.data_version().unwrap();
        assert_eq!(running.data_version().unwrap(), before);
        list.revoke(&van(1), "stolen", NOW).unwrap();
        assert_ne!(running.data_version().unwrap(), before);
    }

    #[test]
    fn a_revocation_list_names_what_is_revoked_and_has_not_expired() {
        let (_temp, list) = list();
        list.revoke(&van(1), "stolen", NOW).unwrap();
        assert_eq!(list.revoked_serials(NOW).unwrap().len(), 2);
        assert_eq!(list.revoked_serials(NOW + 2_000_000).unwrap(), []);
    }
}
