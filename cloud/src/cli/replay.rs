//! `avl-cloud replay`: the journal once more.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use avl_cloud::config::Config;
use avl_cloud::data_dir::DataDir;
use avl_cloud::journal::Archive;
use avl_cloud::journal::sqlite::SqliteJournal;
use avl_cloud::roles::{self, replay};
use avl_cloud::store::Store;
use avl_cloud::store::sqlite::SqliteStore;
use avl_cloud::store::timescale::TimescaleStore;

use super::serve::{Shared, start_log};

/// Journal again: the journal into an empty store, or a file's entries into Kafka
///
/// Into a store: rows and ledger are derived once more, into a database (after 'avl-cloud migrate') or a data directory that has
/// seen none of the journal; then start the processors, which go on from there. Into the journal: the entries of a file
/// (journal.sqlite, or a backup of it) are appended to Kafka, which is also how an installation moves from one to the
/// other; what is there already is dropped by the ledger, so it may be repeated. Prints one JSON object with counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  avl-cloud replay --into store --kafka k1:9092 --database postgres://avl@db/new   derive an empty database again
  avl-cloud replay --into journal --file old/journal.sqlite --kafka k1:9092        move an embedded journal into Kafka
  avl-cloud replay --into store --data-dir ./data                                  derive store.sqlite again (all is stopped)")]
pub(crate) struct Arguments {
    /// Where the entries go
    #[arg(long, value_name = "WHERE", value_parser = ["store", "journal"])]
    into: String,
    /// Take the entries from this file (journal.sqlite); for --into journal. A store counts in offsets of the journal in use
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Begin with this offset of each partition
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: u64,
    /// Data directory, where journal or store are embedded
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    shared: Shared,
    /// TOML file of avl-cloud
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { into, file, from, data_dir, shared, config } = arguments;
    let mut config = Config::load(config.as_deref())?;
    config.data_dir = data_dir.or(config.data_dir);
    shared.lay_over(&mut config);
    start_log(config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let replayed = runtime.block_on(async {
        if into == "journal" {
            let file = file.context("--into journal needs --file: a journal is not appended to itself")?;
            let source = SqliteJournal::open_read_only(&file)?;
            let journal = roles::journal::kafka_sink(&config.kafka).await?;
            return replay::into_journal(&source, &*journal, from).await;
        }
        ensure!(
            file.is_none(),
            "--file goes with --into journal: a store counts in the offsets of the journal in use"
        );
        // An embedded store is written by one process at a time.
        let mut lock = None;
        let store: Arc<dyn Store> = if config.database.url.is_some() {
            Arc::new(TimescaleStore::open(&config.database).await?)
        } else {
            let data = DataDir::existing(config.needed_data_dir()?)?;
            lock = Some(data.lock()?);
            Arc::new(SqliteStore::open(&data.store())?)
        };
        let source = source(&config)?;
        let replayed = replay::into_store(&*source, store, from).await;
        drop(lock);
        replayed
    })?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&replayed)?)?;
    Ok(ExitCode::SUCCESS)
}

fn source(config: &Config) -> anyhow::Result<Arc<dyn Archive>> {
    if config.kafka.bootstrap.is_some() {
        return roles::journal::kafka_archive(&config.kafka);
    }
    roles::journal::archive(&config.kafka, &DataDir::existing(config.needed_data_dir()?)?)
}
