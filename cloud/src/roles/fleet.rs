//! The fleet's trust and orders, as far as this process has to do with them.

use std::sync::Arc;

use anyhow::ensure;

use super::parts::Stage;
use super::server::Server;
use crate::data_dir::DataDir;
use crate::fleet::authority::Authority;
use crate::fleet::deny::{self, Deny};
use crate::fleet::registry::Registry;
use crate::fleet::{Issuing, enrolment, renewal};

/// The authority's key, and what only its holder may give out.
pub(super) struct Issuer {
    pub(super) authority: Arc<Authority>,
}

impl Issuer {
    /// Loads the authority of the data directory, or makes it.
    pub(super) fn open(data: &DataDir) -> anyhow::Result<Self> {
        Ok(Self { authority: Arc::new(Authority::load_or_create(&data.authority())?) })
    }

    /// As [`Issuer::open`], where there is one: a directory without one is not given one.
    pub(super) fn existing(data: &DataDir) -> anyhow::Result<Self> {
        let directory = data.authority();
        ensure!(Authority::is_in(&directory), "{} has no authority", directory.display());
        Self::open(data)
    }

    /// Enrolment and renewal.
    pub(super) fn service(self, server: &Server, registry: &Registry) -> anyhow::Result<axum::Router> {
        let settings = server.config.fleet.clone();
        let issuing = Arc::new(Issuing::new(self.authority, registry.certificates()?, settings));
        let enrolment = enrolment::router(Arc::clone(&issuing), registry.tokens()?);
        Ok(enrolment.merge(renewal::router(issuing)))
    }
}

/// Follows the list of revoked vehicles.
pub(super) async fn deny(server: &mut Server, registry: &Registry) -> anyhow::Result<Deny> {
    let (deny, following) = deny::follow(registry.certificates()?).await?;
    server.parts.start(Stage::Serve, "list of revoked vehicles", |stop| following.run(stop));
    Ok(deny)
}

/// Where tokens, certificates, orders and releases lie.
pub(super) fn registry(data: &DataDir) -> Registry {
    Registry::Folder(data.clone())
}
