use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use avl_edge::{config, enrol, identity};
use avl_shared::enrolment::EnrolmentToken;
use clap::Args;

/// Get this gateway its certificate, with a single-use token from 'avl-cloud token'.
///
/// The key is made here and never leaves the gateway. Key, certificate and CA go to state_dir/identity.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  \
    avl-edge enrol --url https://gateway.example.com:7443 --token avl1.… --config /etc/avl-edge.toml")]
pub(super) struct Arguments {
    /// The cloud's enrolment address; by default the port number of its QUIC address, over TCP.
    #[arg(long)]
    url: String,
    /// The token. Better in the environment, where other users of the gateway cannot list it.
    #[arg(long, env = "AVL_EDGE_TOKEN", hide_env_values = true)]
    token: String,
    /// The gateway's configuration, which says where the state directory is.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Replace the identity that this gateway already has.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = config::load(&arguments.config)?;
    let token: EnrolmentToken = arguments.token.parse()?;
    if identity::is_enrolled(&config.state_dir) && !arguments.force {
        let directory = identity::directory(&config.state_dir);
        let known = identity::Identity::load(&config.state_dir)
            .map_or_else(|_| "another identity".to_owned(), |identity| identity.vehicle.to_string());
        bail!(
            "this gateway is already enrolled as {known} ({}): add --force to replace that identity; the token was not used",
            directory.display()
        );
    }
    // Before the token is spent: a state directory that cannot be written would waste it.
    identity::create_private(&config.state_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let enrolled = runtime.block_on(enrol::enrol(&arguments.url, &token))?;
    identity::store(&config.state_dir, &enrolled.files())
        .context("the cloud enrolled this vehicle, but its identity could not be stored; make a new token once that is repaired")?;
    println!("enrolled as {}", enrolled.vehicle);
    Ok(ExitCode::SUCCESS)
}
