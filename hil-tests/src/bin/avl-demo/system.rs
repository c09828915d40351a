//! The parts, started in order, kept alive, stopped in reverse order.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hil_tests::drive::Drive;
use hil_tests::fleet::{Fleet, Script};
use hil_tests::oracle::api::Api;
use hil_tests::process::{Cloud, Edge, Ports, Source, Tuning};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};
use tokio::time::Instant;

use crate::options::Options;
use crate::show::{Show, Status};

pub(crate) const FLEET: &str = "demo";
pub(crate) const GATEWAY: &str = "gateway";
const HTTP_PORT: u16 = 8080;
const LINK_PORT: u16 = 7443;
/// As systemd would, with `RestartSec=1`.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// A fleet that cannot hand over its last fixes by then is left to its fate.
const FAREWELL: Duration = Duration::from_secs(15);

pub(crate) struct System {
    folder: tempfile::TempDir,
    cloud: Cloud,
    edge: Edge,
    receiver: Option<Receiver>,
    fleet: Fleet,
    api: Api,
}

struct Receiver {
    device: VirtualReceiver,
    /// The log starts again when it is over.
    again: bool,
}

impl System {
    pub(crate) async fn start(options: &Options, show: &mut Show) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("avl-demo-").tempdir()?;
        let data = folder.path().join("cloud");
        let gateway = folder.path().join("gateway");
        std::fs::create_dir_all(&gateway)?;

        show.step("starting avl-cloud all");
        let cloud = Cloud::start(&data, &folder.path().join("avl-cloud.log"), ports()).await?;

        let (receiver, source) = plug_in(options, folder.path())?;
        show.step(&format!("enrolling avl-edge, which reads {}", source.display()));
        let quic = format!("localhost:{}", port_of(&cloud.ports().quic)?);
        let log = folder.path().join("avl-edge.log");
        let source = Source::Serial { path: source, baud: options.baud };
        let mut edge = Edge::configure(&gateway, &log, &source, &quic, Tuning::SHOWN)?;
        edge.enrol(&cloud, FLEET, GATEWAY).await?;
        edge.start()?;

