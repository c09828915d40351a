//! One file per subcommand; each takes its arguments and returns the process's exit code.

mod decode;
mod pack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Vehicle gateway agent: reads a GNSS receiver, keeps every fix until the cloud has it, and forwards.
#[derive(Debug, Parser)]
#[command(name = "avl-edge", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Decode(decode::Arguments),
    Pack(pack::Arguments),
}

pub(crate) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Pack(arguments) => pack::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("avl-edge: {error:#}");
        ExitCode::FAILURE
    })
}
