//! The whole way over a real Kafka: brokers and cloud killed, partitions handed over, and each fix once.

use std::time::Duration;

use hil_tests::fleet::{Fleet, Script};
use hil_tests::link::Relay;
use hil_tests::logs::{Log, URBAN};
use hil_tests::oracle::truth;
use hil_tests::process::{Cloud, Ports, Scene, Source, eventually};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};
use hil_tests::services::Kafka;

use crate::stage::{PATIENCE, Stage, judge_vehicle, play};

async fn start(scene: &Scene, brokers: usize) -> anyhow::Result<Option<(Kafka, Cloud)>> {
    let Some(kafka) = Kafka::start(brokers, &scene.folder("kafka")?, scene.artifacts()).await? else {
        return Ok(None);
    };
    let bootstrap = kafka.bootstrap();
    let keys = [("AVL_CLOUD__KAFKA__BOOTSTRAP", bootstrap.as_str())];
    let (data, log) = (scene.folder("cloud")?, scene.log("avl-cloud.log"));
    let cloud = Cloud::start_in(&data, &log, Ports::default(), &keys).await?;
    Ok(Some((kafka, cloud)))
}

#[test]
fn a_drive_survives_kills_of_the_broker_and_of_the_cloud() {
    play(async {
        let Some(path) = URBAN.path() else { return Ok(()) };
        let scene = Scene::named("kafka-drive")?;
        let Some((mut kafka, cloud)) = start(&scene, 1).await? else { return Ok(()) };
        let mut stage = Stage { scene, cloud, printed: truth::read(&Log::read(&path)?) };
        let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Accelerated(60.0), None)?;
        let quic = stage.cloud.ports().quic.clone();
        let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
        edge.start()?;
        let goal = |share: usize| (receiver.count() + stage.printed.len() / share).min(stage.printed.len());
        let until = async |goal: usize| {
            eventually("more is printed", PATIENCE, || async { Ok((receiver.count() >= goal).then_some(())) })
                .await
        };
        until(goal(10)).await?;
        kafka.kill(0).await?;
        until(goal(10)).await?;
        kafka.resume(0).await?;
        until(goal(10)).await?;
        stage.cloud.kill().await?;
        stage.cloud.resume().await?;
        until(goal(10)).await?;
        // Both, and the cloud first: what it had not handed over must still be on the vehicle.
        stage.cloud.kill().await?;
        kafka.kill(0).await?;
        kafka.resume(0).await?;
        stage.cloud.resume().await?;
        tokio::time::timeout(PATIENCE, receiver.finished()).await?;
        stage.judge().await?;
        edge.stop().await
    });
}

const SCRIPT: Script = Script {
    seed: 300,
    start: 1_790_000_000_000,
    rate_hz: 5,
    speed_up: 15.0,
    batch: 20,
    fixes: Some(3000),
    remember: true,
};

#[test]
fn a_fleet_loses_nothing_when_brokers_are_killed_one_after_the_other() {
    play(async {
        let scene = Scene::named("kafka-fleet")?;
        let Some((mut kafka, mut cloud)) = start(&scene, 3).await? else { return Ok(()) };
        let relay = Relay::to(cloud.ports().quic.parse()?, 3).await?;
        let fleet = Fleet::launch(&cloud, "test", 8, relay.address(), SCRIPT, |_| {}).await?;
        for broker in 0..3 {
            let goal = (fleet.emitted() + 1500).min(8 * 3000);
            eventually("fixes emitted", PATIENCE, || async { Ok((fleet.emitted() >= goal).then_some(())) })
                .await?;
            kafka.kill(broker).await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            kafka.resume(broker).await?;
        }
        tokio::time::timeout(PATIENCE, fleet.parked()).await?;
        assert_eq!(fleet.acknowledged(), fleet.emitted());
        let api = cloud.api()?;
        for (vehicle, printed) in fleet.truth() {
            eventually("every fix in the API", PATIENCE, || async {
                Ok((api.fixes(&vehicle).await? >= printed.len() as u64).then_some(()))
            })
            .await?;
            judge_vehicle(&api, &vehicle, &printed, &scene).await?;
            let name = vehicle.split_once('/').map_or(vehicle.as_str(), |(_, name)| name);
            cloud.audit(name).await?;
        }
        cloud.stop().await
    });
}
