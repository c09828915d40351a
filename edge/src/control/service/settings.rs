//! What changes the configuration that the agent runs under: a command's reporting, and the cloud's own layer.

use std::time::Duration;

use avl_shared::link::Configuration;
use avl_shared::link::message::SetReporting;

use super::{End, EndState, Ending, Hands, Service};
use crate::control::configuration::{Layer, Offer};
use crate::control::ledger::Progress;
use crate::control::reporting::Reporting;
use crate::control::startup::{tell, with_layers};
use crate::control::{StateError, durable};

impl<H: Hands> Service<H> {
    pub(super) fn set_reporting(&mut self, id: &str, order: &SetReporting) -> Result<(), StateError> {
        let file = &self.startup.file;
        let remote = self.startup.remote.in_use().map_or("", |layer| &layer.toml);
        let reporting = Reporting::of(order).and_then(|reporting| {
            let own = crate::config::load(file).map_err(|error| error.to_string())?;
            with_layers(file, &own, remote, &reporting.toml)?;
            Ok(reporting)
        });
        match reporting {
            Err(cause) => self.end(id, &End::new(EndState::Failed, cause), None),
            Ok(reporting) if reporting == self.startup.reporting => {
                self.end(id, &End::new(EndState::Done, "it is set so already"), None)
            }
            Ok(reporting) => {
                self.record(id, Progress::Restarting)?;
                self.replace_reporting(reporting)
            }
        }
    }

    fn replace_reporting(&mut self, reporting: Reporting) -> Result<(), StateError> {
        durable::write_json(&self.files.reporting(), &reporting)?;
        self.startup.reporting = reporting;
        self.ending = Some(Ending::Restart);
        Ok(())
    }

    pub(super) fn end_reporting(&mut self) -> Result<(), StateError> {
        if self.startup.reporting.is_over(self.now()) {
            tracing::info!("the reporting that a command set is over");
            self.replace_reporting(Reporting::default())?;
        }
        Ok(())
    }

    pub(super) fn configuration(&mut self, offered: Configuration) -> Result<(), StateError> {
        let Configuration { version, toml } = offered;
        match self.startup.remote.judge(version) {
            Offer::OnTrial => Ok(()),
            Offer::Settled(settled) => tell(&self.startup.reports, &settled),
            Offer::New => {
                let file = &self.startup.file;
                let own = crate::config::load(file).map_err(|error| error.to_string());
                let judged = own.and_then(|own| with_layers(file, &own, &toml, &self.startup.reporting.toml));
                match judged {
                    Ok(_) => {
                        tracing::info!(version, "remote configuration: restarting to try it");
                        self.startup.remote.try_out(Layer { version, toml });
                        durable::write_json(&self.files.configuration(), &self.startup.remote)?;
                        self.ending = Some(Ending::Restart);
                        Ok(())
                    }
                    Err(cause) => {
                        let settled = self.startup.remote.reject(version, cause);
                        durable::write_json(&self.files.configuration(), &self.startup.remote)?;
                        tell(&self.startup.reports, &settled)
                    }
                }
            }
        }
    }

    pub(super) fn welcome(&mut self) -> Result<(), StateError> {
        self.welcomed = true;
        if let Some(settled) = self.startup.remote.confirm() {
            durable::write_json(&self.files.configuration(), &self.startup.remote)?;
            tell(&self.startup.reports, &settled)?;
        }
        self.prove()
    }

    pub(super) fn give_up_configuration(&mut self, waited: Duration) -> Result<(), StateError> {
        let cause = format!("no connection to the cloud within {waited:?} under it");
        if let Some(settled) = self.startup.remote.roll_back(&cause) {
            durable::write_json(&self.files.configuration(), &self.startup.remote)?;
            tell(&self.startup.reports, &settled)?;
            self.ending = Some(Ending::Restart);
        }
        Ok(())
    }
}