        let link = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&cloud.ports().quic)?));
        let script = Script {
            seed: rand::random(),
            start: now(),
            rate_hz: 1,
            speed_up: 1.0,
            batch: 2,
            fixes: None,
            remember: false,
        };
        let count = options.vehicles;
        let fleet = Fleet::launch(&cloud, FLEET, count, link, script, |enrolled| {
            show.progress(&format!("enrolling the simulated fleet: {enrolled} of {count}"));
        })
        .await?;
        let api = cloud.api()?;
        Ok(Self { folder, cloud, edge, receiver, fleet, api })
    }

    /// Shows what happens, and starts again what was killed. Ends when a log that plays once is over and stored.
    pub(crate) async fn run(&mut self, show: &mut Show) -> anyhow::Result<()> {
        let mut clock = tokio::time::interval(Duration::from_millis(500));
        let mut fallen = Fallen::default();
        loop {
            clock.tick().await;
            self.revive(&mut fallen, show).await?;
            let vehicles = self.api.vehicles().await;
            if let Some(receiver) = &mut self.receiver
                && receiver.device.is_finished()
            {
                if receiver.again {
                    receiver.device.continue_after(None).await?;
                    receiver.device.go().await;
                } else if vehicles
                    .as_ref()
                    .is_ok_and(|all| stored_of(all, GATEWAY) >= receiver.device.count() as u64)
                {
                    return Ok(());
                }
            }
            match vehicles {
                Ok(vehicles) => show.status(&Status {
                    vehicles: vehicles.len(),
                    linked: self.fleet.linked(),
                    stored: vehicles.iter().map(|vehicle| vehicle.fixes).sum(),
                    emitted: self.fleet.emitted(),
                    gateway_printed: self.receiver.as_ref().map(|receiver| receiver.device.count() as u64),
                    gateway_stored: stored_of(&vehicles, GATEWAY),
                }),
                Err(_) => show.progress("the cloud does not answer"),
            }
        }
    }

    async fn revive(&mut self, fallen: &mut Fallen, show: &mut Show) -> anyhow::Result<()> {
        if self.edge.fallen().is_some() && due(&mut fallen.edge) {
            self.edge.start()?;
            show.revived("avl-edge", self.edge.pid());
        }
        if self.cloud.fallen().is_some() && due(&mut fallen.cloud) {
            self.cloud.resume().await?;
            show.revived("avl-cloud", self.cloud.pid());
        }
        Ok(())
    }

    /// The receiver first, the cloud last, so that everything on the way arrives; then the account is drawn.
    pub(crate) async fn stop(mut self, show: &mut Show) -> anyhow::Result<()> {
        show.step("stopping: the last fixes travel");
        if let Some(receiver) = &self.receiver {
            receiver.device.halt().await;
        }
        self.edge.stop().await?;
        let parked = tokio::time::timeout(FAREWELL, self.fleet.park()).await;
        let mut complete = 0;
        let vehicles = self.api.vehicles().await?;
        for vehicle in &vehicles {
            let claim = self.api.completeness(&format!("{}/{}", vehicle.fleet, vehicle.vehicle)).await?;
            complete += usize::from(claim.complete);
        }
        let stored: u64 = vehicles.iter().map(|vehicle| vehicle.fixes).sum();
        show.step(&format!("{stored} fixes stored; {complete} of {} vehicles complete", vehicles.len()));
        self.cloud.stop().await?;
        anyhow::ensure!(complete == vehicles.len(), "not every vehicle is complete");
        parked.context("the simulated fleet could not hand over its last fixes")
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    pub(crate) fn data(&self) -> &Path {
        self.cloud.data()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn edge_pid(&self) -> Option<u32> {
        self.edge.pid()
    }

    pub(crate) fn cloud_pid(&self) -> Option<u32> {
        self.cloud.pid()
    }
}

/// When each part was found dead.
#[derive(Default)]
struct Fallen {
    edge: Option<Instant>,
    cloud: Option<Instant>,
}

/// Whether a part that was found dead at `since` is to be started again; starts over when it is.
fn due(since: &mut Option<Instant>) -> bool {
    let due = since.get_or_insert_with(Instant::now).elapsed() >= RESTART_AFTER;
    if due {
        *since = None;
    }
    due
}

fn stored_of(vehicles: &[hil_tests::oracle::api::VehicleRow], name: &str) -> u64 {
    vehicles.iter().filter(|vehicle| vehicle.vehicle == name).map(|vehicle| vehicle.fixes).sum()
}

fn plug_in(options: &Options, folder: &Path) -> anyhow::Result<(Option<Receiver>, PathBuf)> {
    if let Some(device) = &options.serial {
        anyhow::ensure!(device.exists(), "{} is not there: is the receiver plugged in?", device.display());
        return Ok((None, device.clone()));
    }
    let (feed, pace) = match &options.nmea {
        Some(path) => {
            let text: Arc<[u8]> =
                std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?.into();
            let feed = Feed::log(text);
            anyhow::ensure!(
                feed.instants() > 0,
                "{} holds no RMC or GGA sentence with a time",
                path.display()
            );
            (feed, if options.speed == 1.0 { Pace::Real } else { Pace::Accelerated(options.speed) })
        }
        None => (Feed::drive(Drive::seeded(0, now(), 1), None), Pace::Real),
    };
    let device = VirtualReceiver::plug_in(feed, pace, Some(&folder.join("gnss0")))?;
    let path = device.device().to_owned();
    Ok((Some(Receiver { device, again: !options.once }), path))
}

/// The well-known ports where they are free, others where not.
fn ports() -> Ports {
    let tcp_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let udp_free = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let http = if tcp_free(HTTP_PORT) { HTTP_PORT } else { 0 };
    let link = if tcp_free(LINK_PORT) && udp_free(LINK_PORT) { LINK_PORT } else { 0 };
    let address = |port| format!("127.0.0.1:{port}");
    Ports { http: address(http), quic: address(link), enrol: address(link) }
}

fn port_of(address: &str) -> anyhow::Result<u16> {
    Ok(address.parse::<SocketAddr>()?.port())
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis() / 1000 * 1000
}
