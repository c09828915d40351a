//! The link over MQTTS and a real Mosquitto with the access rules that are shipped; fail-over from QUIC and the return.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use avl_shared::identity::VehicleKey;
use avl_shared::link::mqtt::{EVERY_UP, Up, decode_down, topic_down, topic_up};
use avl_shared::link::{Hello, PROTOCOL, ToCloud, ToVehicle, Welcome, to_cloud, to_vehicle};
use hil_tests::fleet::{Identity, enrol};
use hil_tests::link::{Impairment, Passage, Relay, TcpRelay};
use hil_tests::logs::{Log, URBAN};
use hil_tests::oracle::truth;
use hil_tests::process::{Broker, Cloud, Edge, Ports, Scene, Source, eventually};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use rumqttc::v5::{AsyncClient, Event, EventLoop, Incoming, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};

use crate::stage::{FLEET, PATIENCE, Stage, VEHICLE, play};

/// A cloud that listens at a broker.
pub(crate) async fn stage_with_broker(
    name: &str,
    log: &std::path::Path,
) -> anyhow::Result<Option<(Stage, Broker)>> {
    let Some(program) = Broker::program() else { return Ok(None) };
    let scene = Scene::named(name)?;
    let data = scene.folder("cloud")?;
    let broker = Broker::start(program, &scene.folder("broker")?, &data, &scene.log("mosquitto.log")).await?;
    let url = broker.cloud_url();
    let keys = [("AVL_CLOUD__MQTT__URL", url.as_str())];
    let cloud = Cloud::start_in(&data, &scene.log("avl-cloud.log"), Ports::default(), &keys).await?;
    Ok(Some((Stage { scene, cloud, printed: truth::read(&Log::read(log)?) }, broker)))
}

struct Drive {
    stage: Stage,
    broker: Broker,
    /// Between the gateway and the broker.
    tcp: TcpRelay,
    /// Between the gateway and the cloud's QUIC.
    udp: Relay,
    receiver: VirtualReceiver,
    edge: Edge,
}

impl Drive {
    async fn begin(name: &str, pace: Pace, mqtt_keys: &str, udp: Impairment) -> anyhow::Result<Option<Self>> {
        let Some(path) = URBAN.path() else { return Ok(None) };
        let Some((stage, broker)) = stage_with_broker(name, &path).await? else { return Ok(None) };
        let relay = Relay::to(stage.quic()?, 5).await?;
        relay.set(udp);
        let tcp = TcpRelay::to(broker.address()).await?;
        let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), pace, None)?;
        let quic = format!("localhost:{}", relay.address().port());
        let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
        edge.configure_also(&format!(
            "[uplink.mqtt]\naddress = \"localhost:{}\"\n{mqtt_keys}\n",
            tcp.address().port()
        ))?;
        edge.start()?;
        Ok(Some(Self { stage, broker, tcp, udp: relay, receiver, edge }))
    }

    /// Waits until more than `count` fixes have arrived, or all that the drive has: on a slow machine an outage may last to
    /// its end.
    async fn more_fixes_than(&self, count: u64) -> anyhow::Result<u64> {
        let count = count.min((self.stage.printed.len() as u64).saturating_sub(1));
        let api = self.stage.cloud.api()?;
        eventually("more fixes", PATIENCE, || async {
            let fixes = api.fixes(&format!("{FLEET}/{VEHICLE}")).await?;
            Ok((fixes > count).then_some(fixes))
        })
        .await
    }

    /// Waits until the gateway has said so often that it is connected by `transport`.
    async fn connected_by(&self, transport: &str, times: usize) -> anyhow::Result<()> {
        let log = self.stage.scene.log("avl-edge.log");
        eventually(&format!("connected by {transport}"), PATIENCE, || async {
            let text = std::fs::read_to_string(&log)?;
            let seen = text.lines().filter(|line| {
                line.contains("connected")
                    && line.contains("transport")
                    && line.contains(&format!("\"{transport}\""))
            });
            Ok((seen.count() >= times).then_some(()))
        })
        .await
    }

    async fn ends_well(mut self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, self.receiver.finished()).await?;
        self.stage.judge().await?;
        self.edge.stop().await
    }
}

