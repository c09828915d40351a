//! How fast a backlog drains over a bad link.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hil_tests::link::{Impairment, Relay};
use hil_tests::oracle::truth;
use hil_tests::process::{Cloud, Edge, Ports, Source, Tuning, eventually};
use tokio::time::Instant;

use super::{FLEET, PATIENCE, SEED, VEHICLE, delivered, place, simulated};

const EIGHT_HOURS: usize = 8 * 3600;

pub(super) async fn measure(folder: &Path, report: &mut String) -> anyhow::Result<()> {
    let folder = place(folder, "drain")?;
    let (path, text) = (folder.join("drive.nmea"), simulated(EIGHT_HOURS));
    std::fs::write(&path, &text)?;
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
