//! `avl-cloud rejects`: what could never be processed.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use avl_cloud::data_dir::DataDir;
use avl_cloud::store::Store;
use avl_cloud::store::sqlite::SqliteStore;
use avl_cloud::store::timescale::TimescaleStore;
use chrono::DateTime;

use super::database::Database;

/// List the journal entries that could never be processed, newest first, with the reason
///
/// The journal keeps them, at the partition and offset that are shown; with Kafka they are in the topic avl.rejects as
/// well, as they came. Works while 'avl-cloud all' runs and when it is stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where avl-cloud keeps everything; not needed with --database
    #[arg(long, value_name = "DIR", env = "AVL_CLOUD__DATA_DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: Database,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let database = arguments.database.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let refused = runtime.block_on(async {
        let store: Box<dyn Store> = if database.url.is_some() {
            Box::new(TimescaleStore::open(&database).await?)
        } else {
            let folder = arguments.data_dir.as_ref().context("say where with --data-dir, or --database")?;
            Box::new(SqliteStore::open_read_only(&DataDir::existing(folder)?.store())?)
        };
        anyhow::Ok(store.refused(arguments.limit).await?)
    })?;
    let mut out = io::stdout().lock();
    for (partition, refused) in refused {
        let received = refused.received_at.and_then(DateTime::from_timestamp_millis);
        let received = received.map_or_else(|| "-".to_owned(), |time| time.to_rfc3339());
        let key = if refused.key.is_empty() { "-" } else { refused.key.as_str() };
        // Debug: what a stranger wrote there may hold control characters.
        writeln!(
            out,
            "{partition}/{}  {received}  {key:?}  {} bytes  {:?}",
            refused.offset, refused.bytes, refused.reason
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
