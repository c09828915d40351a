//! Which database a command means.

use std::path::PathBuf;

use avl_cloud::config::Config;
use avl_cloud::store::timescale::{DatabaseSettings, DatabaseUrl};

#[derive(Debug, clap::Args)]
pub(crate) struct Database {
    /// TimescaleDB that the store is in, postgres://USER@HOST[:PORT]/DATABASE; else that of the configuration
    #[arg(long, value_name = "URL")]
    database: Option<DatabaseUrl>,
    /// TOML file of avl-cloud, whose [database] says how to reach it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl Database {
    /// The file, the environment (`AVL_CLOUD__DATABASE__…`), and the flag above both.
    pub(crate) fn settings(&self) -> anyhow::Result<DatabaseSettings> {
        let mut settings = Config::load(self.config.as_deref())?.database;
        settings.url = self.database.clone().or(settings.url);
        Ok(settings)
    }
}
