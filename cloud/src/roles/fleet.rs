//! The fleet's trust and orders, as far as this process has to do with them.

use std::sync::Arc;

use anyhow::ensure;

use super::parts::Stage;
use super::server::Server;
use crate::data_dir::DataDir;
use crate::fleet::authority::Authority;
use crate::fleet::database::FleetDatabase;
use crate::fleet::deny::{self, Deny};
use crate::fleet::registry::Registry;
use crate::fleet::{Issuing, bring_over, enrolment, renewal};
use crate::store::timescale::OpenError;

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

/// Where tokens, certificates, orders and releases lie: the database where one is named, which is given what the data
/// directory has.
pub(super) async fn registry(server: &Server, data: &DataDir) -> anyhow::Result<Registry> {
    let settings = server.config.database.clone();
    if settings.url.is_none() {
        return Ok(Registry::folder(data)?);
    }
    let open = async || FleetDatabase::open(&settings).await;
    let database = server.wait_for("the database", OpenError::may_pass, open).await?;
    bring_over(data, &database).await?;
    Ok(Registry::Database(database))
}
