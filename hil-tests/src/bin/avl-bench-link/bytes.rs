//! What a fix costs on the wire, all-in, for each transport and latency: IP headers, acknowledgements and keep-alives
//! included, as the kernel counts them on the gateway's interface.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hil_tests::link::{Carried, Namespace, Way};
use hil_tests::logs::{Log, repeated};
use hil_tests::oracle::truth;
use hil_tests::process::{Broker, Cloud, Edge, Ports, Source, run};

use super::{FLEET, SEED, VEHICLE, delivered, place, simulated};

/// The handshake, and what a new connection learns: not part of what a fix costs.
const SETTLING: Duration = Duration::from_secs(120);

/// What is counted, and how much a fix may cost at 1 Hz.
struct Case {
    transport: &'static str,
    latency_s: u64,
    target: f64,
}

const CASES: [Case; 3] = [
    Case { transport: "QUIC", latency_s: 60, target: 6.0 },
    Case { transport: "QUIC", latency_s: 25, target: 9.0 },
    Case { transport: "MQTTS", latency_s: 60, target: 8.0 },
];

pub(super) struct Drive {
    pub(super) minutes: u64,
    pub(super) log: Option<PathBuf>,
}

impl Drive {
    fn text(&self) -> anyhow::Result<Vec<u8>> {
        let fixes = usize::try_from(self.minutes * 60)? + 300;
        match &self.log {
            Some(path) => repeated(&Log::read(path)?, fixes).with_context(|| path.display().to_string()),
            None => Ok(simulated(fixes)),
        }
    }

    fn name(&self) -> String {
        let file = self.log.as_deref().and_then(Path::file_name);
        file.map_or_else(
            || format!("a simulated drive (seed {SEED})"),
            |name| format!("the receiver's log `{}`", name.to_string_lossy()),
        )
    }
}

pub(super) async fn measure(folder: &Path, drive: &Drive, report: &mut String) -> anyhow::Result<()> {
    let path = folder.join("bytes.nmea");
    let text = drive.text()?;
    let rate = truth::read(&text).len();
    anyhow::ensure!(rate as u64 >= drive.minutes * 60, "the log has no more than {rate} instants");
    std::fs::write(&path, text)?;
    let mut running = Vec::new();
    for case in CASES {
        let Some(counted) = Counted::start(folder, case, &path).await? else { return Ok(()) };
        running.push(counted);
    }
    tokio::time::sleep(SETTLING).await;
    let mut early = Vec::new();
    for counted in &running {
        early.push(counted.behind_a_batch().await?);
    }
    tokio::time::sleep(Duration::from_secs(drive.minutes * 60).saturating_sub(SETTLING)).await;
    writeln!(
        report,
        "Bytes per fix on the wire at 1 Hz over {} minutes of {}, both directions, as the kernel counted the \
         interface, without Ethernet's headers. `whole` has the handshake; all else begins {} s after the start, and begins \
         and ends behind a batch.\n",
        drive.minutes,
        drive.name(),
        SETTLING.as_secs()
    )?;
    report.push_str("| transport, latency | a fix | target | payload | fixes a batch | up: packets, bytes a batch | down: packets, bytes a batch | whole |\n");
    report.push_str("|---|---|---|---|---|---|---|---|\n");
    for (counted, early) in running.iter_mut().zip(early) {
        let late = counted.behind_a_batch().await?;
        counted.report(&early, &late, report)?;
        counted.edge.kill().await?;
        counted.cloud.stop().await?;
    }
    report.push('\n');
    Ok(())
}

/// A gateway whose bytes are counted, with a cloud of its own.
struct Counted {
    case: Case,
    namespace: Namespace,
    cloud: Cloud,
    edge: Edge,
    _broker: Option<Broker>,
}

/// What was counted up to a moment.
struct Count {
    carried: Carried,
    fixes: u64,
    batches: u64,
    payload: u64,
}

