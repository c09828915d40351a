//! The vehicles' side alone: what they send goes into Kafka, and they are acknowledged when it is durable there.
//!
//! Enrolment and renewal are served where the authority's key is: in a data directory that has it, or by the role `ca`.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;

use super::identity::Identity;
use super::intake::{Doors, Inside};
use super::journal::Source;
use super::server::{self, Server};
use super::store::{self, Schema};
use super::{fleet, identity};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::fleet::control::release_router;

/// Runs until `shutdown` completes, then drains.
///
/// # Errors
/// When a part cannot start, or ends before it is told to.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let data = DataDir::create(config.needed_data_dir()?)?;
    let _lock = data.lock()?;
    server::run("aggregate", config, shutdown, async |server: &mut Server| compose(server, &data).await).await
}

async fn compose(server: &mut Server, data: &DataDir) -> anyhow::Result<()> {
    let files = server.config.tls.files()?;
    let (identity, issuer) = match files {
        Some(files) => (Identity::Files(files), None),
        None => {
            let issuer = fleet::Issuer::existing(data).context(
                "an aggregator needs [tls], or a data directory that has the authority: 'avl-cloud certificate' writes the \
                 files for [tls]",
            )?;
            (identity::issued(server, data, &issuer), Some(issuer))
        }
    };
    let doors = Doors::open(server, data, identity).await?;
    let store = store::shared(server, Schema::Theirs).await?;
    let journal = Source::shared(server).await?;
    let registry = fleet::registry(server, data).await?;
    let control = registry.control()?;
    let deny = fleet::deny(server, &registry).await?;
    let enrolment = issuer.map_or_else(|| Ok(Router::new()), |issuer| issuer.service(server, &registry))?;
    let inside = Inside { journal: journal.sink()?, store: Arc::new(store), control, deny };
    doors.serve(server, enrolment.merge(release_router(registry.release_files())), Some(inside))
}
