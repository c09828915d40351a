use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context;
use avl_edge::config;
use avl_edge::control::update::launch::Launcher;
use avl_edge::control::update::{Directory, LAUNCHED, RESTART_STATUS};
use avl_edge::health::log::{self, LogConfig, LogFormat};
use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};

/// Start the agent in the version that is in use, and take a new version back that fails.
///
/// What a service manager starts where signed updates are wanted: it starts 'avl-edge run' of the version in use
/// (update.directory, or this very program when there is none), and watches a version on trial. A version that ends, hangs or
/// does not reach the cloud within update.confirm_within is replaced by the one before it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  avl-edge launch --config /etc/avl-edge.toml")]
pub(super) struct Arguments {
    /// The gateway's configuration; see avl-edge.example.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How log lines look on standard error.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    log::start(&LogConfig { format: arguments.log_format, ..LogConfig::default() })?;
    let config = config::load(&arguments.config)?;
    let mut passed: Vec<OsString> = vec!["run".into(), "--config".into(), arguments.config.clone().into()];
    if arguments.log_format == LogFormat::Json {
        passed.extend(["--log-format".into(), "json".into()]);
    }
    let launcher = Launcher {
        directory: Directory::new(&config.update.directory),
        confirm_within: config.update.confirm_within,
        own: env!("CARGO_PKG_VERSION").parse()?,
        program: std::env::current_exe().context("cannot find this program")?,
        arguments: passed,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(launcher.run())?;
    Ok(ExitCode::from(status))
}

/// Ends with the launcher, even when that is killed: two agents on one buffer would keep each other out.
pub(super) fn follow_launcher() {
    if std::env::var_os(LAUNCHED).is_some()
        && let Err(error) = set_parent_process_death_signal(Some(Signal::TERM))
    {
        tracing::warn!(%error, "the agent would outlive its launcher");
    }
}

/// Takes this process's place with a fresh run of the same program and arguments: whoever watches it sees no end. Where
/// that cannot be done (the program was replaced by a package's upgrade), it ends with a status that asks for a restart.
pub(super) fn start_anew() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).collect::<Vec<_>>();
    let program = std::env::current_exe();
    let error = match program {
        Ok(program) => Command::new(program).args(arguments.drain(..)).exec(),
        Err(error) => error,
    };
    tracing::warn!(%error, "cannot take this process's place: ending, so that the service manager starts the agent again");
    ExitCode::from(RESTART_STATUS)
}
