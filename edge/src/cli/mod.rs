//! One file per subcommand; each takes its arguments and returns the process's exit code.

mod buffer;
mod decode;
mod enrol;
mod launch;
mod logging;
mod pack;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  avl-edge enrol --url https://gateway.example.com:7443 --token avl1.… --config gateway.toml
  avl-edge run --config gateway.toml
  avl-edge run --config gateway.toml --once        replay a log, end when the cloud has all of it
  avl-edge buffer --config gateway.toml            what is waiting on flash
  avl-edge decode drive.nmea | head                what the agent makes of a log

Any key of the configuration can be overridden: AVL_EDGE__SECTION__KEY, such as AVL_EDGE__UPLINK__LATENCY=60s.";

/// Vehicle gateway agent: reads a GNSS receiver, keeps every fix until the cloud has it, and forwards.
///
/// A gateway needs a configuration (avl-edge.example.toml shows every key) and an identity ('avl-edge enrol').
/// Everything that must survive a restart lives in the configuration's state_dir, /var/lib/avl-edge by default:
/// identity/ (key and certificates), buffer/ (fixes that the cloud has not acknowledged), rejected/ (batches it refused).
#[derive(Debug, Parser)]
#[command(name = "avl-edge", version, about, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Launch(launch::Arguments),
    Enrol(enrol::Arguments),
    Buffer(buffer::Arguments),
    Decode(decode::Arguments),
    Pack(pack::Arguments),
}

pub(crate) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Launch(arguments) => launch::run(&arguments),
        Command::Enrol(arguments) => enrol::run(&arguments),
        Command::Buffer(arguments) => buffer::run(&arguments),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Pack(arguments) => pack::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("avl-edge: {error:#}");
        ExitCode::FAILURE
    })
}
