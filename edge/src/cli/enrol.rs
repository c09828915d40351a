use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use avl_edge::clock::Clock;
use avl_edge::enrol::invitation;
use avl_edge::{config, enrol, identity};
use avl_shared::enrolment::Invitation;
use clap::Args;

/// An invitation is some 150 bytes.
const MAX_INPUT_BYTES: u64 = 16 * 1024;

/// Get this gateway its certificate, with a single-use token from 'avl-cloud token'.
///
/// The key is made here and never leaves the gateway. Key, certificate and CA go to state_dir/identity.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  \
    avl-edge enrol --url https://gateway.example.com:7443 --token avl1.… --config /etc/avl-edge.toml\n  \
    avl-edge enrol --from avl-enrol.txt --config /etc/avl-edge.toml\n  \
    zbarcam --raw -1 | avl-edge enrol --from - --config /etc/avl-edge.toml")]
pub(super) struct Arguments {
    /// The cloud's enrolment address; by default the port number of its QUIC address, over TCP.
    #[arg(long, required_unless_present = "from")]
    url: Option<String>,
    /// The token. Better in the environment, where other users of the gateway cannot list it.
    #[arg(long, env = "AVL_EDGE_TOKEN", hide_env_values = true, required_unless_present = "from")]
    token: Option<String>,
    /// An invitation instead of both: a file, or - for the text of a QR code on standard input.
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["url", "token"])]
    from: Option<PathBuf>,
    /// The gateway's configuration, which says where the state directory is.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Replace the identity that this gateway already has.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = config::load(&arguments.config)?;
    let Invitation { url, token } = invitation(arguments)?;
    identity::recover(&config.state_dir)?;
    if identity::is_enrolled(&config.state_dir) && !arguments.force {
        let directory = identity::directory(&config.state_dir);
        let known = identity::Identity::load(&config.state_dir, &config.identity)
            .map_or_else(|_| "another identity".to_owned(), |identity| identity.vehicle.to_string());
        bail!(
            "this gateway is already enrolled as {known} ({}): add --force to replace that identity; the token was not used",
            directory.display()
        );
    }
    // Before the token is spent: a state directory that cannot be written would waste it.
    identity::create_private(&config.state_dir)?;
    let keys = identity::Keys::of(&config.identity)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let enrolled = runtime.block_on(enrol::enrol(&url, &token, &keys, &Clock::at_once()))?;
    identity::store(&config.state_dir, &enrolled.files())
        .context("the cloud enrolled this vehicle, but its identity could not be stored; make a new token once that is repaired")?;
    runtime.block_on(keys.tidy(&config.state_dir));
    println!("enrolled as {}", enrolled.vehicle);
    if let Some(file) = arguments.from.as_deref().filter(|file| *file != Path::new("-"))
        && let Err(error) = invitation::destroy(file)
    {
        eprintln!("avl-edge: {} cannot be removed ({error}); its token is worthless now", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn invitation(arguments: &Arguments) -> anyhow::Result<Invitation> {
    match (&arguments.from, &arguments.url, &arguments.token) {
        (Some(from), ..) if from == Path::new("-") => {
            let mut text = String::new();
            std::io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut text).context("standard input")?;
            Ok(invitation::parse(&text)?)
        }
        (Some(from), ..) => Ok(invitation::read(from)?),
        (None, Some(url), Some(token)) => Ok(Invitation { url: url.clone(), token: token.parse()? }),
        _ => bail!("give --url and --token, or --from"),
    }
}
