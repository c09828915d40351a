//! `avl-bench-footprint`: what the gateway costs its machine while a receiver prints at 1 Hz.
//!
//! The real `avl-edge` reads a virtual receiver on a pseudo-terminal and uploads to the real `avl-cloud`, with the settings
//! it is delivered with (5 s durability, 25 s latency). What the kernel has counted for the process is read at the end: resident
//! memory, processor time, pages it caused to be written to disk. Needs no other clock than the wall's: it takes as long as it says.
//!
//! Pages have a floor that no program gets below: a block that is durable has changed at least one. What the buffer itself
//! hands over is counted apart, by the same buffer in this process, because the kernel's count of an agent's writes has all that
//! wakes its threads in it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use avl_edge::receiver::Receiver;
use avl_shared::batch::{self, Batch};
use avl_shared::fix::UtcMillis;
use avl_shared::sequence::Epoch;
use clap::Parser;
use hil_tests::drive::Drive;
use hil_tests::process::{Cloud, Edge, Ports, Source, Tuning, program};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver, ublox};
use hil_tests::wear::{self, PAGE_BYTES, Worn};

/// What a gateway uses that is run as it is delivered.
const DELIVERED: Tuning = Tuning {
    durability: Duration::from_secs(5),
    latency: Duration::from_secs(25),
    ack_interval: Duration::from_secs(600),
    ack_timeout: Duration::from_secs(60),
    reconnect_max: Duration::from_secs(60),
};
const FLEET: &str = "bench";
const VEHICLE: &str = "gateway";
const SEED: u64 = 7;
/// Fixes in a block at 1 Hz and 5 s durability.
const BLOCK: usize = 5;
/// Clock ticks of `/proc/PID/stat`: Linux has reported 100 a second to user space on every architecture since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// Measure memory, processor time and flash writes of avl-edge at one fix a second
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// How long
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    minutes: u64,
    /// Where to write the result, as Markdown
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::Builder::new().prefix("avl-footprint-").tempdir()?;
    let place = |name: &str| -> anyhow::Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    };
    let cloud =
        Cloud::start(&place("cloud")?, &folder.path().join("avl-cloud.log"), Ports::default()).await?;
    let start = chrono::Utc::now().timestamp_millis();
    let receiver =
        VirtualReceiver::plug_in(Feed::drive(Drive::seeded(SEED, start, 1), None), Pace::Real, None)?;
    let source = Source::virtual_serial(receiver.device());
    let log = folder.path().join("avl-edge.log");
    let mut edge = Edge::configure(&place("edge")?, &log, &source, &cloud.ports().quic.clone(), DELIVERED)?;
    edge.enrol(&cloud, FLEET, VEHICLE).await?;
    edge.start()?;
    let pid = edge.pid().context("avl-edge is not running")?;

    // Starting (loading the program, the handshake) is not what a gateway does all day.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let before = Cost::of(pid)?;
    for minute in 1..=options.minutes {
        tokio::time::sleep(Duration::from_secs(60)).await;
        eprintln!("minute {minute} of {}: {} KiB resident", options.minutes, Cost::of(pid)?.resident_kib);
    }
    let after = Cost::of(pid)?;
    edge.stop().await?;
    let api = cloud.api()?;
    let fixes = api.fixes(&format!("{FLEET}/{VEHICLE}")).await?;

    let worn = wear::record(&place("wear")?, options.minutes * 60, BLOCK as u64)?;

    let text = report(&options, start, &before, &after, fixes, &worn)?;
    if let Some(parent) = options.out.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&options.out, &text).with_context(|| options.out.display().to_string())?;
    println!("{text}");
    Ok(())
}

/// What the kernel has counted for a process since it started.
#[derive(Clone, Copy, Debug)]
struct Cost {
    resident_kib: u64,
    peak_kib: u64,
    cpu_seconds: f64,
    written_bytes: u64,
}

impl Cost {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            std::fs::read_to_string(&path).with_context(|| path.clone())
        };
        let (status, io, stat) = (read("status")?, read("io")?, read("stat")?);
        // The program's name, in brackets, may hold anything; user and system time are the 14th and 15th field.
        let behind_name = stat.rsplit_once(')').context("no name in /proc/PID/stat")?.1;
        let ticks: u64 = behind_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        #[allow(clippy::cast_precision_loss)]
        let cpu_seconds = ticks as f64 / TICKS_PER_SECOND;
        Ok(Self {
            resident_kib: number(&status, "VmRSS:")?,
            peak_kib: number(&status, "VmHWM:")?,
            cpu_seconds,
            written_bytes: number(&io, "write_bytes:")?,
        })
    }
}

fn number(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    let value = line.split_whitespace().next().with_context(|| format!("{name} has no value"))?;
    Ok(value.parse()?)
}

#[allow(clippy::cast_precision_loss)]
fn report(
    options: &Options,
    start: UtcMillis,
    before: &Cost,
    after: &Cost,
    fixes: u64,
    worn: &Worn,
) -> anyhow::Result<String> {
    let seconds = options.minutes as f64 * 60.0;
    let cpu = (after.cpu_seconds - before.cpu_seconds) / seconds * 100.0;
    let written = after.written_bytes - before.written_bytes;
    let payload = payload_bytes_a_fix(start, usize::try_from(fixes)?)?;
    let times = written as f64 / (payload * seconds);
    let floor = PAGE_BYTES as f64 / BLOCK as f64;
    let size = std::fs::metadata(program("avl-edge")?)?.len() as f64 / 1024.0 / 1024.0;
    Ok(format!(
        "## Gateway footprint (`avl-bench-footprint --minutes {}`)\n\n\
         | what | measured | reach |\n|---|---|---|\n\
         | resident memory, at the end / at most | {:.1} / {:.1} MiB | 12 MiB |\n\
         | processor time | {cpu:.3} % of one core | 0.2 % |\n\
         | handed over by the buffer | {:.1} × the payload | 10 × |\n\
         | pages written to disk | {:.0} KiB: {:.0} B a fix, {times:.0} × the {payload:.1} B of its block | \
           floor {floor:.0} B: a page for each durable block |\n\
         | program as measured | {size:.2} MiB | 6 MiB |\n\
         | fixes in the cloud | {fixes} | |\n\n",
        options.minutes,
        after.resident_kib as f64 / 1024.0,
        after.peak_kib as f64 / 1024.0,
        worn.amplification(),
        written as f64 / 1024.0,
        written as f64 / seconds,
    ))
}

/// The simulated drive in blocks of five fixes, as the recorder packs what five seconds bring.
#[allow(clippy::cast_precision_loss)]
fn payload_bytes_a_fix(start: UtcMillis, fixes: usize) -> anyhow::Result<f64> {
    let mut observed = Vec::new();
    let mut receiver = Receiver::recorded();
    for reading in Drive::seeded(SEED, start, 1).take(fixes) {
        receiver.push(&ublox::print(&reading), None, |observation| observed.push(observation.fix));
    }
    let mut bytes = 0;
    for (index, block) in observed.chunks(BLOCK).enumerate() {
        let first = (index * BLOCK) as u64;
        let fixes = block.to_vec();
        bytes += batch::encode(&Batch { epoch: Epoch(1), first, boot_id: None, fixes })?.len();
    }
    Ok(bytes as f64 / observed.len().max(1) as f64)
}
