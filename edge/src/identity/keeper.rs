//! Keeps the identity of this moment: takes what is on flash from the start and whenever it changes there, enrols a
//! gateway that finds an invitation, renews a certificate in time or after it has expired.
//!
//! Nothing here stops the agent: without an identity it records, and what went wrong is in the view.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use avl_shared::identity::Validity;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::files::{CERTIFICATE, directory, read_url, recover};
use super::renewal::renew;
use super::{Access, Identity, IdentityConfig, IdentityView, Keys, StoredIdentityError, plan, store};
use crate::clock::{Clock, show};
use crate::enrol::{self, EnrolError, invitation};
use crate::health::View;

/// How often files and dates are looked at: an installer has just run `avl-edge enrol` beside the running agent, or
/// plugged in a stick.
const LOOK: Duration = Duration::from_secs(1);

/// Device, inode and change time of a file: a new identity is a new file.
type Mark = Option<(u64, u64, i64, i64)>;

/// Holds the identity for as long as the agent runs.
pub struct Keeper {
    state_dir: PathBuf,
    config: IdentityConfig,
    /// Where to renew when nobody said: the port number of the link, over TCP.
    fallback_url: String,
    clock: Clock,
    current: watch::Sender<Option<Arc<Identity>>>,
    view: View<IdentityView>,
    mark: Mark,
    /// A cloud says that the certificate has expired, whatever our clock says.
    expired: Arc<Notify>,
    /// The invitation that was tried last, by its change time: another one is tried at once.
    tried: Option<(PathBuf, Mark)>,
    failures: u32,
    next_attempt: Instant,
}

impl Keeper {
    /// Loads what is there. A gateway that is not enrolled, or whose identity is damaged, starts without one: recording
    /// needs none. `link` is `HOST:PORT` of the cloud.
    #[must_use]
    pub fn open(
        state_dir: &Path,
        config: IdentityConfig,
        link: &str,
        clock: Clock,
        view: View<IdentityView>,
    ) -> Self {
        if let Err(error) = recover(state_dir) {
            tracing::error!("{error}");
        }
        let mut keeper = Self {
            state_dir: state_dir.to_owned(),
            config,
            fallback_url: format!("https://{link}"),
            clock,
            current: watch::Sender::new(None),
            view,
            mark: None,
            expired: Arc::default(),
            tried: None,
            failures: 0,
            next_attempt: Instant::now(),
        };
        keeper.reload();
        keeper
    }

    /// For transports.
    #[must_use]
    pub fn access(&self) -> Access {
        Access::new(self.clock.clone(), self.current.subscribe(), Arc::clone(&self.expired))
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let expired = Arc::clone(&self.expired);
        loop {
            let told_expired = tokio::select! {
                () = sleep(LOOK) => false,
                () = expired.notified() => true,
            };
            if mark(&certificate(&self.state_dir)) != self.mark {
                self.reload();
                self.start_afresh();
            }
            let identity = self.current.borrow().clone();
            match identity {
                Some(identity) if self.is_time() => self.renew_when_due(&identity, told_expired).await,
                None if self.mark.is_none() => self.enrol_from_files().await,
                // Too early; or damaged, and only a person can help.
                _ => {}
            }
        }
    }

    /// Takes what is on flash; what cannot be used leaves the identity that there was.
    fn reload(&mut self) {
        self.mark = mark(&certificate(&self.state_dir));
        match Identity::load(&self.state_dir, &self.config) {
            Ok(identity) => {
                let validity = validity(&identity);
                if let Some(validity) = validity {
                    // The authority has signed that it was this late.
                    self.clock.not_before(validity.not_before);
                }
                tracing::info!(
                    vehicle = %identity.vehicle,
                    valid_until = validity.map(|validity| show(validity.not_after)),
                    "identity loaded"
                );
                let due =
                    validity.zip(identity.fingerprint()).map(|(validity, print)| plan::due(validity, print));
                self.view.update(|view| {
                    *view = IdentityView {
                        vehicle: Some(identity.vehicle.to_string()),
                        not_before: validity.map(|validity| validity.not_before),
                        not_after: validity.map(|validity| validity.not_after),
                        renew_at: due,
                        last_error: None,
                    };
                });
                self.current.send_replace(Some(Arc::new(identity)));
            }
            Err(error) => {
                match &error {
                    StoredIdentityError::NotEnrolled { .. } => tracing::warn!("{error}; recording goes on"),
                    damaged => tracing::error!("{damaged}; recording goes on"),
                }
                self.view.update(|view| view.last_error = Some(error.to_string()));
            }
        }
    }

