//! Each real log, printed on a serial port, arrives in the API: every fix exactly once, equal to the last digit.

use hil_tests::logs::{HIGHWAY, Log, MOORED, URBAN};
use hil_tests::process::Source;
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};

use crate::stage::{PATIENCE, Stage, play};

async fn arrives_whole(log: Log) -> anyhow::Result<()> {
    let Some(path) = log.path() else { return Ok(()) };
    let mut stage = Stage::set(&format!("whole-way-{}", log.file), &path).await?;
    assert_eq!(stage.printed.len(), log.fixes);
    let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Unpaced, None)?;
    let quic = stage.cloud.ports().quic.clone();
    let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
    edge.start()?;
    tokio::time::timeout(PATIENCE, receiver.finished()).await?;
    stage.judge().await?;
    edge.stop().await
}

#[test]
fn urban_drive_arrives_whole() {
    play(arrives_whole(URBAN));
}

#[test]
fn highway_drive_arrives_whole() {
    play(arrives_whole(HIGHWAY));
}

#[test]
fn moored_boat_arrives_whole() {
    play(arrives_whole(MOORED));
}
