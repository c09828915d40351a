//! Keeps the server's certificate fresh in a process that runs for months.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avl_shared::tls::enrolment_server;
use quinn::Endpoint;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use crate::fleet::authority::Authority;
use crate::fleet::server_identity::load_or_issue;
use crate::ingest::{IngestSettings, server_config};

/// Renewal begins a month before the end, so a day more or less does not matter.
const CHECK_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Renewal {
    pub(super) directory: PathBuf,
    pub(super) authority: Arc<Authority>,
    pub(super) names: Vec<String>,
    pub(super) settings: IngestSettings,
    pub(super) quic: Endpoint,
    pub(super) enrolment: watch::Sender<Arc<ServerConfig>>,
    pub(super) current: CertificateDer<'static>,
}

impl Renewal {
    pub(super) async fn run(mut self) {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            match self.renew(SystemTime::now()) {
                Ok(true) => tracing::info!("server certificate renewed"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "server certificate cannot be renewed; trying again tomorrow");
                }
            }
        }
    }

    /// Connections that are open keep the certificate they began with.
    fn renew(&mut self, now: SystemTime) -> anyhow::Result<bool> {
        let credentials = load_or_issue(&self.directory, &self.authority, &self.names, now)?;
        if credentials.chain.first() == Some(&self.current) {
            return Ok(false);
        }
        let quic = server_config(credentials.clone(), self.authority.certificate(), &self.settings)?;
        self.enrolment.send_replace(Arc::new(enrolment_server(credentials.clone())?));
        self.quic.set_server_config(Some(quic));
        self.current = credentials.chain.into_iter().next().unwrap_or_else(|| self.current.clone());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::server_identity::server_names;
    use crate::ingest::{bind, load_or_create_reset_key};

    #[tokio::test]
    async fn a_certificate_near_its_end_is_replaced_while_the_server_runs() {
        let temp = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::load_or_create(&temp.path().join("ca")).unwrap());
        let (now, names, settings) = (SystemTime::now(), server_names(&[]), IngestSettings::default());
        let credentials = load_or_issue(temp.path(), &authority, &names, now).unwrap();
        let key = load_or_create_reset_key(temp.path()).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let quic = bind(address, credentials.clone(), authority.certificate(), &key, &settings).unwrap();
        let (enrolment, seen) = watch::channel(Arc::new(enrolment_server(credentials.clone()).unwrap()));
        let current = credentials.chain[0].clone();
        let directory = temp.path().to_owned();
        let mut renewal = Renewal { directory, authority, names, settings, quic, enrolment, current };
        assert!(!renewal.renew(now).unwrap());
        assert!(!seen.has_changed().unwrap());
        assert!(renewal.renew(now + Duration::from_secs(80 * 24 * 60 * 60)).unwrap());
        assert!(seen.has_changed().unwrap());
    }
}
