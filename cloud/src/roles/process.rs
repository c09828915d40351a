//! From Kafka to the database. Any number of these share the partitions.

use super::journal::Source;
use super::processing;
use super::server::{self, Server};
use super::store::{self, Schema};
use crate::config::Config;
use crate::live::LiveFeed;

/// Runs until `shutdown` completes; transactions at work are finished.
///
/// # Errors
/// When a part cannot start, or ends before it is told to.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    server::run("process", config, shutdown, compose).await
}

async fn compose(server: &mut Server) -> anyhow::Result<()> {
    let store = store::shared(server, Schema::Theirs).await?;
    store::keep(server, &store);
    let journal = Source::shared(server).await?;
    processing::start(server, &journal, std::sync::Arc::new(store), LiveFeed::default()).await
}
