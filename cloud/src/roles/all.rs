//! Everything in one process, on the embedded journal and store unless there are Kafka and a database.

use std::sync::Arc;

use super::identity::Identity;
use super::intake::{Doors, Inside};
use super::journal::Source;
use super::server::{self, Server};
use super::serving::Side;
use super::{fleet, identity, processing, serving, store};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::fleet::control::release_router;
use crate::live::LiveFeed;

/// Runs until `shutdown` completes, then drains.
///
/// # Errors
/// When a part cannot start, or ends before it is told to.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let data = DataDir::create(config.needed_data_dir()?)?;
    let _lock = data.lock()?;
    server::run("all", config, shutdown, async |server: &mut Server| compose(server, &data).await).await
}

async fn compose(server: &mut Server, data: &DataDir) -> anyhow::Result<()> {
    let issuer = fleet::Issuer::open(data)?;
    let identity = match server.config.tls.files()? {
        Some(files) => Identity::Files(files),
        None => identity::issued(server, data, &issuer),
    };
    let doors = Doors::open(server, data, identity).await?;
    let http = serving::bind(server).await?;
    let store = store::open(server, data).await?;
    let journal = Source::open(server, data).await?;
    let registry = fleet::registry(server, data).await?;
    let control = registry.control()?;
    let deny = fleet::deny(server, &registry).await?;
    let feed = LiveFeed::default();

    processing::start(server, &journal, Arc::clone(&store), feed.clone()).await?;
    let service = issuer.service(server, &registry)?.merge(release_router(registry.release_files()));
    let inside =
        Inside { journal: journal.sink()?, store: Arc::clone(&store), control: control.clone(), deny };
    doors.serve(server, service, Some(inside))?;
    serving::serve(server, Side::All, http, data, store, feed, control)
}
