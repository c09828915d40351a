//! One role of `avl-cloud` as a process of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use super::child::Child;
use super::scene::eventually;

/// What it needs has been started before, on a machine that does other things.
const READY: Duration = Duration::from_secs(90);

/// Where it listens, as far as it does.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Doors {
    pub http: Option<String>,
    pub quic: Option<String>,
    pub enrol: Option<String>,
    pub health: Option<String>,
}

/// Dropping it kills it.
#[derive(Debug)]
pub struct Role {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    doors: Doors,
    child: Option<Child>,
}

impl Role {
    /// Starts it; it may wait for what it needs. `arguments` begin with the role.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(arguments: &[&str], environment: &[(String, String)], log: &Path) -> anyhow::Result<Self> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let environment = environment.to_vec();
        let mut role =
            Self { arguments, environment, log: log.to_owned(), doors: Doors::default(), child: None };
        role.begin()?;
        Ok(role)
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not; with its last words.
    pub async fn start(
        arguments: &[&str],
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut role = Self::launch(arguments, environment, log)?;
        role.listening().await?;
        Ok(role)
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.child = Some(Child::start_in("avl-cloud", &arguments, &self.log, &self.environment)?);
        Ok(())
    }

    /// Waits for the line that says where it listens.
    ///
    /// # Errors
    /// When it does not come; with its last words.
    pub async fn listening(&mut self) -> anyhow::Result<()> {
        let child = self.child.as_mut().context("it is not running")?;
        let line = child.line(READY).await?;
        self.doors =
            serde_json::from_str(&line).with_context(|| format!("the first line is not 'ready': {line}"))?;
        child.drain();
        Ok(())
    }

    /// SIGTERM, which it must end with success after.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let child = self.child.take().context("it is not running")?;
        let words = child.last_words();
        let status = child.stop().await?;
        anyhow::ensure!(status.success(), "{:?} ended with {status}: {words}", self.arguments);
        Ok(())
    }

    /// Signal 9.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.take().context("it is not running")?.kill().await
    }

    /// Starts it again, with the same arguments, and waits until it listens.
    ///
    /// # Errors
    /// See [`Role::start`].
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        self.begin()?;
        self.listening().await
    }

    #[must_use]
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// What `/readyz` says, and whether that is yes.
    ///
    /// # Errors
    /// When nobody answers at `health`.
    pub async fn readiness(health: &str) -> anyhow::Result<(bool, String)> {
        let answer = reqwest::get(format!("http://{health}/readyz")).await?;
        Ok((answer.status().is_success(), answer.text().await?))
    }

    /// A counter of its `/metrics`, over all labels; 0 for one that was not counted yet.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn count(&self, metric: &str) -> anyhow::Result<u64> {
        let health = self.doors.health.as_deref().context("it has no health listener")?;
        let text = reqwest::get(format!("http://{health}/metrics")).await?.text().await?;
        let values =
            text.lines().filter(|line| line.starts_with(metric)).filter_map(|line| line.rsplit(' ').next());
        values.map(|value| Ok(value.parse::<u64>()?)).sum()
    }

    /// Waits until its `/readyz` says yes.
    ///
    /// # Errors
    /// When it does not; with what it says.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let health = self.doors.health.as_deref().context("it has no health listener")?;
        eventually(&format!("{} is ready", self.arguments[0]), READY, || async {
            let (ready, words) = Self::readiness(health).await?;
            anyhow::ensure!(ready, "{words}");
            Ok(Some(()))
        })
        .await
    }
}
