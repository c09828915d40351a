//! What an idle vehicle costs the server in memory, and what a drain with all of them loses.
//!
//! The real `avl-cloud all` is a process of its own; its vehicles are in others. Each has a certificate of its own, has said hello,
//! was welcomed, and has sent one batch that is stored and that nobody has acknowledged yet; then it is silent. What a vehicle costs is the growth
//! of the server's resident memory between the first tenth of them and all. In the end the server is told to stop: each vehicle
//! must have been told that its batch is durable before its connection closes.

pub(crate) mod hold;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hil_tests::process::{Cloud, Ports};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::publish;
use crate::vehicle::BATCH;

/// The processes of one step connect at this pace at the most; a shared machine may be slow.
const PATIENCE: Duration = Duration::from_secs(900);
/// Memory of what is over (handshakes, batches) is given back within this time.
const SETTLE: Duration = Duration::from_secs(3);
/// The aim.
const REACH_KIB: f64 = 12.0;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Vehicles in all
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    vehicles: usize,
    /// Processes that they are in
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    processes: usize,
    /// Where to write the result, as Markdown
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("avl-connections-").tempdir()?;
    let log = folder.path().join("avl-cloud.log");
    let data = folder.path().join("cloud");
    let all = (options.vehicles + options.processes).to_string();
    let environment = [
        ("AVL_CLOUD__INGEST__MAX_CONNECTIONS", all.as_str()),
        // All come from one address.
        ("AVL_CLOUD__INGEST__MAX_HANDSHAKES_PER_ADDRESS", "512"),
        ("AVL_CLOUD__INGEST__HELLO_TIMEOUT", "60s"),
        ("AVL_CLOUD__INGEST__IDLE_TIMEOUT", "1h"),
        ("AVL_CLOUD__INGEST__DRAIN_TIMEOUT", "20s"),
        ("RUST_LOG", "warn"),
    ];
    let mut cloud = Cloud::start_in(&data, &log, Ports::default(), &environment).await?;
    let pid = cloud.pid().context("avl-cloud is not running")?;

    let mut holders = Vec::new();
    let mut points = vec![(0, resident_kib(pid)?)];
    let begun = Instant::now();
    let each = options.vehicles / options.processes;
    for process in 0..options.processes {
        holders.push(Holder::start(cloud.data(), &cloud.ports().quic, process * each)?);
    }
    for (share, of) in [(1, 10), (1, 4), (1, 2), (3, 4), (1, 1)] {
        for holder in &mut holders {
            holder.hold(each * share / of).await?;
        }
        for holder in &mut holders {
            holder.answer().await?;
        }
        tokio::time::sleep(SETTLE).await;
        let held = each * share / of * options.processes;
        points.push((held, resident_kib(pid)?));
        eprintln!("{held} vehicles: {} KiB", resident_kib(pid)?);
    }
    let connected_within = begun.elapsed() - SETTLE * 5;

    // The vehicles hear it before the process ends.
    let draining = Instant::now();
    let (stopped, told) = tokio::join!(cloud.stop_within(PATIENCE), async {
        let mut told = 0;
        for holder in &mut holders {
            holder.wait().await?;
        }
        for holder in &mut holders {
            told += holder.answer().await?.parse::<usize>()?;
        }
        anyhow::Ok(told)
    });
    stopped?;
    let (told, drained_within) = (told?, draining.elapsed());
    let page = page(&points, told, connected_within, drained_within, options.processes);
    publish(&page, options.out.as_ref())?;
    let vehicles = each * options.processes;
    anyhow::ensure!(told == vehicles, "{told} of {vehicles} vehicles were acknowledged");
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn page(
    points: &[(usize, u64)],
    told: usize,
    connected_within: Duration,
    drained_within: Duration,
    processes: usize,
) -> String {
    let kib_each = |from: (usize, u64), to: (usize, u64)| {
        to.1.saturating_sub(from.1) as f64 / (to.0 - from.0).max(1) as f64
    };
    let mut page = String::from(
        "## Idle connections (`avl-bench-ingest connections`)\n\n\
         | vehicles | resident memory of avl-cloud, MiB | a further vehicle, KiB |\n|---|---|---|\n",
    );
    for (index, &point) in points.iter().enumerate() {
        let each = match index.checked_sub(1) {
            Some(before) => format!("{:.1}", kib_each(points[before], point)),
            None => String::new(),
        };
        page += &format!("| {} | {:.1} | {each} |\n", point.0, point.1 as f64 / 1024.0);
    }
    let (first, last) = (points[1], points[points.len() - 1]);
    page += &format!(
        "\n| what | measured | reach |\n|---|---|---|\n\
         | an idle vehicle (from the first tenth to all) | {:.1} KiB | {REACH_KIB} KiB |\n\
         | held at one time, in {processes} processes | {} | 50,000 |\n\
         | acknowledged in the drain | {told} of {}, {} fixes each | all |\n\
         | time to connect, both ends on this machine | {:.0} s: {:.0} a second | |\n\
         | time to drain | {:.1} s | |\n",
        kib_each(first, last),
        last.0,
        last.0,
        BATCH,
        connected_within.as_secs_f64(),
        last.0 as f64 / connected_within.as_secs_f64(),
        drained_within.as_secs_f64(),
    );
    page
}

fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// A process with vehicles; told on its stdin how many to hold, answers on its stdout.
struct Holder {
    _process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start(data: &Path, link: &str, first: usize) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["hold", "--link", link, "--first", &first.to_string(), "--data-dir"])
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = process.stdin.take().context("no stdin")?;
        let answers = BufReader::new(process.stdout.take().context("no stdout")?).lines();
        Ok(Self { _process: process, orders, answers })
    }

    async fn hold(&mut self, vehicles: usize) -> anyhow::Result<()> {
        Ok(self.orders.write_all(format!("{vehicles}\n").as_bytes()).await?)
    }

    /// From now on only for the end of its connections.
    async fn wait(&mut self) -> anyhow::Result<()> {
        Ok(self.orders.write_all(b"wait\n").await?)
    }

    async fn answer(&mut self) -> anyhow::Result<String> {
        let line = tokio::time::timeout(PATIENCE, self.answers.next_line()).await;
        line.context("its vehicles take too long")??.context("a process with vehicles has ended")
    }
}
