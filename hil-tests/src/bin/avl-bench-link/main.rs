//! `avl-bench-link`: what the link costs and how fast it recovers, with the real `avl-edge` and `avl-cloud`.
//!
//! [`bytes`]: gateways in network namespaces replay a drive in real time; the kernel counts what their interfaces carry. [`drain`]:
//! a gateway has held eight hours of fixes when its link of 1 Mbit/s, 100 ms and 2 % loss comes back.

mod bytes;
mod drain;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use hil_tests::drive::Drive;
use hil_tests::process::Tuning;
use hil_tests::receiver::ublox;

const FLEET: &str = "bench";
const VEHICLE: &str = "gateway";
const SEED: u64 = 7;
const START_MS: i64 = 1_770_000_000_000;
const PATIENCE: Duration = Duration::from_secs(180);

/// Measure bytes per fix on the wire, and how fast a backlog drains
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// How long to count bytes; 0 leaves that out
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    minutes: u64,
    /// A receiver's log at 1 Hz to count the bytes of, repeated as long as needed; without it a simulated drive
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Leave the drain out
    #[arg(long)]
    no_drain: bool,
    /// Keep the folders of the programs here, with their logs
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Where to write the result, as Markdown
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let passing = tempfile::Builder::new().prefix("avl-bench-link-").tempdir()?;
    let folder = options.keep.as_deref().unwrap_or(passing.path());
    let mut text = String::from("## Link\n\n");
    if !options.no_drain {
        drain::measure(folder, &mut text).await.context("drain")?;
    }
    if options.minutes > 0 {
        let drive = bytes::Drive { minutes: options.minutes, log: options.log };
        bytes::measure(folder, &drive, &mut text).await.context("bytes per fix")?;
    }
    if let Some(parent) = options.out.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&options.out, &text).with_context(|| options.out.display().to_string())?;
    println!("{text}");
    Ok(())
}

/// As it is delivered, but for the latency.
fn delivered(latency_s: u64) -> Tuning {
    Tuning {
        durability: Duration::from_secs(5),
        latency: Duration::from_secs(latency_s),
        ack_interval: Duration::from_secs(1800),
        ack_timeout: Duration::from_secs(60),
        reconnect_max: Duration::from_secs(60),
    }
}

fn place(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

fn simulated(fixes: usize) -> Vec<u8> {
    Drive::seeded(SEED, START_MS, 1).take(fixes).flat_map(|reading| ublox::print(&reading)).collect()
}
