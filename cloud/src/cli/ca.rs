//! `avl-cloud ca`: the authority alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use avl_cloud::roles;
use avl_cloud::store::timescale::DatabaseUrl;

use super::serve::{Common, serve};

/// Run the certificate authority alone: enrolment and renewal of vehicles by HTTPS
///
/// The only process that holds the authority's key. Aggregators get a certificate of their own from
/// 'avl-cloud certificate --data-dir DIR', tokens from 'avl-cloud token --database URL --ca FILE'. With a database, revocations reach
/// every aggregator; without one, tokens and certificates are known to this directory alone.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the authority is kept, and the tokens without a database. Made when missing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// TimescaleDB that tokens and certificates are in, postgres://USER@HOST[:PORT]/DATABASE
    #[arg(long, value_name = "URL")]
    database: Option<DatabaseUrl>,
    /// Enrolment and renewal, HTTPS on TCP [default: 0.0.0.0:7443]
    #[arg(long, value_name = "ADDR")]
    enrol: Option<SocketAddr>,
    /// DNS name or address that gateways reach this server by; may be repeated
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut config = arguments.common.load_role()?;
    config.data_dir = arguments.data_dir.or(config.data_dir);
    config.database.url = arguments.database.or(config.database.url);
    config.enrol = arguments.enrol.or(config.enrol);
    config.names.extend(arguments.names);
    serve(config, roles::ca::run)
}
