//! The deny list of a running process: a copy in memory that follows the file within seconds.

use std::sync::Arc;
use std::time::Duration;

use avl_shared::identity::VehicleKey;
use tokio::sync::watch;

use super::certificates::{Certificates, CertificatesError, Denied};

/// How soon a revocation by another process is seen. The look costs microseconds.
const LOOK: Duration = Duration::from_secs(1);

/// Who is not accepted at this moment. Clones follow the same list.
#[derive(Clone, Debug)]
pub struct Deny(watch::Receiver<Arc<Denied>>);

impl Deny {
    /// Denies nobody, for ever.
    #[must_use]
    pub fn nobody() -> Self {
        Self(watch::Sender::new(Arc::default()).subscribe())
    }

    /// Whether a vehicle that is known by its name only is not accepted; the broker judges its certificate.
    #[must_use]
    pub fn denies_name(&self, vehicle: &VehicleKey) -> bool {
        self.0.borrow().reason_for_name(vehicle).is_some()
    }

    /// Returns when the certificate (DER) is revoked, with the operator's reason; at once when it is already.
    pub async fn until_revoked(&self, vehicle: &VehicleKey, certificate: &[u8]) -> String {
        let mut list = self.0.clone();
        let serial = serial(certificate);
        loop {
            if let Some(reason) = list.borrow_and_update().reason(vehicle, &serial) {
                return reason.to_owned();
            }
            if list.changed().await.is_err() {
                // Nobody revokes any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The serial number as it is listed; empty, which no list has, for what cannot be parsed.
#[must_use]
pub fn serial(certificate: &[u8]) -> Vec<u8> {
    x509_parser::parse_x509_certificate(certificate)
        .map(|(_, certificate)| certificate.raw_serial().to_vec())
        .unwrap_or_default()
}

/// Keeps a [`Deny`] up to date.
#[derive(Debug)]
pub struct Follower {
    certificates: Certificates,
    version: i64,
    list: watch::Sender<Arc<Denied>>,
}

/// Loads the list; [`Follower::run`] keeps it up to date.
///
/// # Errors
/// When the list cannot be read at the start: to serve without it would let revoked vehicles in.
pub async fn follow(certificates: Certificates) -> Result<(Deny, Follower), CertificatesError> {
    let version = certificates.version().await?;
    let (list, deny) = watch::channel(Arc::new(certificates.denied().await?));
    Ok((Deny(deny), Follower { certificates, version, list }))
}

impl Follower {
    /// Runs until `stop` becomes true. While the list cannot be read, the last one stays in force.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let bell = self.certificates.bell();
        loop {
            tokio::select! {
                _ = stop.wait_for(|&stop| stop) => return,
                () = tokio::time::sleep(LOOK) => {}
                () = bell.rung() => {}
            }
            if let Err(error) = self.look().await {
                tracing::error!(%error, "list of revoked vehicles cannot be read: the last one stays in force");
            }
        }
    }

    async fn look(&mut self) -> Result<(), CertificatesError> {
        let now = self.certificates.version().await?;
        if now == self.version {
            return Ok(());
        }
        let denied = self.certificates.denied().await?;
        self.version = now;
        self.list.send_if_modified(|list| {
            let modified = **list != denied;
            if modified {
                tracing::info!("the list of revoked vehicles has changed");
                *list = Arc::new(denied);
            }
            modified
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SerialNumber};

    #[tokio::test]
    async fn a_revocation_by_another_process_ends_the_wait() {
        let temp = tempfile::tempdir().unwrap();
        let vehicle: VehicleKey = "demo/van-1".parse().unwrap();
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[0x41; 16]));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(serial(certificate.der()), [0x41; 16]);
        let (deny, following) = follow(Certificates::open(temp.path()).unwrap()).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let following = tokio::spawn(following.run(stopped));
        let waiting = tokio::spawn({
            let (deny, vehicle, der) = (deny.clone(), vehicle.clone(), certificate.der().to_vec());
            async move { deny.until_revoked(&vehicle, &der).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        Certificates::open(temp.path()).unwrap().revoke(&vehicle, "stolen", 1).await.unwrap();
        assert_eq!(waiting.await.unwrap(), "stolen");
        assert_eq!(deny.until_revoked(&vehicle, certificate.der()).await, "stolen", "at once from now on");
        stop.send_replace(true);
        following.await.unwrap();
    }
}
