//! Many vehicles at once, and the cloud killed under them.

use std::time::Duration;

use futures_util::StreamExt as _;
use hil_tests::fleet::{Fleet, Script};
use hil_tests::link::Relay;
use hil_tests::oracle::api::Api;
use hil_tests::process::{Cloud, Ports, Scene, eventually};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::stage::{PATIENCE, judge_vehicle, play};

const SCRIPT: Script = Script {
    seed: 100,
    start: 1_790_000_000_000,
    rate_hz: 5,
    speed_up: 40.0,
    batch: 20,
    fixes: Some(2000),
    remember: true,
};

#[test]
fn a_fleet_loses_nothing_when_the_cloud_is_killed_under_it() {
    play(async {
        let scene = Scene::named("fleet-cloud-kills")?;
        let mut cloud =
            Cloud::start(&scene.folder("cloud")?, &scene.log("avl-cloud.log"), Ports::default()).await?;
        let relay = Relay::to(cloud.ports().quic.parse()?, 3).await?;
        let fleet = Fleet::launch(&cloud, "test", 12, relay.address(), SCRIPT, |_| {}).await?;
        for round in 1..=4_u64 {
            let goal = round * 4000;
            eventually("fixes emitted", PATIENCE, || async { Ok((fleet.emitted() >= goal).then_some(())) })
                .await?;
            cloud.kill().await?;
            cloud.resume().await?;
            relay.change_source_address();
        }
        tokio::time::timeout(PATIENCE, fleet.parked()).await?;
        assert_eq!(fleet.acknowledged(), fleet.emitted());
        assert_eq!(fleet.emitted(), 12 * 2000);

        let api = cloud.api()?;
        for (vehicle, printed) in fleet.truth() {
            eventually("every fix in the API", PATIENCE, || async {
                let fixes = api.fixes(&vehicle).await?;
                Ok((fixes >= printed.len() as u64).then_some(()))
            })
            .await?;
            judge_vehicle(&api, &vehicle, &printed, &scene).await?;
            let name = vehicle.split_once('/').map_or(vehicle.as_str(), |(_, name)| name);
            cloud.audit(name).await?;
        }
        cloud.stop().await
    });
}

/// The live stream, as a viewer opens it.
pub(crate) async fn live(api: &Api) -> anyhow::Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    let mut request =
        format!("{}/api/v1/live", api.base().replacen("http", "ws", 1)).into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {}", api.token()).parse()?);
    Ok(tokio_tungstenite::connect_async(request).await?.0)
}

#[test]
fn the_live_stream_follows_every_vehicle() {
    play(async {
        let scene = Scene::named("fleet-live-stream")?;
        let mut cloud =
            Cloud::start(&scene.folder("cloud")?, &scene.log("avl-cloud.log"), Ports::default()).await?;
        let link = cloud.ports().quic.parse()?;
        let script = Script { rate_hz: 1, speed_up: 10.0, batch: 2, fixes: None, ..SCRIPT };
        let fleet = Fleet::launch(&cloud, "test", 5, link, script, |_| {}).await?;

        let api = cloud.api()?;
        let mut socket = live(&api).await?;
        // Each vehicle is seen at three different instants or more.
        let mut seen = std::collections::BTreeMap::<String, std::collections::BTreeSet<String>>::new();
        let mut kinds = Vec::new();
        while seen.len() < 5 || seen.values().any(|instants| instants.len() < 3) {
            let message = tokio::time::timeout(Duration::from_secs(30), socket.next()).await?;
            let Some(Ok(Message::Text(text))) = message else { continue };
            let message: serde_json::Value = serde_json::from_str(&text)?;
            kinds.push(message["type"].as_str().unwrap_or_default().to_owned());
            for vehicle in message["vehicles"].as_array().into_iter().flatten() {
                let instants =
                    seen.entry(vehicle["vehicle"].as_str().unwrap_or_default().to_owned()).or_default();
                instants.insert(vehicle["time"].as_str().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(kinds.first().map(String::as_str), Some("snapshot"), "{kinds:?}");
        assert!(kinds.iter().skip(1).all(|kind| kind == "update"), "{kinds:?}");
        socket.close(None).await?;
        tokio::time::timeout(PATIENCE, fleet.park()).await?;
        cloud.stop().await
    });
}
