//! `avl-bench-link`: what the link costs and how fast it recovers, with the real `avl-edge` and `avl-cloud`.
//!
//! *Bytes*: gateways in network namespaces replay a drive in real time, one for each latency; the kernel counts what their
//! interfaces carry. All-in: IP headers, acknowledgements, keep-alives and the handshake. *Drain*: a gateway has held
//! eight hours of fixes when its link of 1 Mbit/s, 100 ms and 2 % loss comes back.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use hil_tests::drive::Drive;
use hil_tests::link::{Carried, Impairment, Namespace, Relay};
use hil_tests::oracle::truth;
use hil_tests::process::{Cloud, Edge, Ports, Source, Tuning, eventually};
use hil_tests::receiver::ublox;
use tokio::time::Instant;

const FLEET: &str = "bench";
const VEHICLE: &str = "gateway";
const SEED: u64 = 7;
const START_MS: i64 = 1_770_000_000_000;
const EIGHT_HOURS: usize = 8 * 3600;
const PATIENCE: Duration = Duration::from_secs(180);
/// What each latency may cost for one fix at 1 Hz.
const LATENCIES: [(u64, f64); 2] = [(60, 6.0), (25, 9.0)];

/// Measure bytes per fix on the wire, and how fast a backlog drains
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// How long to count bytes; 0 leaves that out
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    minutes: u64,
    /// Where to write the result, as Markdown
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::Builder::new().prefix("avl-bench-link-").tempdir()?;
    let mut text = String::from("## Link\n\n");
    drain(folder.path(), &mut text).await.context("drain")?;
    if options.minutes > 0 {
        bytes(folder.path(), options.minutes, &mut text).await.context("bytes per fix")?;
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
        ack_interval: Duration::from_secs(600),
        ack_timeout: Duration::from_secs(60),
        reconnect_max: Duration::from_secs(60),
    }
}

