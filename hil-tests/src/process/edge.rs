//! `avl-edge` with its configuration and state folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use avl_shared::fix::UtcMillis;
use chrono::DateTime;
use serde::Deserialize;

use super::child::{Child, run};
use super::cloud::Cloud;
use crate::link::Namespace;
use crate::oracle::api::Row;

#[derive(Clone, Debug)]
pub enum Source {
    Serial {
        path: PathBuf,
        baud: u32,
    },
    /// At so many times real time; 0 is as fast as it goes.
    Replay {
        path: PathBuf,
        speed: f64,
    },
}

impl Source {
    /// A virtual receiver: a pty has no speed, so any will do.
    #[must_use]
    pub fn virtual_serial(path: &Path) -> Self {
        Self::Serial { path: path.to_owned(), baud: 115_200 }
    }
}

/// The times that make the difference between a test of seconds and a drive of hours.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// The longest that a fix is in memory only.
    pub durability: Duration,
    /// How long a fix may wait before it is sent.
    pub latency: Duration,
    /// How often the gateway asks for an acknowledgement.
    pub ack_interval: Duration,
    /// How long that may stay unanswered before it connects anew.
    pub ack_timeout: Duration,
    pub reconnect_max: Duration,
}

impl Tuning {
    /// Everything some fifty times as fast as on the road.
    pub const HASTY: Self = Self {
        durability: Duration::from_millis(100),
        latency: Duration::from_millis(250),
        ack_interval: Duration::from_millis(500),
        ack_timeout: Duration::from_secs(3),
        reconnect_max: Duration::from_secs(1),
    };
    /// A gateway as it is delivered, but for a livelier map.
    pub const SHOWN: Self = Self {
        durability: Duration::from_secs(1),
        latency: Duration::from_secs(1),
        ack_interval: Duration::from_secs(10),
        ack_timeout: Duration::from_secs(10),
        reconnect_max: Duration::from_secs(2),
    };
}

/// What `avl-edge buffer --json` claims to hold.
#[derive(Clone, Debug, Deserialize)]
pub struct Buffer {
    pub epoch: Option<String>,
    pub next_sequence: Option<u64>,
    pub last_sequence: Option<u64>,
    /// Pairs of first and last, both included.
    #[serde(default)]
    pub held: Vec<[u64; 2]>,
    pub last_fix: Option<Row>,
}

impl Buffer {
    /// GNSS time of the newest fix that is durable.
    ///
    /// # Errors
    /// When the time cannot be read.
    pub fn last_time(&self) -> anyhow::Result<Option<UtcMillis>> {
        let Some(fix) = &self.last_fix else { return Ok(None) };
        let time = fix.time.as_deref().context("the last fix has no time")?;
        Ok(Some(DateTime::parse_from_rfc3339(time)?.timestamp_millis()))
    }
}

#[derive(Debug)]
pub struct Edge {
    config: PathBuf,
    log: PathBuf,
    once: bool,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Edge {
    /// Writes the configuration of a gateway into `folder`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(
        folder: &Path,
        log: &Path,
        source: &Source,
        quic: &str,
        tuning: Tuning,
    ) -> anyhow::Result<Self> {
        let mut text = format!("state_dir = {:?}\n[source]\n", folder.join("state").display().to_string());
        // The logs are of 2005 to 2020, and a simulated drive may begin before the day of the build: their dates are
        // right as printed.
        writeln!(text, "earliest_date = \"1980-01-06\"")?;
        match source {
            Source::Serial { path, baud } => {
                writeln!(text, "kind = \"serial\"\npath = {:?}\nbaud = {baud}", path.display().to_string())?;
            }
            Source::Replay { path, speed } => {
                writeln!(
                    text,
                    "kind = \"replay\"\npath = {:?}\nspeed = {speed}",
                    path.display().to_string()
                )?;
            }
        }
        let Tuning { durability, latency, ack_interval, ack_timeout, reconnect_max } = tuning;
        writeln!(text, "[buffer]\ndurability = \"{}ms\"", durability.as_millis())?;
        writeln!(text, "[uplink]\nlatency = \"{}ms\"", latency.as_millis())?;
        writeln!(
            text,
            "ack_interval = \"{}ms\"\nack_timeout = \"{}ms\"",
            ack_interval.as_millis(),
            ack_timeout.as_millis()
        )?;
        writeln!(
            text,
            "reconnect_max = \"{}ms\"\n[uplink.quic]\naddress = {quic:?}",
            reconnect_max.as_millis()
        )?;
        let config = folder.join("avl-edge.toml");
        std::fs::write(&config, text).with_context(|| config.display().to_string())?;
        let once = matches!(source, Source::Replay { .. });
        Ok(Self { config, log: log.to_owned(), once, environment: Vec::new(), child: None })
    }

