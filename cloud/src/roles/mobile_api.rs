//! The apps' side alone: positions in few bytes, over the database.

use super::api;
use super::server::{self, Server};
use super::serving::Side;
use crate::config::Config;
use crate::data_dir::DataDir;

/// Runs until `shutdown` completes; answers that have begun come to their end.
///
/// # Errors
/// When a part cannot start, or ends before it is told to.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let data = DataDir::create(config.needed_data_dir()?)?;
    let compose = async |server: &mut Server| api::compose(server, &data, Side::Mobile).await;
    server::run("mobile-api", config, shutdown, compose).await
}
