//! `avl-bench-ingest`: what ingest costs, each figure beside its limit in the same run.
//!
//! - `connections`: memory of the server for an idle vehicle, and that a drain loses nothing

mod connections;
mod issuer;
mod vehicle;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measure the ingest of avl-cloud
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Memory of the server for an idle vehicle, and a drain with all of them
    Connections(connections::Options),
    /// What `connections` starts: vehicles that connect, send a batch and are silent
    #[command(hide = true)]
    Hold(connections::hold::Options),
}

fn main() -> anyhow::Result<()> {
    let what = Options::parse().what;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match what {
            What::Connections(options) => connections::run(options).await,
            What::Hold(options) => connections::hold::run(options).await,
        }
    })
}

/// Prints the page and writes it.
fn publish(page: &str, out: Option<&PathBuf>) -> anyhow::Result<()> {
    println!("{page}");
    let Some(out) = out else { return Ok(()) };
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(out, page)?)
}
