//! What every request shares.

use std::path::Path;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Semaphore, watch};

use super::auth::links::SignInLinks;
use super::auth::secret::{self, SecretError};
use super::auth::session::Sessions;
use super::auth::token::TokenCheck;
use super::guard::hosts::HostRule;
use super::live::hub::Hub;
use super::settings::{ApiSettings, SettingsError};
use crate::fleet::control::Control;
use crate::live::LiveFeed;
use crate::store::Store;

#[derive(Debug, thiserror::Error)]
pub enum ApiStateError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Cloning shares it.
#[derive(Clone)]
pub struct ApiState {
    shared: Arc<Shared>,
}

/// Reached through [`ApiState`] only.
pub struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) feed: LiveFeed,
    pub(crate) control: Control,
    pub(crate) settings: ApiSettings,
    pub(crate) token: TokenCheck,
    pub(crate) sessions: Sessions,
    pub(crate) links: SignInLinks,
    pub(crate) hosts: HostRule,
    pub(crate) hub: Hub,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) viewers: Arc<Semaphore>,
    /// Becomes true once, when the server begins to shut down.
    pub(crate) draining: watch::Sender<bool>,
}

impl ApiState {
    /// Loads the API token and the session key from the data directory, or makes them (mode 0600).
    ///
    /// # Errors
    /// [`ApiStateError`] when a setting is wrong or a secret cannot be read or made.
    pub fn new(
        data_dir: &Path,
        settings: ApiSettings,
        store: Arc<dyn Store>,
        feed: LiveFeed,
        control: Control,
        metrics: PrometheusHandle,
    ) -> Result<Self, ApiStateError> {
        settings.validate()?;
        let token = secret::load_or_create(&data_dir.join(secret::TOKEN_FILE))?;
        let session_key = secret::load_or_create(&data_dir.join(secret::SESSION_KEY_FILE))?;
        let shared = Shared {
            store,
            feed,
            control,
            token: TokenCheck::new(token.as_str())?,
            sessions: Sessions::new(session_key.as_str(), settings.session_lifetime),
            links: SignInLinks::default(),
            hosts: HostRule::new(&settings),
            hub: Hub::default(),
            metrics,
            requests: Arc::new(Semaphore::new(settings.max_requests)),
            exports: Arc::new(Semaphore::new(settings.max_exports)),
            viewers: Arc::new(Semaphore::new(settings.max_viewers)),
            draining: watch::Sender::new(false),
            settings,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    #[must_use]
    pub fn settings(&self) -> &ApiSettings {
        &self.shared.settings
    }
}

impl std::ops::Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// Completes when the server begins to shut down.
pub(crate) async fn drained(draining: &mut watch::Receiver<bool>) {
    // An error means that the state itself is gone.
    let _ = draining.wait_for(|draining| *draining).await;
}