impl Counted {
    async fn start(folder: &Path, case: Case, log: &Path) -> anyhow::Result<Option<Self>> {
        let by_mqtt = case.transport == "MQTTS";
        let folder = place(folder, &format!("bytes-{}-{}", case.transport, case.latency_s))?;
        let Some(namespace) = Namespace::with_interfaces(1)? else { return Ok(None) };
        let (data, ip) = (place(&folder, "cloud")?, namespace.cloud_ip());
        let broker = if by_mqtt {
            let Some(program) = Broker::program() else { return Ok(None) };
            let (place, log) = (place(&folder, "broker")?, folder.join("mosquitto.log"));
            Some(Broker::start_at(ip.parse()?, program, &place, &data, &log).await?)
        } else {
            None
        };
        let url = broker.as_ref().map(Broker::cloud_url);
        let keys: Vec<_> = url.iter().map(|url| ("AVL_CLOUD__MQTT__URL", url.as_str())).collect();
        let ports = Ports { quic: format!("{ip}:0"), ..Ports::default() };
        let cloud = Cloud::start_in(&data, &folder.join("avl-cloud.log"), ports, &keys).await?;
        let source = Source::Replay { path: log.to_owned(), speed: 1.0 };
        let quic = cloud.ports().quic.clone();
        let tuning = delivered(case.latency_s);
        let log = folder.join("avl-edge.log");
        let mut edge = Edge::configure(&place(&folder, "edge")?, &log, &source, &quic, tuning)?;
        edge.configure_also("server_name = \"localhost\"\n")?;
        if let Some(broker) = &broker {
            edge.configure_also(&format!(
                "[uplink.mqtt]\naddress = \"{}\"\nprefer = \"mqtt\"\n",
                broker.address()
            ))?;
        }
        // A vehicle at rest would wait longer, and cost less.
        edge.configure_also(&format!("[report.stopped]\nlatency = \"{}s\"\n", case.latency_s))?;
        edge.enrol(&cloud, FLEET, VEHICLE).await?;
        edge.start_in(&namespace)?;
        Ok(Some(Self { case, namespace, cloud, edge, _broker: broker }))
    }

    async fn count(&self) -> anyhow::Result<Count> {
        let config = self.edge.config().display().to_string();
        let status = run("avl-edge", &["status", "--json", "--config", &config]).await?;
        let status: serde_json::Value = serde_json::from_str(&status.stdout)?;
        let link =
            |key: &str| status["link"][key].as_u64().with_context(|| format!("the status has no link.{key}"));
        let (fixes, batches) = (link("fixes_sent")?, link("batches")?);
        Ok(Count { carried: self.namespace.carried(0)?, fixes, batches, payload: link("payload_bytes")? })
    }

    /// Waits for a batch, and until its packets have all passed.
    async fn behind_a_batch(&self) -> anyhow::Result<Count> {
        let before = self.count().await?;
        while self.count().await?.batches == before.batches {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.count().await
    }

    #[allow(clippy::cast_precision_loss)]
    fn report(&self, early: &Count, late: &Count, report: &mut String) -> anyhow::Result<()> {
        let each = |bytes: u64, count: u64| bytes as f64 / count.max(1) as f64;
        let (fixes, batches) = (late.fixes - early.fixes, late.batches - early.batches);
        let way = |early: Way, late: Way| {
            let (packets, bytes) = (late.packets - early.packets, late.bytes - early.bytes);
            format!("{:.2}, {:.0}", each(packets, batches), each(bytes, batches))
        };
        writeln!(
            report,
            "| {} {} s | {:.2} | {} | {:.2} | {:.1} | {} | {} | {:.2} |",
            self.case.transport,
            self.case.latency_s,
            each(late.carried.bytes() - early.carried.bytes(), fixes),
            self.case.target,
            each(late.payload - early.payload, fixes),
            each(fixes, batches),
            way(early.carried.up, late.carried.up),
            way(early.carried.down, late.carried.down),
            each(late.carried.bytes(), late.fixes),
        )?;
        Ok(())
    }
}
