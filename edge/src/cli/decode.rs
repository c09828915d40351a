use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// decode a recorded log.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The log; '-' is standard input.
    #[arg(value_name = "FILE")]
    log: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("cannot decode {} yet", arguments.log.display())
}
