//! Where the fleet's state lies: tokens, certificates and revocations, orders, releases.

use crate::data_dir::DataDir;
use crate::fleet::certificates::{Certificates, CertificatesError};
use crate::fleet::control::releases::{ReleaseError, Releases};
use crate::fleet::control::{Control, ControlError, ReleaseFiles};
use crate::fleet::database::FleetDatabase;
use crate::fleet::moving::{MovingError, require_files};
use crate::fleet::tokens::{TokenError, Tokens};

/// Hands out each part, from wherever it lies.
#[derive(Clone, Debug)]
pub enum Registry {
    /// In SQLite files and folders of one machine.
    Folder(DataDir),
    /// In the database, for any number of machines.
    Database(FleetDatabase),
}

impl Registry {
    /// The files of a data directory.
    ///
    /// # Errors
    /// When its state was brought into a database.
    pub fn folder(data: &DataDir) -> Result<Self, MovingError> {
        require_files(data)?;
        Ok(Self::Folder(data.clone()))
    }

    /// # Errors
    /// When they cannot be opened.
    pub fn tokens(&self) -> Result<Tokens, TokenError> {
        match self {
            Self::Folder(data) => Tokens::open(&data.store()),
            Self::Database(database) => Ok(Tokens::shared(database)),
        }
    }

    /// # Errors
    /// When they cannot be opened.
    pub fn certificates(&self) -> Result<Certificates, CertificatesError> {
        match self {
            Self::Folder(data) => Certificates::open(&data.authority()),
            Self::Database(database) => Ok(Certificates::shared(database)),
        }
    }

    /// # Errors
    /// When they cannot be opened.
    pub fn control(&self) -> Result<Control, ControlError> {
        match self {
            Self::Folder(data) => Control::open(&data.store()),
            Self::Database(database) => Ok(Control::shared(database)),
        }
    }

    /// # Errors
    /// When they cannot be opened.
    pub fn releases(&self) -> Result<Releases, ReleaseError> {
        match self {
            Self::Folder(data) => Releases::open(&data.releases(), &data.store()),
            Self::Database(database) => Ok(Releases::shared(database)),
        }
    }

    /// What vehicles fetch.
    #[must_use]
    pub fn release_files(&self) -> ReleaseFiles {
        match self {
            Self::Folder(data) => ReleaseFiles::Folder(data.releases()),
            Self::Database(database) => ReleaseFiles::Database(database.clone()),
        }
    }
}
