use std::path::PathBuf;
use std::process::ExitCode;

use avl_edge::config;
use avl_edge::control::update::RESTART_STATUS;
use avl_edge::control::{self, Ending};
use avl_edge::health::log::{self, LogConfig, LogFormat};
use clap::Args;

/// Read the receiver, buffer every fix, and forward it: the agent itself.
///
/// Runs until SIGTERM or Ctrl-C; then it writes what it has and tries for 5 s to have it acknowledged. What the cloud
/// has not acknowledged stays in state_dir/buffer and is sent at the next start. It may be killed at any time.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    avl-edge run --config /etc/avl-edge.toml\n  \
    AVL_EDGE__SOURCE__KIND=replay AVL_EDGE__SOURCE__PATH=drive.nmea avl-edge run --config gateway.toml --once\n  \
    RUST_LOG=avl_edge=debug avl-edge run --config gateway.toml")]
pub(super) struct Arguments {
    /// The gateway's configuration; see avl-edge.example.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// End when the replay is over and everything is acknowledged.
    #[arg(long)]
    once: bool,
    /// How log lines look on standard error, whatever log.format says.
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // The gateway's own file decides how it logs; what is wrong with the file is said below.
    let mut logging =
        config::load(&arguments.config).map_or_else(|_| LogConfig::default(), |config| config.log);
    logging.format = arguments.log_format.unwrap_or(logging.format);
    let log = log::start(&logging)?;
    super::launch::follow_launcher();
    let (config, startup) = control::prepare(&arguments.config, log.ring.clone())?;
    // One thread for the agent, one for the flash: a gateway has better uses for its cores and memory.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(avl_edge::run::run(config, arguments.once, startup, log));
    // A lookup or a serial port that hangs in a helper thread must not keep the process.
    runtime.shutdown_background();
    match outcome? {
        None => Ok(ExitCode::SUCCESS),
        Some(Ending::NewVersion) => Ok(ExitCode::from(RESTART_STATUS)),
        Some(Ending::Restart) => Ok(super::launch::start_anew()),
    }
}
