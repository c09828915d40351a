//! The gateway's own networks change under a connection: another address, another interface. Real interfaces of the
//! kernel, in a network namespace.

use std::fmt::Write as _;
use std::time::Duration;

use hil_tests::link::Namespace;
use hil_tests::logs::{Log, URBAN};
use hil_tests::oracle::truth;
use hil_tests::process::{Cloud, Edge, Ports, Scene, Source, Tuning, eventually};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};

use crate::stage::{FLEET, PATIENCE, Stage, VEHICLE, play};

struct Trip {
    stage: Stage,
    receiver: VirtualReceiver,
    edge: Edge,
    namespace: Namespace,
}

impl Trip {
    /// `None` where the logs or namespaces are not to be had.
    async fn begin(name: &str, interfaces: usize) -> anyhow::Result<Option<Self>> {
        let Some(path) = URBAN.path() else { return Ok(None) };
        let Some(namespace) = Namespace::with_interfaces(interfaces)? else { return Ok(None) };
        let scene = Scene::named(name)?;
        let ports = Ports { quic: format!("{}:0", namespace.cloud_ip()), ..Ports::default() };
        let cloud = Cloud::start(&scene.folder("cloud")?, &scene.log("avl-cloud.log"), ports).await?;
        let stage = Stage { scene, cloud, printed: truth::read(&Log::read(&path)?) };
        let receiver =
            VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Accelerated(100.0), None)?;
        let source = Source::virtual_serial(receiver.device());
        let folder = stage.scene.folder("edge")?;
        // A connection that does not move along would be given up only after the test.
        let patient = Tuning { ack_timeout: Duration::from_secs(60), ..Tuning::HASTY };
        let quic = &stage.cloud.ports().quic;
        let mut edge = Edge::configure(&folder, &stage.scene.log("avl-edge.log"), &source, quic, patient)?;
        let mut config = std::fs::read_to_string(edge.config())?;
        writeln!(config, "server_name = \"localhost\"")?;
        if interfaces > 1 {
            for index in 0..interfaces {
                writeln!(config, "[[uplink.interfaces]]\nname = \"eth{index}\"")?;
            }
        }
        std::fs::write(edge.config(), config)?;
        edge.enrol(&stage.cloud, FLEET, VEHICLE).await?;
        edge.start_in(&namespace)?;
        Ok(Some(Self { stage, receiver, edge, namespace }))
    }

    async fn more_fixes(&self) -> anyhow::Result<()> {
        let api = self.stage.cloud.api()?;
        let vehicle = format!("{FLEET}/{VEHICLE}");
        let now = api.fixes(&vehicle).await?;
        eventually("more fixes", PATIENCE, || async {
            Ok((api.fixes(&vehicle).await? > now + 50).then_some(()))
        })
        .await
    }

    async fn said(&self, words: &str, times: usize) -> anyhow::Result<()> {
        let log = self.stage.scene.log("avl-edge.log");
        eventually(words, PATIENCE, || async {
            Ok((std::fs::read_to_string(&log)?.matches(words).count() >= times).then_some(()))
        })
        .await
    }

    /// Everything arrived once, and over one handshake.
    async fn ends_well(mut self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, self.receiver.finished()).await?;
        self.stage.judge().await?;
        self.edge.stop().await?;
        let log = std::fs::read_to_string(self.stage.scene.log("avl-cloud.log"))?;
        let connections = log.matches("vehicle connected").count();
        anyhow::ensure!(connections == 1, "{connections} connections instead of one that moved along");
        Ok(())
    }
}

#[test]
fn a_new_address_of_the_gateway_costs_no_handshake_and_no_fix() {
    play(async {
        let Some(trip) = Trip::begin("network-address", 1).await? else { return Ok(()) };
        trip.more_fixes().await?;
        trip.namespace.change_address(0, 2, 77)?;
        trip.said("own address changed", 1).await?;
        trip.more_fixes().await?;
        trip.namespace.change_address(0, 77, 5)?;
        trip.said("own address changed", 2).await?;
        trip.more_fixes().await?;
        trip.ends_well().await
    });
}

#[test]
fn the_link_goes_to_the_next_interface_and_back_without_a_handshake() {
    play(async {
        let Some(trip) = Trip::begin("network-interfaces", 2).await? else { return Ok(()) };
        trip.more_fixes().await?;
        trip.namespace.take_down(0)?;
        trip.said("moved to another interface", 1).await?;
        trip.more_fixes().await?;
        let second = trip.namespace.carried(1)?;
        anyhow::ensure!(second.bytes() > 0, "nothing went by the second interface");
        trip.namespace.bring_up(0)?;
        trip.said("moved to another interface", 2).await?;
        trip.more_fixes().await?;
        trip.ends_well().await
    });
}