    /// Adds sections to its configuration.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure_also(&self, sections: &str) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(&self.config)? + sections;
        std::fs::write(&self.config, text).with_context(|| self.config.display().to_string())
    }

    /// Gets the gateway its certificate.
    ///
    /// # Errors
    /// What `avl-edge enrol` says.
    pub async fn enrol(&self, cloud: &Cloud, fleet: &str, vehicle: &str) -> anyhow::Result<()> {
        self.enrol_with(cloud, fleet, vehicle, &[]).await
    }

    /// As [`Edge::enrol`], with further arguments.
    ///
    /// # Errors
    /// What `avl-edge enrol` says.
    pub async fn enrol_with(
        &self,
        cloud: &Cloud,
        fleet: &str,
        vehicle: &str,
        more: &[&str],
    ) -> anyhow::Result<()> {
        let token = cloud.token(fleet, vehicle).await?;
        let config = self.config.display().to_string();
        let url = cloud.enrolment_url();
        let arguments = [&["enrol", "--url", &url, "--token", &token, "--config", &config], more].concat();
        run("avl-edge", &arguments).await?.success().context("avl-edge enrol")?;
        Ok(())
    }

    /// A variable for the environment that it runs in from the next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// What the agent has logged so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn said(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())
    }

    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.launch(|arguments, log, environment| Child::start_in("avl-edge", arguments, log, environment))
    }

    /// Within a network namespace.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_in(&mut self, namespace: &Namespace) -> anyhow::Result<()> {
        self.launch(|arguments, log, environment| {
            Child::start_within(namespace, "avl-edge", arguments, log, environment)
        })
    }

    fn launch(
        &mut self,
        start: impl FnOnce(&[&str], &Path, &[(String, String)]) -> anyhow::Result<Child>,
    ) -> anyhow::Result<()> {
        let config = self.config.display().to_string();
        let mut arguments = vec!["run", "--config", config.as_str()];
        if self.once {
            arguments.push("--once");
        }
        let mut child = start(&arguments, &self.log, &self.environment)?;
        child.drain();
        self.child = Some(child);
        Ok(())
    }

    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.take().context("the edge is not running")?.kill().await
    }

    /// Stops it in order; it must end with success.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.child.take().context("the edge is not running")?.stop().await?;
        anyhow::ensure!(status.success(), "avl-edge ended with {status}");
        Ok(())
    }

    /// Waits for `run --once` to end by itself, with success.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ended(&mut self, patience: Duration) -> anyhow::Result<()> {
        let child = self.child.as_mut().context("the edge is not running")?;
        let status = child.ended(patience).await?;
        let words = child.last_words();
        self.child = None;
        anyhow::ensure!(status.success(), "avl-edge ended with {status}: {words}");
        Ok(())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.has_ended().is_some())
    }

    /// Its last words, if it has ended without being told to.
    pub fn fallen(&mut self) -> Option<String> {
        let child = self.child.as_mut()?;
        child.has_ended().map(|status| format!("avl-edge ended with {status}: {}", child.last_words()))
    }

    /// The process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::pid)
    }

    /// What the stopped gateway claims to hold.
    ///
    /// # Errors
    /// What `avl-edge buffer` says.
    pub async fn buffer(&self) -> anyhow::Result<Buffer> {
        let config = self.config.display().to_string();
        let output = run("avl-edge", &["buffer", "--config", &config, "--json"]).await?;
        let output = output.success().context("avl-edge buffer")?;
        serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())
    }

    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }
}
