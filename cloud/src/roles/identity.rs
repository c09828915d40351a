//! Who this server is to vehicles, and how that is kept fresh in a process that runs for months.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avl_shared::tls::{Credentials, broker_client, enrolment_server};
use quinn::Endpoint;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use super::fleet::Issuer;
use super::server::Server;
use crate::data_dir::DataDir;
use crate::fleet::authority::Authority;
use crate::fleet::broker::{broker_authorities, cloud_client};
use crate::fleet::server_identity::{load_or_issue, server_names};
use crate::fleet::tls_files::TlsFiles;
use crate::ingest::{IngestSettings, MakeTls, MqttSettings, server_config};

/// Renewal begins a month before the end, so a day more or less does not matter.
const LOOK_AT_OURS: Duration = Duration::from_secs(24 * 60 * 60);
/// Whoever replaces files does not tell us.
const LOOK_AT_FILES: Duration = Duration::from_secs(60);

/// Where the server's certificate comes from.
#[derive(Clone)]
pub(super) enum Identity {
    /// Made by the built-in authority.
    Issued { directory: PathBuf, authority: Arc<Authority>, names: Vec<String> },
    /// Made elsewhere, and replaced by whoever made it.
    Files(TlsFiles),
}

/// The built-in authority's, for the names of the configuration.
pub(super) fn issued(server: &Server, data: &DataDir, issuer: &Issuer) -> Identity {
    let names = server_names(&server.config.names);
    Identity::Issued { directory: data.server(), authority: Arc::clone(&issuer.authority), names }
}

impl Identity {
    /// The certificate and key, and the authority that signs vehicles.
    pub(super) fn load(&self, now: SystemTime) -> anyhow::Result<(Credentials, CertificateDer<'static>)> {
        match self {
            Self::Issued { directory, authority, names } => {
                let credentials = load_or_issue(directory, authority, names, now)?;
                Ok((credentials, authority.certificate().clone()))
            }
            Self::Files(files) => files.server(),
        }
    }

    /// TLS towards the broker. What cannot be used is said at once, not at each attempt to connect.
    pub(super) fn broker_tls(&self, settings: &MqttSettings, host: &str) -> anyhow::Result<MakeTls> {
        let name = settings.server_name.clone().unwrap_or_else(|| host.to_owned());
        let (identity, further) = (self.clone(), settings.authorities.clone());
        let tls = move || {
            let further = further.as_deref();
            match &identity {
                Self::Issued { authority, .. } => cloud_client(authority, &name, further, SystemTime::now()),
                Self::Files(files) => {
                    let authorities = broker_authorities(files.server()?.1, further)?;
                    Ok(broker_client(files.client()?, &authorities, &name)?)
                }
            }
        };
        tls()?;
        Ok(Box::new(tls))
    }

    fn look_every(&self) -> Duration {
        match self {
            Self::Issued { .. } => LOOK_AT_OURS,
            Self::Files(_) => LOOK_AT_FILES,
        }
    }
}

/// Gives the listeners a new certificate when there is one.
pub(super) struct Renewal {
    pub(super) identity: Identity,
    pub(super) settings: IngestSettings,
    pub(super) quic: Option<Endpoint>,
    pub(super) enrolment: watch::Sender<Arc<ServerConfig>>,
    pub(super) current: Vec<CertificateDer<'static>>,
}

impl Renewal {
    /// Runs until `stop` becomes true.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let every = self.identity.look_every();
        while tokio::time::timeout(every, stop.wait_for(|&stop| stop)).await.is_err() {
            match self.renew(SystemTime::now()) {
                Ok(true) => tracing::info!("server certificate renewed"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(
                        "server certificate cannot be renewed ({error:#}); trying again in {every:?}"
                    );
                }
            }
        }
    }

    /// Connections that are open keep the certificate they began with.
    fn renew(&mut self, now: SystemTime) -> anyhow::Result<bool> {
        let (credentials, authority) = self.identity.load(now)?;
        if credentials.chain == self.current {
            return Ok(false);
        }
        let enrolment = enrolment_server(credentials.clone())?;
        if let Some(quic) = &self.quic {
            let config = server_config(credentials.clone(), &authority, &self.settings)?;
            quic.set_server_config(Some(config));
        }
        self.enrolment.send_replace(Arc::new(enrolment));
        self.current = credentials.chain;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{bind, load_or_create_reset_key};

    #[tokio::test]
    async fn a_certificate_near_its_end_is_replaced_while_the_server_runs() {
        let temp = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::load_or_create(&temp.path().join("ca")).unwrap());
        let (now, names, settings) = (SystemTime::now(), server_names(&[]), IngestSettings::default());
        let directory = temp.path().to_owned();
        let identity = Identity::Issued { directory, authority: Arc::clone(&authority), names };
        let (credentials, _) = identity.load(now).unwrap();
        let key = load_or_create_reset_key(temp.path()).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let quic = bind(address, credentials.clone(), authority.certificate(), &key, &settings).unwrap();
        let (enrolment, seen) = watch::channel(Arc::new(enrolment_server(credentials.clone()).unwrap()));
        let current = credentials.chain.clone();
        let mut renewal = Renewal { identity, settings, quic: Some(quic), enrolment, current };
        assert!(!renewal.renew(now).unwrap());
        assert!(!seen.has_changed().unwrap());
        assert!(renewal.renew(now + Duration::from_secs(80 * 24 * 60 * 60)).unwrap());
        assert!(seen.has_changed().unwrap());
    }
}
