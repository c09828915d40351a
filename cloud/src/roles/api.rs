//! The users' side alone: REST, the live stream and the map, over the database.

use std::sync::Arc;

use super::server::{self, Server};
use super::serving::Side;
use super::store::{self, Schema};
use super::{fleet, journal, serving};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::live::LiveFeed;
use crate::store::Store;

/// Runs until `shutdown` completes; answers that have begun come to their end.
///
/// # Errors
/// When a part cannot start, or ends before it is told to.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let data = DataDir::create(config.needed_data_dir()?)?;
    server::run("api", config, shutdown, async |server: &mut Server| compose(server, &data, Side::All).await)
        .await
}

pub(super) async fn compose(server: &mut Server, data: &DataDir, side: Side) -> anyhow::Result<()> {
    let http = serving::bind(server).await?;
    let store = Arc::new(store::shared(server, Schema::Theirs).await?);
    let feed = match side {
        Side::All => journal::follow_positions(server, Arc::clone(&store) as Arc<dyn Store>)?,
        // Has no live stream: to read every position of the fleet would be for nobody.
        Side::Mobile => LiveFeed::default(),
    };
    let control = fleet::registry(server, data).await?.control()?;
    serving::serve(server, side, http, data, store, feed, control)
}
