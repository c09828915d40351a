//! `avl-cloud migrate`: makes or updates the schema of a database, or shows its state.

use std::process::ExitCode;
use std::time::Duration;

use avl_cloud::store::timescale::{Wishes, migrate, status};
use humantime_serde::re::humantime::parse_duration;

use super::database::Database;

/// Make or update the schema in TimescaleDB, and say how long rows are kept
///
/// Does only what is missing, so it may be run before each start of a new release, and by several processes at once. Needs a
/// user who owns the database; those who run avl-cloud need less (docs/cloud.md). What --retention, --compress-after and
/// --chunk say stays until it is said otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    database: Database,
    /// Show the state and change nothing. Exit status: 0 up to date, 1 not
    #[arg(long, conflicts_with_all = ["retention", "compress_after", "chunk"])]
    status: bool,
    /// Drop positions older than this, such as 400d; 0s: keep them for ever [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    retention: Option<Duration>,
    /// Compress positions older than this, where the licence of TimescaleDB has that [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    compress_after: Option<Duration>,
    /// Time that a chunk of positions spans, from now on: its indexes should fit into memory [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    chunk: Option<Duration>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.database.settings()?;
    anyhow::ensure!(arguments.chunk.is_none_or(|chunk| !chunk.is_zero()), "--chunk must be more than 0");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        if arguments.status {
            return status(&settings).await;
        }
        let Arguments { retention, compress_after, chunk, .. } = *arguments;
        migrate(&settings, Wishes { retention, compress_after, chunk }).await
    })?;
    print!("{found}");
    Ok(if found.schema == found.known { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
