//! The fleet's trust and orders, as far as this process has to do with them.

use std::sync::Arc;

use anyhow::ensure;

use super::parts::Stage;
use super::server::Server;
use crate::data_dir::DataDir;
use crate::fleet::authority::Authority;
use crate::fleet::certificates::Certificates;
use crate::fleet::control::Control;
use crate::fleet::deny::{self, Deny};
use crate::fleet::tokens::Tokens;
use crate::fleet::{Issuing, enrolment, renewal};

/// The authority's key, and what only its holder may give out.
pub(super) struct Issuer {
    pub(super) authority: Arc<Authority>,
    issuing: Arc<Issuing>,
    tokens: Tokens,
}

impl Issuer {
    /// Loads the authority of the data directory, or makes it.
    pub(super) fn open(server: &Server, data: &DataDir) -> anyhow::Result<Self> {
        let authority = Arc::new(Authority::load_or_create(&data.authority())?);
        let certificates = Certificates::open(&data.authority())?;
        let settings = server.config.fleet.clone();
        let issuing = Arc::new(Issuing::new(Arc::clone(&authority), certificates, settings));
        Ok(Self { authority, issuing, tokens: Tokens::open(&data.store())? })
    }

    /// As [`Issuer::open`], where there is one: a directory without one is not given one.
    pub(super) fn existing(server: &Server, data: &DataDir) -> anyhow::Result<Self> {
        let directory = data.authority();
        ensure!(Authority::is_in(&directory), "{} has no authority", directory.display());
        Self::open(server, data)
    }

    /// Enrolment and renewal.
    pub(super) fn service(self) -> axum::Router {
        enrolment::router(Arc::clone(&self.issuing), self.tokens).merge(renewal::router(self.issuing))
    }
}

/// Follows the list of revoked vehicles.
pub(super) fn deny(server: &mut Server, data: &DataDir) -> anyhow::Result<Deny> {
    let (deny, following) = deny::follow(Certificates::open(&data.authority())?)?;
    server.parts.start(Stage::Serve, "list of revoked vehicles", |stop| following.run(stop));
    Ok(deny)
}

/// Orders to vehicles.
pub(super) fn control(data: &DataDir) -> anyhow::Result<Control> {
    Ok(Control::open(&data.store())?)
}
