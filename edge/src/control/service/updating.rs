//! Updates, as control carries them out: download, install, hand over, and prove or report what became of it.

use std::time::Duration;

use avl_shared::link::CommandState;
use avl_shared::release::Version;

use super::{End, EndState, Ending, Hands, Job, Service};
use crate::control::ledger::Progress;
use crate::control::update::{self, Directory, Evidence, Expectation, Order, Refusal, Situation, Trial};
use crate::control::{StateError, durable};

/// Fixes that came in this time before an update say that the receiver works.
const RECEIVING: Duration = Duration::from_secs(60);

impl<H: Hands> Service<H> {
    pub(super) fn update(&mut self, order: Order) -> Result<(), StateError> {
        let id = order.command.clone();
        let busy: Option<Order> = durable::read_json(&self.files.update());
        if busy.is_some() {
            let cause = "another update is being downloaded: try again when that is decided";
            return self.end(&id, &End::new(EndState::Failed, cause), None);
        }
        match update::judge(&order, &self.situation()) {
            Err(refusal) => {
                let state = if refusal == Refusal::OnTrial { EndState::Failed } else { EndState::Refused };
                tracing::warn!("update refused: {refusal}");
                self.end(&id, &End::new(state, refusal.to_string()), None)
            }
            Ok(manifest) => {
                durable::write_json(&self.files.update(), &order)?;
                self.record(&id, Progress::Lasting)?;
                let detail = format!("downloading version {}, {} bytes", manifest.version, manifest.size);
                self.push(&id, CommandState::Accepted, &detail, None)?;
                self.begin_download(order)
            }
        }
    }

    pub(super) fn begin_download(&mut self, order: Order) -> Result<(), StateError> {
        let manifest = match update::judge(&order, &self.situation()) {
            Ok(manifest) => manifest,
            Err(refusal) => return self.drop_update(&order.command, &refusal.to_string()),
        };
        let source = match self.release_source(order.port) {
            Ok(source) => source,
            Err(cause) => return self.drop_update(&order.command, &cause),
        };
        let file = Directory::new(&self.around.config.update.directory).download();
        self.jobs.spawn(async move {
            let version = manifest.version;
            match update::download(&source, &manifest, &file).await {
                Ok(()) => Job::Downloaded { order, version },
                Err(error) => Job::Ended {
                    id: order.command,
                    end: End::new(EndState::Failed, error.to_string()),
                    payload: None,
                },
            }
        });
        Ok(())
    }

    fn drop_update(&mut self, id: &str, cause: &str) -> Result<(), StateError> {
        self.end(id, &End::new(EndState::Failed, cause), None)
    }

    pub(super) fn install(&mut self, order: &Order, version: Version) -> Result<(), StateError> {
        let directory = Directory::new(&self.around.config.update.directory);
        let mut slots = directory.read();
        let slot = slots.spare();
        let status = self.around.status.borrow().clone();
        let expected = Expectation {
            epoch: status.epoch.0,
            next_sequence: status.next_sequence,
            receiving: self.newest.is_some_and(|newest| newest.elapsed() < RECEIVING),
        };
        let installed = directory.install(slot).and_then(|()| {
            slots.try_out(Trial::new(slot, version, &order.command, expected));
            directory.write(&slots)
        });
        if let Err(error) = installed {
            return self.drop_update(&order.command, &error.to_string());
        }
        durable::remove(&self.files.update())?;
        tracing::info!(%version, ?slot, "new version installed: handing over to try it");
        self.ending = Some(Ending::NewVersion);
        Ok(())
    }

    /// Whether the version on trial, which this one is, may stay.
    pub(super) fn prove(&mut self) -> Result<(), StateError> {
        let Some(trial) = self.startup.slots.trial() else { return Ok(()) };
        let status = self.around.status.borrow().clone();
        let evidence = Evidence {
            welcomed: self.welcomed,
            epoch: status.epoch.0,
            next_sequence: status.next_sequence,
            fix_seen: status.next_sequence > self.first_sequence,
        };
        if !trial.expected.is_met_by(&evidence) {
            return Ok(());
        }
        self.startup.slots.confirm();
        Directory::new(&self.around.config.update.directory).write(&self.startup.slots)?;
        self.tell_of_update()
    }

    /// How the last trial of a version ended, if the cloud is not told yet.
    pub(super) fn tell_of_update(&mut self) -> Result<(), StateError> {
        let Some(finished) = self.startup.slots.finished().cloned() else { return Ok(()) };
        let state = if finished.applied { EndState::Done } else { EndState::Failed };
        self.end(&finished.command, &End::new(state, finished.detail), None)?;
        self.startup.slots.told();
        Directory::new(&self.around.config.update.directory).write(&self.startup.slots)
    }

    pub(super) fn running(&self) -> Version {
        let launched = self.startup.launched.as_deref().and_then(|version| version.parse().ok());
        launched.or_else(|| env!("CARGO_PKG_VERSION").parse().ok()).unwrap_or_default()
    }

    fn situation(&self) -> Situation<'_> {
        let config = &self.around.config.update;
        Situation {
            vehicle: &self.around.vehicle,
            key: config.public_key,
            launched: self.startup.launched.is_some(),
            running: self.running(),
            target: update::TARGET,
            max_bytes: config.max_bytes,
            now: self.now(),
            on_trial: self.startup.slots.trial().is_some(),
        }
    }

    fn release_source(&self, port: u16) -> Result<update::Source, String> {
        update::Source::of(&self.around.config, port, &self.around.authorities, self.around.clock.clone())
    }
}
