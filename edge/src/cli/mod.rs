//! One file per subcommand; each takes its arguments and returns the process's exit code.

mod buffer;
mod config;
mod decode;
mod doctor;
mod enrol;
mod launch;
mod monitor;
mod pack;
mod run;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  avl-edge enrol --url https://gateway.example.com:7443 --token avl1.… --config gateway.toml
  avl-edge run --config gateway.toml
  avl-edge run --config gateway.toml --once        replay a log, end when the cloud has all of it
  avl-edge doctor                                  what keeps fixes from arriving, and the cure
  avl-edge status                                  how the running agent is
  avl-edge monitor                                 the same, live, with the sky
  avl-edge buffer --config gateway.toml            what is waiting on flash, while it is stopped
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
    Status(status::Arguments),
    Enrol(enrol::Arguments),
    Doctor(doctor::Arguments),
    Monitor(monitor::Arguments),
    Config(config::Arguments),
    Buffer(buffer::Arguments),
    Decode(decode::Arguments),
    Pack(pack::Arguments),
}

pub(crate) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Launch(arguments) => launch::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Enrol(arguments) => enrol::run(&arguments),
        Command::Monitor(arguments) => monitor::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Buffer(arguments) => buffer::run(&arguments),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Pack(arguments) => pack::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("avl-edge: {error:#}");
        ExitCode::FAILURE
    })
}