const CUT: Impairment = Impairment { cut: true, delay: Duration::ZERO, loss: 0.0 };
const PREFER_MQTT: &str = "prefer = \"mqtt\"\npatience = \"5s\"";
/// Seconds instead of minutes.
const HASTY_RETURN: &str = "patience = \"500ms\"\nprobe_interval = \"1s\"\nprobe_interval_max = \"2s\"";

#[test]
fn a_drive_arrives_whole_by_mqtt_alone() {
    play(async {
        let Some(drive) = Drive::begin("mqtt-whole", Pace::Unpaced, PREFER_MQTT, CUT).await? else {
            return Ok(());
        };
        drive.connected_by("mqtt", 1).await?;
        drive.ends_well().await
    });
}

#[test]
fn blocked_udp_is_left_for_mqtt_and_returned_to_without_a_loss() {
    play(async {
        let Some(drive) = Drive::begin("mqtt-failover", Pace::Accelerated(100.0), HASTY_RETURN, CUT).await?
        else {
            return Ok(());
        };
        drive.connected_by("mqtt", 1).await?;
        let fixes = drive.more_fixes_than(100).await?;
        drive.udp.set(Impairment::default());
        drive.connected_by("quic", 1).await?;
        let fixes = drive.more_fixes_than(fixes + 100).await?;
        // And once more, under way.
        drive.udp.set(CUT);
        drive.connected_by("mqtt", 2).await?;
        drive.more_fixes_than(fixes + 100).await?;
        drive.udp.set(Impairment::default());
        drive.ends_well().await
    });
}

#[test]
fn a_broker_that_forgets_everything_loses_nothing() {
    play(async {
        let Some(mut drive) =
            Drive::begin("mqtt-broker-killed", Pace::Accelerated(100.0), PREFER_MQTT, CUT).await?
        else {
            return Ok(());
        };
        let mut fixes = 0;
        for _ in 0..2 {
            fixes = drive.more_fixes_than(fixes + 100).await?;
            drive.broker.kill().await?;
            drive.broker.resume().await?;
        }
        drive.more_fixes_than(fixes).await?;
        drive.ends_well().await
    });
}

#[test]
fn cut_and_half_open_connections_to_the_broker_lose_nothing() {
    play(async {
        let Some(drive) = Drive::begin("mqtt-cut", Pace::Accelerated(100.0), PREFER_MQTT, CUT).await? else {
            return Ok(());
        };
        let fixes = drive.more_fixes_than(100).await?;
        // What is on its way is lost, PUBACKs and acknowledgements among it.
        drive.tcp.set(Passage::Closed);
        drive.tcp.set(Passage::Open);
        let fixes = drive.more_fixes_than(fixes + 100).await?;
        // Nobody is told that the connection is dead: only the missing acknowledgement tells.
        drive.tcp.set(Passage::Swallowing);
        let printed = drive.receiver.count() + 300;
        while drive.receiver.count() < printed && !drive.receiver.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drive.tcp.set(Passage::Closed);
        drive.tcp.set(Passage::Open);
        drive.more_fixes_than(fixes).await?;
        drive.ends_well().await
    });
}

#[test]
fn a_cloud_that_was_killed_finds_what_the_broker_kept() {
    play(async {
        let Some(mut drive) =
            Drive::begin("mqtt-cloud-killed", Pace::Accelerated(100.0), PREFER_MQTT, CUT).await?
        else {
            return Ok(());
        };
        let fixes = drive.more_fixes_than(100).await?;
        drive.stage.cloud.kill().await?;
        drive.stage.cloud.resume().await?;
        drive.more_fixes_than(fixes + 100).await?;
        drive.ends_well().await
    });
}

