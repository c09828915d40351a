//! `avl-cloud aggregate`: the vehicles' side alone.

use std::path::PathBuf;
use std::process::ExitCode;

use avl_cloud::roles;

use super::all::Vehicles;
use super::serve::{Common, Shared, serve};

/// Run the vehicles' side alone: QUIC and MQTT into Kafka, acknowledgements and orders back
///
/// Any number of these run beside each other. A vehicle is acknowledged when all in-sync replicas of Kafka have what it sent. The
/// server's certificate comes from the files of [tls], which 'avl-cloud certificate' writes where the authority is; then
/// enrolment and renewal are served by 'avl-cloud ca', and no aggregator holds the authority's key. Without [tls] the data
/// directory must have the authority, and this process serves enrolment too.
///
/// The start waits for Kafka, for the database and for its schema ('avl-cloud migrate' makes it), and says so; what is configured
/// wrongly fails at once. SIGTERM: vehicles are told to reconnect elsewhere, and get their last acknowledgements; a
/// second one ends it at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where this process keeps its reset key, and what [tls] does not name. One for each process
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    vehicles: Vehicles,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut config = arguments.common.load_role()?;
    config.data_dir = arguments.data_dir.or(config.data_dir);
    arguments.vehicles.lay_over(&mut config)?;
    arguments.shared.lay_over(&mut config);
    serve(config, roles::aggregate::run)
}
