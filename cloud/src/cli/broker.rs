//! `avl-cloud broker`: what an MQTT broker needs of the built-in certificate authority.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use avl_cloud::data_dir::DataDir;
use avl_cloud::fleet::authority::Authority;
use avl_cloud::fleet::broker::write_server_files;

/// Write key.pem, certificate.pem and ca.pem for an MQTT broker
///
/// The certificate is good for 90 days. Run it again, from a timer: it renews in the last 30 days and otherwise changes
/// nothing. Then reload the broker. deploy/mosquitto has a configuration for Mosquitto that uses these files.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where avl-cloud keeps everything
    #[arg(long, value_name = "DIR", env = "AVL_CLOUD__DATA_DIR")]
    data_dir: PathBuf,
    /// Where to write the files; the broker's user must be able to read them
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// DNS name or address that gateways and the cloud reach the broker by; may be repeated
    #[arg(long = "name", value_name = "NAME", required = true)]
    names: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let data = DataDir::create(&arguments.data_dir)?;
    let authority = Authority::load_or_create(&data.authority())?;
    write_server_files(&arguments.out, &authority, &arguments.names, SystemTime::now())?;
    println!("{}", arguments.out.display());
    Ok(ExitCode::SUCCESS)
}