/// The sum of a counter's series that have `label`.
async fn counter(cloud: &Cloud, name: &str, label: &str) -> anyhow::Result<f64> {
    let page = cloud.api()?.text("/metrics").await?;
    let series = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
    Ok(series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

#[test]
fn of_a_revoked_vehicle_nothing_is_taken_from_the_broker() {
    play(async {
        // The broker has no revocation list here: what counts is the cloud's own.
        let Some(drive) = Drive::begin("mqtt-revoked", Pace::Accelerated(20.0), PREFER_MQTT, CUT).await?
        else {
            return Ok(());
        };
        drive.more_fixes_than(100).await?;
        let (vehicle, cloud) = (format!("{FLEET}/{VEHICLE}"), &drive.stage.cloud);
        cloud.command("revoke", &["--vehicle", &vehicle, "--reason", "reported stolen"]).await?;
        let refused = async |more_than: f64| {
            eventually("refused messages", PATIENCE, || async {
                let refused = counter(cloud, "avl_mqtt_refused_total", "revoked").await?;
                Ok((refused > more_than).then_some(refused))
            })
            .await
        };
        let first = refused(0.0).await?;
        let taken = counter(cloud, "avl_ingest_batches_total", "").await?;
        refused(first + 2.0).await?;
        anyhow::ensure!(counter(cloud, "avl_ingest_batches_total", "").await? == taken, "a batch was taken");
        Ok(())
    });
}

/// A vehicle at the MQTT port that does as it is told.
struct Raw {
    name: VehicleKey,
    client: AsyncClient,
    events: EventLoop,
    heard: VecDeque<(String, ToVehicle)>,
}

impl Raw {
    fn new(name: &str, identity: &Identity, broker: SocketAddr) -> anyhow::Result<Self> {
        let name: VehicleKey = format!("{FLEET}/{name}").parse()?;
        let tls =
            avl_shared::tls::broker_client(identity.credentials.clone(), &identity.authorities, "localhost")?;
        let mut options = MqttOptions::new(name.to_string(), "localhost", broker.port());
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls))))
            .set_outgoing_inflight_upper_limit(10);
        let (client, events) = AsyncClient::new(options, 16);
        Ok(Self { name, client, events, heard: VecDeque::new() })
    }

    /// The next packet but what vehicles hear, which is kept.
    async fn next(&mut self) -> anyhow::Result<Incoming> {
        loop {
            match tokio::time::timeout(PATIENCE, self.events.poll()).await?? {
                Event::Incoming(Incoming::Publish(publish)) => {
                    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                    self.heard.push_back((topic, decode_down(&publish.payload)?));
                    return Ok(Incoming::Publish(publish));
                }
                Event::Incoming(packet) => return Ok(packet),
                Event::Outgoing(_) => {}
            }
        }
    }

    async fn listen(&mut self, filter: &str) -> anyhow::Result<()> {
        self.client.subscribe(filter, QoS::AtLeastOnce).await?;
        while !matches!(self.next().await?, Incoming::SubAck(_)) {}
        Ok(())
    }

    async fn publish(
        &mut self,
        topic: &str,
        payload: impl Into<bytes::Bytes>,
    ) -> anyhow::Result<PubAckReason> {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload.into()).await?;
        loop {
            if let Incoming::PubAck(ack) = self.next().await? {
                return Ok(ack.reason);
            }
        }
    }

    async fn say_hello(&mut self, connection: u32) -> anyhow::Result<PubAckReason> {
        let hello = Hello { protocol: PROTOCOL, epoch: 7, connection, ..Hello::default() };
        let hello = Up::Message(ToCloud { message: Some(to_cloud::Message::Hello(hello)) });
        let topic = topic_up(&self.name);
        self.publish(&topic, hello.encode()).await
    }

    async fn welcome(&mut self) -> anyhow::Result<(String, Welcome)> {
        loop {
            match self.heard.pop_front() {
                Some((topic, ToVehicle { message: Some(to_vehicle::Message::Welcome(welcome)) })) => {
                    return Ok((topic, welcome));
                }
                Some(other) => anyhow::bail!("{other:?} instead of a welcome"),
                None => drop(self.next().await?),
            }
        }
    }
}

