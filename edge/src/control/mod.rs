//! What the cloud may ask of this vehicle: commands, a remote configuration, signed updates.
//!
//! Promises: the gateway's own file decides what is allowed, and nothing from afar changes that; a command that is
//! delivered twice is carried out once; whatever is answered is repeated until the cloud has stored it; a configuration
//! or a version under which the vehicle does not reach the cloud is taken back by the vehicle alone, also when it was
//! killed or lost its power in between. Decisions are state machines without I/O ([`configuration`], [`ledger`],
//! [`update`]); each new state is on flash before anything is done about it. Everything is in `state_dir/control`.

mod config;
pub mod configuration;
mod diagnostics;
mod durable;
mod hands;
pub mod ledger;
mod overlay;
mod port;
mod reporting;
mod reports;
mod service;
mod startup;
pub mod update;

pub use config::{ControlConfig, Permission, UpdateConfig};
pub use durable::StateError;
pub use hands::{Hands, Located};
pub use port::{Downlink, Inbox, Port};
pub use reports::{Feed, Reports};
pub use service::{Ending, Service, Surroundings};
pub use startup::{Startup, layers_in_use, prepare};

use std::path::{Path, PathBuf};

/// The files in `state_dir/control`.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("control") }
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("configuration.json")
    }

    fn reporting(&self) -> PathBuf {
        self.folder.join("reporting.json")
    }

    fn commands(&self) -> PathBuf {
        self.folder.join("commands.json")
    }

    fn update(&self) -> PathBuf {
        self.folder.join("update.json")
    }

    fn reports(&self) -> PathBuf {
        self.folder.join("reports")
    }
}
