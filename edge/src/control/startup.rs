//! Which configuration the agent starts with, decided and made durable before anything else is done.

use std::path::{Path, PathBuf};

use avl_shared::link::{ConfigState, to_cloud};

use super::configuration::{RemoteConfig, Settled, Start};
use super::reporting::Reporting;
use super::update::{Directory, LAUNCHED, Slots};
use super::{Files, Reports, StateError, durable, overlay};
use crate::config::effective::Layer;
use crate::config::{self, Config, ConfigError};
use crate::health::log::LogRing;

/// What control begins with.
#[derive(Debug)]
pub struct Startup {
    /// The gateway's own file.
    pub(super) file: PathBuf,
    pub(super) remote: RemoteConfig,
    pub(super) reporting: Reporting,
    pub(super) reports: Reports,
    pub(super) slots: Slots,
    /// The version that the launcher started; `None` without a launcher.
    pub(super) launched: Option<String>,
    pub(super) log: LogRing,
}

impl Startup {
    /// For the hello.
    #[must_use]
    pub fn config_version(&self) -> u64 {
        self.remote.in_use().map_or(0, |layer| layer.version)
    }

    #[must_use]
    pub fn reports(&self) -> &Reports {
        &self.reports
    }
}

/// Reads the gateway's own file, and lays over it what was set from afar and may be used.
///
/// # Errors
/// When the file itself cannot be used, or the state cannot be written.
pub fn prepare(file: &Path, log: LogRing) -> anyhow::Result<(Config, Startup)> {
    let own = config::load(file)?;
    let files = Files::new(&own.state_dir);
    crate::identity::create_private(&own.state_dir)?;
    let reports = Reports::open(&files.reports())?;
    let mut remote: RemoteConfig = durable::read_json(&files.configuration());
    let mut reporting: Reporting = durable::read_json(&files.reporting());
    if reporting.is_over(chrono::Utc::now().timestamp_millis()) {
        reporting = Reporting::default();
        durable::write_json(&files.reporting(), &reporting)?;
    }
    let before = remote.clone();
    if let Start::GivenUp(settled) = remote.begin() {
        tell(&reports, &settled)?;
    }
    if remote != before {
        durable::write_json(&files.configuration(), &remote)?;
    }
    let config = loop {
        match with_layers(file, &own, remote.in_use().map_or("", |layer| &layer.toml), &reporting.toml) {
            Ok(config) => break config,
            Err(cause) => {
                // What was set from afar must not keep the agent from starting.
                if let Some(settled) = remote.roll_back(&cause) {
                    durable::write_json(&files.configuration(), &remote)?;
                    tell(&reports, &settled)?;
                } else if reporting != Reporting::default() {
                    tracing::error!(cause, "the reporting that a command set cannot be used: dropped");
                    reporting = Reporting::default();
                    durable::write_json(&files.reporting(), &reporting)?;
                } else {
                    tracing::error!(
                        cause,
                        "the remote configuration cannot be used any more: the gateway's own file alone is used"
                    );
                    break own.clone();
                }
            }
        }
    };
    let launched = std::env::var(LAUNCHED).ok();
    let slots =
        if launched.is_some() { Directory::new(&own.update.directory).read() } else { Slots::default() };
    Ok((config, Startup { file: file.to_owned(), remote, reporting, reports, slots, launched, log }))
}

/// What lies over the gateway's own file and environment now, for whoever shows it; nothing is changed.
#[must_use]
pub fn layers_in_use(state_dir: &Path) -> Vec<Layer> {
    let files = Files::new(state_dir);
    let remote: RemoteConfig = durable::read_json(&files.configuration());
    let reporting: Reporting = durable::read_json(&files.reporting());
    let remote = remote.in_use().map(|layer| ("set by the cloud", layer.toml.clone()));
    let over = reporting.is_over(chrono::Utc::now().timestamp_millis());
    let reporting = (!over && !reporting.toml.is_empty()).then_some(("set by a command", reporting.toml));
    remote.into_iter().chain(reporting).collect()
}

/// The file with `remote` and `reporting` over it, checked as the file is.
pub(super) fn with_layers(
    file: &Path,
    own: &Config,
    remote: &str,
    reporting: &str,
) -> Result<Config, String> {
    if remote.is_empty() && reporting.is_empty() {
        return Ok(own.clone());
    }
    overlay::check_keys(remote, &own.control.remote_keys).map_err(|error| error.to_string())?;
    let config = config::load_with(file, &[remote, reporting]).map_err(|error| match error {
        // The file by itself is good, so what is wrong stands in the layers.
        ConfigError::Key { key, cause, cure, .. } => format!("{key}: {cause}; {cure}"),
        other => other.to_string(),
    })?;
    Ok(config)
}

/// Says it in the log, and to the cloud as soon as there is a link.
pub(super) fn tell(reports: &Reports, settled: &Settled) -> Result<(), StateError> {
    let Settled { version, outcome, detail } = settled;
    tracing::info!(version, ?outcome, detail, "remote configuration");
    let outcome: avl_shared::link::ConfigOutcome = (*outcome).into();
    let state =
        ConfigState { version: *version, outcome: outcome.into(), detail: detail.clone(), receipt: 0 };
    reports.push(to_cloud::Message::ConfigState(state))
}

#[cfg(test)]
#[path = "startup_tests.rs"]
mod tests;