#[test]
fn a_vehicle_reaches_nobodys_topics_but_its_own_and_strangers_reach_none() {
    play(async {
        let Some(program) = Broker::program() else { return Ok(()) };
        let scene = Scene::named("mqtt-access")?;
        let data = scene.folder("cloud")?;
        let broker =
            Broker::start(program, &scene.folder("broker")?, &data, &scene.log("mosquitto.log")).await?;
        let url = broker.cloud_url();
        let keys = [("AVL_CLOUD__MQTT__URL", url.as_str())];
        let mut cloud = Cloud::start_in(&data, &scene.log("avl-cloud.log"), Ports::default(), &keys).await?;
        let identity_of = async |cloud: &Cloud, name: &str| {
            enrol(&cloud.enrolment_url(), &cloud.token(FLEET, name).await?).await
        };
        let mut thief = Raw::new("thief", &identity_of(&cloud, "thief").await?, broker.address())?;
        let mut honest = Raw::new("honest", &identity_of(&cloud, "honest").await?, broker.address())?;
        let (thief_down, honest_down) = (topic_down(&thief.name), topic_down(&honest.name));
        honest.listen(&honest_down).await?;
        // The cloud may still be connecting.
        while honest.say_hello(1).await? == PubAckReason::NoMatchingSubscribers {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::ensure!(honest.welcome().await?.1.connection == 1);

        // Mosquitto grants any subscription, and then delivers only what may be read.
        for filter in ["#", &honest_down, EVERY_UP] {
            thief.listen(filter).await?;
        }
        // Writing where it may not.
        for topic in [topic_up(&honest.name), honest_down.clone(), thief_down.clone(), "other".to_owned()] {
            let reason = thief.publish(&topic, "x").await?;
            anyhow::ensure!(reason == PubAckReason::NotAuthorized, "{topic}: {reason:?}");
        }
        // Poison on its own topic: nothing but noise, and what comes behind it is answered.
        for poison in [&b""[..], b"garbage", &[0xa1, 1, 2, 3], &[1, 0xa1], &[0xff; 2000]] {
            thief.publish(&topic_up(&thief.name), poison.to_vec()).await?;
        }
        thief.say_hello(2).await?;
        let (topic, welcome) = thief.welcome().await?;
        anyhow::ensure!(topic == thief_down && welcome.connection == 2, "{topic} {welcome:?}");
        // Whatever was meant for others came before this in the broker's queues: it heard nothing of it.
        honest.say_hello(3).await?;
        anyhow::ensure!(honest.welcome().await?.1.connection == 3);
        thief.say_hello(4).await?;
        anyhow::ensure!(thief.welcome().await?.1.connection == 4);
        anyhow::ensure!(thief.heard.is_empty(), "{:?}", thief.heard);

        // A certificate of the same name from another authority.
        let other = Scene::named("mqtt-access-other")?;
        let mut others =
            Cloud::start(&other.folder("cloud")?, &other.log("avl-cloud.log"), Ports::default()).await?;
        let stranger = identity_of(&others, "honest").await?;
        let authorities = identity_of(&cloud, "bystander").await?.authorities;
        let stranger = Identity { authorities, ..stranger };
        let mut stranger = Raw::new("honest", &stranger, broker.address())?;
        anyhow::ensure!(stranger.next().await.is_err(), "a stranger was let in");
        honest.say_hello(5).await?;
        anyhow::ensure!(honest.welcome().await?.1.connection == 5, "the stranger took its session");
        others.stop().await?;
        cloud.stop().await
    });
}