    async fn enrol_from_files(&mut self) {
        let mut patterns = self.config.enrolment_files.clone();
        patterns.push(self.state_dir.join("enrol.txt"));
        let Some(file) = invitation::find(&patterns).into_iter().next() else { return };
        let found = Some((file.clone(), mark(&file)));
        if found != self.tried {
            self.start_afresh();
        }
        // Certificates cannot be judged without any time; the agent waits for its receiver.
        if !self.is_time() || self.clock.reading().is_none() {
            return;
        }
        self.tried = found;
        let outcome = match Keys::of(&self.config) {
            Ok(keys) => {
                let outcome = self.enrol_from(&file, &keys).await;
                keys.tidy(&self.state_dir).await;
                outcome
            }
            Err(error) => Err((error.to_string(), true)),
        };
        match outcome {
            Ok(()) => {
                self.reload();
                self.start_afresh();
            }
            Err((trouble, refused)) => self.failed(&trouble, true, refused),
        }
    }

    fn is_time(&self) -> bool {
        Instant::now() >= self.next_attempt
    }

    fn start_afresh(&mut self) {
        (self.failures, self.next_attempt) = (0, Instant::now());
    }

    /// The error, and whether only a person can change it.
    async fn enrol_from(&self, file: &Path, keys: &Keys) -> Result<(), (String, bool)> {
        let at = |cause: String| format!("invitation {}: {cause}", file.display());
        let invitation = invitation::read(file).map_err(|error| (at(error.to_string()), false))?;
        tracing::info!(file = %file.display(), url = invitation.url, "invitation found: enrolling");
        let enrolled =
            enrol::enrol(&invitation.url, &invitation.token, keys, &self.clock).await.map_err(|error| {
                let refused =
                    matches!(&error, EnrolError::Refused { status, .. } if status.is_client_error());
                (at(error.to_string()), refused)
            })?;
        store(&self.state_dir, &enrolled.files()).map_err(|error| (error.to_string(), false))?;
        tracing::info!(vehicle = %enrolled.vehicle, "enrolled");
        if let Err(error) = invitation::destroy(file) {
            tracing::warn!(file = %file.display(), %error, "the used invitation cannot be removed; its token is worthless now");
        }
        Ok(())
    }

    async fn renew_when_due(&mut self, identity: &Identity, told_expired: bool) {
        let (Some(validity), Some(fingerprint)) = (validity(identity), identity.fingerprint()) else {
            return;
        };
        let Some(reading) = self.clock.reading() else { return };
        // A lower bound says at least that it is this late.
        let expired = told_expired || reading.utc_ms > validity.not_after;
        if !expired && reading.utc_ms < plan::due(validity, fingerprint) {
            return;
        }
        let url = self
            .config
            .renew_url
            .clone()
            .or_else(|| read_url(&self.state_dir))
            .unwrap_or_else(|| self.fallback_url.clone());
        tracing::info!(url, valid_until = %show(validity.not_after), "renewing the certificate");
        let renewed = match Keys::of(&self.config) {
            Ok(keys) => renew(&url, &self.state_dir, identity, &keys, &self.clock).await,
            Err(error) => Err(error.into()),
        };
        match renewed {
            Ok(()) => {
                tracing::info!("certificate renewed");
                self.reload();
                self.start_afresh();
            }
            Err(error) => {
                let refused = error.is_final();
                self.failed(&error.to_string(), expired, refused);
            }
        }
    }

    fn failed(&mut self, trouble: &str, urgent: bool, refused: bool) {
        self.failures = self.failures.saturating_add(1);
        let wait = plan::wait_after(self.failures, urgent, refused);
        self.next_attempt = Instant::now() + wait;
        tracing::warn!(next_attempt = ?wait, "{trouble}");
        let at = self.clock.now().map(|now| in_future(now, wait));
        self.view.update(|view| (view.last_error, view.renew_at) = (Some(trouble.to_owned()), at));
    }
}

fn validity(identity: &Identity) -> Option<Validity> {
    identity.credentials.chain.first().and_then(|leaf| Validity::of(leaf).ok())
}

fn in_future(now: UtcMillis, wait: Duration) -> UtcMillis {
    now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

fn certificate(state_dir: &Path) -> PathBuf {
    directory(state_dir).join(CERTIFICATE)
}

fn mark(file: &Path) -> Mark {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
}
