//! The link is cut, slow, lossy, and changes its address under way.

use std::time::Duration;

use hil_tests::drive::Drive;
use hil_tests::link::{Impairment, Relay};
use hil_tests::logs::{Log, URBAN};
use hil_tests::oracle::truth;
use hil_tests::process::{Cloud, Ports, Scene, Source, eventually};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver, ublox};

use crate::stage::{FLEET, PATIENCE, Stage, VEHICLE, play};

struct Ride {
    stage: Stage,
    relay: Relay,
    receiver: VirtualReceiver,
    edge: hil_tests::process::Edge,
}

impl Ride {
    async fn through_relay(name: &str, pace: Pace) -> anyhow::Result<Option<Self>> {
        let Some(path) = URBAN.path() else { return Ok(None) };
        let stage = Stage::set(name, &path).await?;
        let relay = Relay::to(stage.quic()?, 5).await?;
        let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), pace, None)?;
        // By name: the certificate is the cloud's, whatever address its packets pass.
        let quic = format!("localhost:{}", relay.address().port());
        let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
        edge.start()?;
        Ok(Some(Self { stage, relay, receiver, edge }))
    }

    async fn more_fixes_than(&self, count: u64) -> anyhow::Result<u64> {
        let api = self.stage.cloud.api()?;
        eventually("more fixes", PATIENCE, || async {
            let fixes = api.fixes(&format!("{FLEET}/{VEHICLE}")).await?;
            Ok((fixes > count).then_some(fixes))
        })
        .await
    }

    /// Waits until the receiver has printed so many more fixes.
    async fn printed(&self, more: usize) {
        let goal = self.receiver.count() + more;
        while self.receiver.count() < goal && !self.receiver.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn ends_well(mut self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, self.receiver.finished()).await?;
        self.stage.judge().await?;
        self.edge.stop().await
    }
}

const CUT: Impairment = Impairment { cut: true, delay: Duration::ZERO, loss: 0.0 };

#[test]
fn a_cut_link_loses_nothing() {
    play(async {
        let Some(drive) = Ride::through_relay("link-cut", Pace::Accelerated(70.0)).await? else {
            return Ok(());
        };
        drive.more_fixes_than(100).await?;
        // A tunnel: short enough for the connection to live on.
        drive.relay.set(CUT);
        drive.printed(80).await;
        drive.relay.set(Impairment::default());
        let before = drive.stage.cloud.api()?.fixes(&format!("{FLEET}/{VEHICLE}")).await?;
        drive.more_fixes_than(before + 100).await?;
        // Half the drive out of reach: longer than the gateway waits for its acknowledgement.
        drive.relay.set(CUT);
        drive.printed(600).await;
        anyhow::ensure!(drive.relay.dropped() > 0, "the gateway has not even tried to send");
        drive.relay.set(Impairment::default());
        drive.ends_well().await
    });
}

#[test]
fn an_address_change_loses_nothing() {
    play(async {
        let Some(drive) = Ride::through_relay("link-address", Pace::Accelerated(150.0)).await? else {
            return Ok(());
        };
        let mut fixes = 0;
        for _ in 0..5 {
            fixes = drive.more_fixes_than(fixes + 100).await?;
            drive.relay.change_source_address();
        }
        drive.more_fixes_than(fixes).await?;
        anyhow::ensure!(drive.relay.rebinds() >= 5, "only {} address changes", drive.relay.rebinds());
        drive.ends_well().await
    });
}

#[test]
fn a_slow_and_lossy_link_loses_nothing() {
    play(async {
        let Some(drive) = Ride::through_relay("link-loss", Pace::Accelerated(150.0)).await? else {
            return Ok(());
        };
        drive.relay.set(Impairment { cut: false, delay: Duration::from_millis(150), loss: 0.1 });
        drive.ends_well().await
    });
}

/// 24 hours of driving wait on the gateway, a fix every 5 s, when the link comes back: where the vehicle is shows
/// first, then everything arrives once.
#[test]
fn a_day_without_a_link_arrives_newest_first_and_whole() {
    play(async {
        const DAY_S: usize = 24 * 3600;
        let scene = Scene::named("link-day")?;
        let cloud =
            Cloud::start(&scene.folder("cloud")?, &scene.log("avl-cloud.log"), Ports::default()).await?;
        let readings = Drive::seeded(24, 1_770_000_000_000, 1).take(DAY_S).step_by(5);
        let text: Vec<u8> = readings.flat_map(|reading| ublox::print(&reading)).collect();
        let log = scene.folder("receiver")?.join("day.nmea");
        std::fs::write(&log, &text)?;
        let mut stage = Stage { scene, cloud, printed: truth::read(&text) };
        let relay = Relay::to(stage.quic()?, 24).await?;
        relay.set(CUT);
        let quic = format!("localhost:{}", relay.address().port());
        let mut edge = stage.gateway(&Source::Replay { path: log, speed: 0.0 }, &quic).await?;
        edge.start()?;
        let said = stage.scene.log("avl-edge.log");
        eventually("the day on flash", PATIENCE, || async {
            Ok(std::fs::read_to_string(&said)?.contains("source ended").then_some(()))
        })
        .await?;

        relay.set_rate(128_000);
        relay.set(Impairment { cut: false, delay: Duration::from_millis(50), loss: 0.02 });
        let (api, vehicle) = (stage.cloud.api()?, format!("{FLEET}/{VEHICLE}"));
        let newest = stage.printed.last().and_then(|fix| fix.time);
        let there_by_then = eventually("the newest position", PATIENCE, || async {
            let latest: serde_json::Value =
                serde_json::from_str(&api.text(&format!("/api/v1/vehicles/{vehicle}/latest")).await?)?;
            let time = latest["time"].as_str().map(chrono::DateTime::parse_from_rfc3339).transpose()?;
            let is_newest = time.map(|time| time.timestamp_millis()) == newest;
            Ok(if is_newest { Some(api.fixes(&vehicle).await?) } else { None })
        })
        .await?;
        let all = stage.printed.len() as u64;
        anyhow::ensure!(there_by_then < all / 2, "{there_by_then} of {all} fixes came before the newest");
        stage.judge().await?;
        edge.ended(PATIENCE).await
    });
}

#[test]
fn a_third_of_the_packets_lost_loses_no_fix() {
    play(async {
        let Some(drive) = Ride::through_relay("link-loss-30", Pace::Accelerated(150.0)).await? else {
            return Ok(());
        };
        drive.relay.set(Impairment { cut: false, delay: Duration::from_millis(20), loss: 0.3 });
        drive.ends_well().await
    });
}

#[test]
fn two_seconds_there_and_back_lose_nothing() {
    play(async {
        let Some(drive) = Ride::through_relay("link-rtt", Pace::Accelerated(150.0)).await? else {
            return Ok(());
        };
        drive.relay.set(Impairment { cut: false, delay: Duration::from_secs(1), loss: 0.0 });
        drive.ends_well().await
    });
}
