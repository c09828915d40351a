//! Where a command finds the fleet's state.

use std::path::PathBuf;

use anyhow::Context;
use avl_cloud::data_dir::DataDir;
use avl_cloud::fleet::registry::Registry;

#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Where avl-cloud keeps everything
    #[arg(long, value_name = "DIR", env = "AVL_CLOUD__DATA_DIR")]
    data_dir: Option<PathBuf>,
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

    /// The fleet's state.
    pub(crate) fn registry(&self) -> anyhow::Result<Registry> {
        Ok(Registry::Folder(self.data()?))
    }

    fn directory(&self) -> anyhow::Result<PathBuf> {
        let directory = self.data_dir.clone();
        directory.context("no data directory: say where with --data-dir")
    }
}

/// Runs a command to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
