//! The authority alone: enrolment and renewal, so that no aggregator holds its key.

use super::intake::Doors;
use super::server::{self, Server};
use super::{fleet, identity};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::fleet::control::release_router;

/// Runs until `shutdown` completes.
///
/// # Errors
/// When a part cannot start, or ends before it is told to.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let data = DataDir::create(config.needed_data_dir()?)?;
    let _lock = data.lock()?;
    server::run("ca", config, shutdown, async |server: &mut Server| compose(server, &data).await).await
}

async fn compose(server: &mut Server, data: &DataDir) -> anyhow::Result<()> {
    let issuer = fleet::Issuer::open(data)?;
    let doors = Doors::open_enrolment(server, identity::issued(server, data, &issuer)).await?;
    let registry = fleet::registry(server, data).await?;
    let service = issuer.service(server, &registry)?.merge(release_router(registry.release_files()));
    doors.serve(server, service, None)
}