fn place(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

fn drive_log(folder: &Path, fixes: usize) -> anyhow::Result<(PathBuf, Vec<u8>)> {
    let text: Vec<u8> =
        Drive::seeded(SEED, START_MS, 1).take(fixes).flat_map(|reading| ublox::print(&reading)).collect();
    let path = folder.join("drive.nmea");
    std::fs::write(&path, &text)?;
    Ok((path, text))
}

async fn drain(folder: &Path, report: &mut String) -> anyhow::Result<()> {
    let folder = place(folder, "drain")?;
    let (path, text) = drive_log(&folder, EIGHT_HOURS)?;
    let newest = truth::read(&text).last().and_then(|fix| fix.time);
    let cloud =
        Cloud::start(&place(&folder, "cloud")?, &folder.join("avl-cloud.log"), Ports::default()).await?;
    let relay = Relay::to(cloud.ports().quic.parse()?, SEED).await?;
    relay.set(Impairment { cut: true, ..Impairment::default() });
    let quic = format!("localhost:{}", relay.address().port());
    let (source, log) = (Source::Replay { path, speed: 0.0 }, folder.join("avl-edge.log"));
    let tuning = Tuning { reconnect_max: Duration::from_secs(1), ..delivered(25) };
    let mut edge = Edge::configure(&place(&folder, "edge")?, &log, &source, &quic, tuning)?;
    edge.enrol(&cloud, FLEET, VEHICLE).await?;
    edge.start()?;
    eventually("eight hours on flash", PATIENCE, || async {
        Ok(std::fs::read_to_string(&log)?.contains("source ended").then_some(()))
    })
    .await?;

    relay.set_rate(1_000_000);
    relay.set(Impairment { cut: false, delay: Duration::from_millis(50), loss: 0.02 });
    let connected = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains(" connected"));
    eventually("a connection", PATIENCE, || async { Ok(connected().then_some(())) }).await?;
    let since = Instant::now();
    let (api, vehicle) = (cloud.api()?, format!("{FLEET}/{VEHICLE}"));
    let mut first_live = None;
    let empty = loop {
        anyhow::ensure!(since.elapsed() < PATIENCE, "the backlog has not drained within {PATIENCE:?}");
        if first_live.is_none() && latest(&api, &vehicle).await == newest {
            first_live = Some(since.elapsed());
        }
        if api.fixes(&vehicle).await? == EIGHT_HOURS as u64 {
            break since.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let first_live = first_live.context("the newest position has not been seen")?;
    edge.ended(PATIENCE).await?;
    writeln!(
        report,
        "Eight hours of fixes ({EIGHT_HOURS}) waited when the link came back (1 Mbit/s, round trip 100 ms, 2 % loss). \
         From the welcome: newest position in the API after {:.2} s (target 1 s), everything after {:.1} s (target 10 s).\n",
        first_live.as_secs_f64(),
        empty.as_secs_f64()
    )?;
    Ok(())
}

async fn latest(api: &hil_tests::oracle::api::Api, vehicle: &str) -> Option<i64> {
    let text = api.text(&format!("/api/v1/vehicles/{vehicle}/latest")).await.ok()?;
    let row: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(chrono::DateTime::parse_from_rfc3339(row["time"].as_str()?).ok()?.timestamp_millis())
}

/// A gateway whose bytes are counted.
struct Counted {
    latency_s: u64,
    target: f64,
    namespace: Namespace,
    cloud: Cloud,
    edge: Edge,
}

async fn bytes(folder: &Path, minutes: u64, report: &mut String) -> anyhow::Result<()> {
    let fixes = usize::try_from(minutes * 60 + 120)?;
    let mut running = Vec::new();
    for (latency_s, target) in LATENCIES {
        let folder = place(folder, &format!("bytes-{latency_s}"))?;
        let (path, _) = drive_log(&folder, fixes)?;
        let Some(namespace) = Namespace::with_interfaces(1)? else { return Ok(()) };
        let ports = Ports { quic: format!("{}:0", namespace.cloud_ip()), ..Ports::default() };
        let cloud = Cloud::start(&place(&folder, "cloud")?, &folder.join("avl-cloud.log"), ports).await?;
        let source = Source::Replay { path, speed: 1.0 };
        let (quic, log) = (cloud.ports().quic.clone(), folder.join("avl-edge.log"));
        let mut edge = Edge::configure(&place(&folder, "edge")?, &log, &source, &quic, delivered(latency_s))?;
        let config = std::fs::read_to_string(edge.config())?;
        std::fs::write(edge.config(), format!("{config}server_name = \"localhost\"\n"))?;
        edge.enrol(&cloud, FLEET, VEHICLE).await?;
        edge.start_in(&namespace)?;
        running.push(Counted { latency_s, target, namespace, cloud, edge });
    }
    writeln!(
        report,
        "Bytes per fix on the wire at 1 Hz over {minutes} minutes (QUIC, both directions, as the kernel counted the"
    )?;
    writeln!(report, "interface, without Ethernet's headers). The first minute has the handshake.\n")?;
    writeln!(
        report,
        "| latency | all, handshake included | without the first two minutes | target |\n|---|---|---|---|"
    )?;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let mut early = Vec::new();
    for counted in &running {
        early.push(counted.now().await?);
    }
    tokio::time::sleep(Duration::from_secs(minutes.saturating_mul(60).saturating_sub(120))).await;
    for (counted, (carried, fixes)) in running.iter_mut().zip(early) {
        let (late, late_fixes) = counted.now().await?;
        #[allow(clippy::cast_precision_loss)]
        let each = |bytes: u64, fixes: u64| bytes as f64 / fixes.max(1) as f64;
        writeln!(
            report,
            "| {} s | {:.2} | {:.2} | {} |",
            counted.latency_s,
            each(late.bytes, late_fixes),
            each(late.bytes - carried.bytes, late_fixes - fixes),
            counted.target
        )?;
        counted.edge.kill().await?;
        counted.cloud.stop().await?;
    }
    report.push('\n');
    Ok(())
}

impl Counted {
    async fn now(&self) -> anyhow::Result<(Carried, u64)> {
        let fixes = self.cloud.api()?.fixes(&format!("{FLEET}/{VEHICLE}")).await?;
        Ok((self.namespace.carried(0)?, fixes))
    }
}
