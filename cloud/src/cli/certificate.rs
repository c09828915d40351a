//! `avl-cloud certificate`: what a process without the authority's key needs of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use avl_cloud::data_dir::DataDir;
use avl_cloud::fleet::authority::Authority;
use avl_cloud::fleet::broker::{write_part_files, write_server_files};

/// Write key.pem, certificate.pem, client.pem and ca.pem for the [tls] of 'avl-cloud aggregate'
///
/// Run it where the authority is. The certificates are good for 90 days. Run it again, from a timer: it renews the server's in its last
/// 30 days. A running aggregator sees new files within a minute.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the authority is: the data directory of 'avl-cloud ca' or 'avl-cloud all'
    #[arg(long, value_name = "DIR", env = "AVL_CLOUD__DATA_DIR")]
    data_dir: PathBuf,
    /// Where to write the files; the aggregator's user must be able to read them
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// DNS name or address that gateways reach the aggregator by; may be repeated
    #[arg(long = "name", value_name = "NAME", required = true)]
    names: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let data = DataDir::create(&arguments.data_dir)?;
    let authority = Authority::load_or_create(&data.authority())?;
    write_server_files(&arguments.out, &authority, &arguments.names, SystemTime::now())?;
    write_part_files(&arguments.out, &authority, SystemTime::now())?;
    println!("{}", arguments.out.display());
    Ok(ExitCode::SUCCESS)
}
