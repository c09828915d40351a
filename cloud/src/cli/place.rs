//! Where a command finds the fleet's state.

use std::path::PathBuf;

use anyhow::Context;
use avl_cloud::config::Config;
use avl_cloud::data_dir::DataDir;
use avl_cloud::fleet::database::FleetDatabase;
use avl_cloud::fleet::registry::Registry;
use avl_cloud::store::Store;
use avl_cloud::store::sqlite::SqliteStore;
use avl_cloud::store::timescale::TimescaleStore;

use super::database::Database;

#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Where avl-cloud keeps everything
    #[arg(long, value_name = "DIR", env = "AVL_CLOUD__DATA_DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: Database,
}

impl Place {
    /// The data directory, which must be there.
    pub(crate) fn data(&self) -> anyhow::Result<DataDir> {
        Ok(DataDir::existing(self.directory()?)?)
    }

    /// The data directory, made when it is missing.
    pub(crate) fn make_data(&self) -> anyhow::Result<DataDir> {
        Ok(DataDir::create(self.directory()?)?)
    }

    /// The fleet's state: in the database where one is named, else in the data directory.
    pub(crate) async fn registry(&self) -> anyhow::Result<Registry> {
        let settings = self.database.settings()?;
        if settings.url.is_some() {
            return Ok(Registry::Database(FleetDatabase::open(&settings).await?));
        }
        Ok(Registry::folder(&self.data()?)?)
    }

    /// The rows, for looking a vehicle up.
    pub(crate) async fn store(&self) -> anyhow::Result<Box<dyn Store>> {
        let settings = self.database.settings()?;
        if settings.url.is_some() {
            return Ok(Box::new(TimescaleStore::open(&settings).await?));
        }
        Ok(Box::new(SqliteStore::open_read_only(&self.data()?.store())?))
    }

    fn directory(&self) -> anyhow::Result<PathBuf> {
        let configured = Config::load(self.database.config.as_deref())?.data_dir;
        let directory = self.data_dir.clone().or(configured);
        directory.context("no data directory: say where with --data-dir")
    }
}

/// Runs a command to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
