//! Trains the priors of the wire batch and writes the generated table.
//!
//! ```text
//! cargo run --release --bin train-priors -- --log HIGHWAY.nmea --log BOAT.nmea > shared/src/batch/priors.rs
//! ```
//!
//! Another table is another format: give it the next number in `shared/src/batch/frame.rs` and keep the old one
//! readable. Logs that sizes are reported for must not be trained on.

mod optimise;
mod simulate;
mod table;

use std::path::PathBuf;

use anyhow::Context;
use avl_edge::receiver::Receiver;
use avl_shared::fix::Fix;
use clap::Parser;

/// Train the priors of the wire batch on simulated drives and recorded logs; the table goes to standard output
#[derive(Debug, Parser)]
struct Arguments {
    /// A recorded log to train on, next to the simulated drives
    #[arg(long = "log", value_name = "FILE")]
    logs: Vec<PathBuf>,
    /// Simulated drives of 600 fixes
    #[arg(long, default_value_t = 1500)]
    drives: u64,
}

fn fixes_of(log: &PathBuf) -> anyhow::Result<Vec<Fix>> {
    let bytes = std::fs::read(log).with_context(|| format!("reading {}", log.display()))?;
    let mut fixes = Vec::new();
    let mut receiver = Receiver::recorded();
    receiver.push(&bytes, None, |observed| fixes.push(observed.fix));
    receiver.finish(None, |observed| fixes.push(observed.fix));
    Ok(fixes)
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let logs = arguments.logs.iter().map(fixes_of).collect::<anyhow::Result<Vec<_>>>()?;
    let (priors, expected) = table::train(&logs, arguments.drives);
    print!("{}", table::source(&priors, &expected));
    Ok(())
}
