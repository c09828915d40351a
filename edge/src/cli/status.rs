use std::path::{Path, PathBuf};
use std::process::ExitCode;

use avl_edge::config;
use avl_edge::health::client::{self, AskError};
use avl_edge::health::{Seen, summary};
use clap::Args;

/// Say in plain words how the running agent is: receiver, fix, buffer, link.
///
/// Ends with 0 when all is well, 1 when something needs attention, 2 when no agent answers.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    avl-edge status\n  \
    avl-edge status --json | jq .link\n  \
    curl --unix-socket /var/lib/avl-edge/avl-edge.sock http://localhost/status")]
pub(super) struct Arguments {
    /// The gateway's configuration, which says where the agent's socket is.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,
    /// Ask at this socket, whatever the configuration says.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The whole document, as the agent gives it.
    #[arg(long)]
    json: bool,
}

/// No agent to ask.
pub(super) const NOT_RUNNING: u8 = 2;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let socket = socket(arguments.socket.as_deref(), &arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let document = match runtime.block_on(client::ask(&socket, "/status")) {
        Ok(document) => document,
        Err(error @ (AskError::NotRunning { .. } | AskError::Permission { .. })) => {
            eprintln!("avl-edge: {error}");
            return Ok(ExitCode::from(NOT_RUNNING));
        }
        Err(error) => return Err(error.into()),
    };
    let (text, degraded) = summary::summary(&Seen::read(&document)?);
    if arguments.json {
        print!("{}", String::from_utf8_lossy(&document));
    } else {
        print!("{text}");
    }
    Ok(if degraded { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(super) fn socket(given: Option<&Path>, file: &Path) -> anyhow::Result<PathBuf> {
    match given {
        Some(path) => Ok(path.to_owned()),
        None => {
            let config = config::load(file)?;
            Ok(config.health.socket(&config.state_dir))
        }
    }
}
