//! What leaves the cloud, while the cloud is killed: every stored fix is on `avl.positions`, and in order.

use std::collections::{BTreeMap, BTreeSet};

use avl_shared::batch;
use avl_shared::record::Position;
use hil_tests::fleet::{Fleet, Script};
use hil_tests::link::Relay;
use hil_tests::oracle::topic;
use hil_tests::process::{Cloud, Ports, Scene, eventually};
use hil_tests::services::{Kafka, TimescaleDb};
use prost::Message as _;

use crate::stage::{PATIENCE, judge_vehicle, play};

const SCRIPT: Script = Script {
    seed: 300,
    start: 1_790_000_000_000,
    rate_hz: 5,
    speed_up: 25.0,
    batch: 20,
    fixes: Some(2000),
    remember: true,
};
const VEHICLES: usize = 8;

/// A vehicle's fixes, by (epoch, number), each where it came first.
type Track = Vec<(u32, u64)>;

fn first_copies(tracks: BTreeMap<String, Track>) -> BTreeMap<String, Track> {
    let once = |track: Track| {
        let mut seen = BTreeSet::new();
        track.into_iter().filter(|fix| seen.insert(*fix)).collect()
    };
    tracks.into_iter().map(|(vehicle, track)| (vehicle, once(track))).collect()
}

#[test]
fn every_stored_fix_is_published_in_order_although_the_cloud_is_killed() {
    play(async {
        let scene = Scene::named("published-kills")?;
        let folder = scene.folder("database")?;
        let Some(database) = TimescaleDb::start(&folder, &scene.log("timescaledb.log")).await? else {
            return Ok(());
        };
        let Some(kafka) = Kafka::start(1, &scene.folder("kafka")?, scene.artifacts()).await? else {
            return Ok(());
        };
        let (url, bootstrap) = (database.url(), kafka.bootstrap());
        let keys = [
            ("AVL_CLOUD__DATABASE__URL", url.as_str()),
            ("AVL_CLOUD__KAFKA__BOOTSTRAP", bootstrap.as_str()),
            ("AVL_CLOUD__KAFKA__PARTITIONS", "3"),
        ];
        let (data, log) = (scene.folder("cloud")?, scene.log("avl-cloud.log"));
        let mut cloud = Cloud::start_in(&data, &log, Ports::default(), &keys).await?;
        let relay = Relay::to(cloud.ports().quic.parse()?, 3).await?;
        let fleet = Fleet::launch(&cloud, "test", VEHICLES, relay.address(), SCRIPT, |_| {}).await?;
        let total = VEHICLES as u64 * 2000;
        for round in 1..=3_u64 {
            let goal = total * round / 4;
            eventually("fixes emitted", PATIENCE, || async { Ok((fleet.emitted() >= goal).then_some(())) })
                .await?;
            cloud.kill().await?;
            cloud.resume().await?;
        }
        tokio::time::timeout(PATIENCE, fleet.parked()).await?;
        let api = cloud.api()?;
        for (vehicle, printed) in fleet.truth() {
            eventually("every fix in the API", PATIENCE, || async {
                Ok((api.fixes(&vehicle).await? >= printed.len() as u64).then_some(()))
            })
            .await?;
            judge_vehicle(&api, &vehicle, &printed, &scene).await?;
        }
        cloud.stop().await?;

        let mut journal: BTreeMap<String, Track> = BTreeMap::new();
        for entry in topic::read(&bootstrap, "avl.batches").await? {
            if entry.header("kind") != Some("batch") {
                continue;
            }
            let batch = batch::decode(&entry.value)?;
            let track = journal.entry(entry.key.unwrap_or_default()).or_default();
            track.extend((batch.first..).take(batch.fixes.len()).map(|number| (batch.epoch.0, number)));
        }
        let mut published: BTreeMap<String, Track> = BTreeMap::new();
        let messages = topic::read(&bootstrap, "avl.positions").await?;
        for message in &messages {
            let position = Position::decode(&message.value[..])?;
            anyhow::ensure!(position.latitude_degrees.is_some() && position.time_ms.is_some());
            let vehicle = format!("{}/{}", position.fleet, position.vehicle);
            anyhow::ensure!(message.key.as_deref() == Some(vehicle.as_str()), "{:?}", message.key);
            published.entry(vehicle).or_default().push((position.epoch, position.sequence));
        }
        let (journal, published) = (first_copies(journal), first_copies(published));
        let fixes: usize = published.values().map(Vec::len).sum();
        println!("{} messages for {fixes} fixes", messages.len());
        anyhow::ensure!(fixes as u64 == total, "{fixes} of {total} fixes were published");
        anyhow::ensure!(journal == published, "the first copies do not come in the journal's order");
        Ok(())
    });
}
