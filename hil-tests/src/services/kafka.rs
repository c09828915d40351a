//! Apache Kafka: one broker or several, killed, paused and started again one by one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::free_port;
use crate::process::{Child, eventually};
use crate::skip;

/// A virtual machine, and its elections, on a machine that does other things.
const READY: Duration = Duration::from_secs(90);

/// A cluster in a scene's folder. Dropping it kills it.
#[derive(Debug)]
pub struct Kafka {
    folder: PathBuf,
    log: PathBuf,
    voters: String,
    brokers: Vec<Broker>,
}

#[derive(Debug)]
struct Broker {
    port: u16,
    child: Option<Child>,
    starts: usize,
}

impl Kafka {
    /// Brokers that are also the controllers, ready for topics. `log` is a folder; each broker has a file there.
    /// `None`, said loudly, where Kafka cannot be installed.
    ///
    /// # Errors
    /// When one does not become ready.
    ///
    /// # Panics
    /// In CI, when it cannot be installed.
    pub async fn start(brokers: usize, folder: &Path, log: &Path) -> anyhow::Result<Option<Self>> {
        let installed = Command::new(script()).arg("install").stdout(Stdio::null()).status().await?;
        if !installed.success() {
            skip("Kafka cannot be installed ('./scripts/kafka.sh install' says why)");
            return Ok(None);
        }
        let mut voters = Vec::new();
        let mut all = Vec::new();
        for id in 1..=brokers {
            voters.push(format!("{id}@127.0.0.1:{}", free_port()?));
            all.push(Broker { port: free_port()?, child: None, starts: 0 });
        }
        std::fs::create_dir_all(log)?;
        let voters = voters.join(",");
        let mut kafka = Self { folder: folder.to_owned(), log: log.to_owned(), voters, brokers: all };
        for index in 0..brokers {
            kafka.launch(index)?;
        }
        for index in 0..brokers {
            kafka.ready(index).await?;
        }
        Ok(Some(kafka))
    }

    /// `HOST:PORT` of every broker, for `--kafka`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port)).collect::<Vec<_>>().join(",")
    }

    /// Signal 9.
    ///
    /// # Errors
    /// When this broker is not running.
    pub async fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        self.child(index)?.take().with_context(|| format!("broker {index} is not running"))?.kill().await
    }

    /// Starts a broker again, on what it has kept.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn resume(&mut self, index: usize) -> anyhow::Result<()> {
        self.launch(index)?;
        self.ready(index).await
    }

    /// Runs one of Kafka's own tools on the cluster, with `input` on its stdin; returns what it says.
    ///
    /// # Errors
    /// What it says when it fails.
    pub async fn tool(&self, class: &str, arguments: &[&str], input: &[u8]) -> anyhow::Result<String> {
        let mut tool = Command::new(script())
            .args(["tool", class, "--bootstrap-server", &self.bootstrap()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = tool.stdin.take() {
            stdin.write_all(input).await?;
        }
        let output = tool.wait_with_output().await?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        anyhow::ensure!(output.status.success(), "{class} {arguments:?}: {said}");
        Ok(said)
    }

    /// Nothing of a broker moves until [`Kafka::go_on`]; its connections stay.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&mut self, index: usize) -> anyhow::Result<()> {
        self.signal(index, Signal::STOP)
    }

    /// # Errors
    /// When it is not running.
    pub fn go_on(&mut self, index: usize) -> anyhow::Result<()> {
        self.signal(index, Signal::CONT)
    }

    fn signal(&mut self, index: usize, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child(index)?.as_ref().and_then(Child::pid).context("the broker is not running")?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("no process")?;
        Ok(kill_process(pid, signal)?)
    }

    fn child(&mut self, index: usize) -> anyhow::Result<&mut Option<Child>> {
        let broker = self.brokers.get_mut(index).with_context(|| format!("there is no broker {index}"))?;
        Ok(&mut broker.child)
    }

    fn launch(&mut self, index: usize) -> anyhow::Result<()> {
        let id = (index + 1).to_string();
        let folder = self.folder.join(format!("broker-{id}")).display().to_string();
        let port = self.brokers[index].port.to_string();
        let arguments = ["run", &folder, &id, &port, &self.voters];
        // The script becomes the broker: what is killed is Java itself.
        let mut child = Child::start_program(&script(), "kafka", &arguments, &self.words(index))?;
        child.drain();
        self.brokers[index].child = Some(child);
        self.brokers[index].starts += 1;
        Ok(())
    }

    fn words(&self, index: usize) -> PathBuf {
        self.log.join(format!("kafka-{}.log", index + 1))
    }

    /// Once more than before its log says that it serves.
    async fn ready(&mut self, index: usize) -> anyhow::Result<()> {
        let (log, starts) = (self.words(index), self.brokers[index].starts);
        let child = self.brokers[index].child.as_mut().context("the broker was not started")?;
        let served = eventually("the broker serves", READY, || async {
            let said = std::fs::read_to_string(&log)?;
            Ok((said.matches("Kafka Server started").count() >= starts).then_some(()))
        });
        tokio::select! {
            served = served => served.with_context(|| format!("see {}", log.display())),
            ended = child.ended(READY * 2) => {
                anyhow::bail!("broker {index} ended: {ended:?}; see {}", log.display())
            }
        }
    }
}

fn script() -> PathBuf {
    crate::project_root().join("scripts/kafka.sh")
}
