//! `avl-cloud process`: from Kafka to the database.

use std::process::ExitCode;

use avl_cloud::roles;

use super::serve::{Common, Shared, serve};

/// Run the processor alone: from Kafka into the database, each fix once
///
/// Any number of these share the partitions of the journal, as many as there are partitions at most; whoever comes or goes, each
/// partition has one owner at a time, and the database refuses a commit of an earlier one. It keeps nothing on disk.
///
/// The start waits for Kafka, for the database and for its schema ('avl-cloud migrate' makes it), and says so; what is configured
/// wrongly fails at once. It is ready when it has been given partitions. SIGTERM: transactions at work are finished
/// and partitions given back; a second one ends it at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut config = arguments.common.load_role()?;
    arguments.shared.lay_over(&mut config);
    serve(config, roles::process::run)
}
