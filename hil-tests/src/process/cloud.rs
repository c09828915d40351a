//! `avl-cloud all` with its data folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use super::child::{Child, run_in};
use crate::oracle::api::Api;

/// Making keys and certificates takes a moment on a loaded machine.
const READY: Duration = Duration::from_secs(60);

/// Where the three doors are; port 0 lets the system choose.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Ports {
    pub http: String,
    pub quic: String,
    pub enrol: String,
}

impl Default for Ports {
    fn default() -> Self {
        let any = || "127.0.0.1:0".to_owned();
        Self { http: any(), quic: any(), enrol: any() }
    }
}

#[derive(Debug)]
pub struct Cloud {
    data: PathBuf,
    log: PathBuf,
    ports: Ports,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Cloud {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; with its last words.
    pub async fn start(data: &Path, log: &Path, ports: Ports) -> anyhow::Result<Self> {
        Self::start_in(data, log, ports, &[]).await
    }

    /// As [`Cloud::start`], with these variables in its environment: any key of the configuration.
    ///
    /// # Errors
    /// See [`Cloud::start`].
    pub async fn start_in(
        data: &Path,
        log: &Path,
        ports: Ports,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut cloud = Self { data: data.to_owned(), log: log.to_owned(), ports, environment, child: None };
        cloud.resume().await?;
        Ok(cloud)
    }

    /// Starts it again on the same folder and ports.
    ///
    /// # Errors
    /// See [`Cloud::start`].
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let data = self.data.display().to_string();
        let Ports { http, quic, enrol } = &self.ports;
        let arguments = ["all", "--data-dir", &data, "--http", http, "--quic", quic, "--enrol", enrol];
        let mut child = Child::start_in("avl-cloud", &arguments, &self.log, &self.environment)?;
        let line = child.line(READY).await?;
        self.ports =
            serde_json::from_str(&line).with_context(|| format!("the first line is not 'ready': {line}"))?;
        child.drain();
        self.child = Some(child);
        Ok(())
    }

    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.take().context("the cloud is not running")?.kill().await
    }

    /// Stops it in order; it must end with success.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.child.take().context("the cloud is not running")?.stop().await?;
        anyhow::ensure!(status.success(), "avl-cloud ended with {status}");
        Ok(())
    }

    /// As [`Cloud::stop`], with thousands of vehicles to say goodbye to.
    ///
    /// # Errors
    /// See [`Cloud::stop`].
    pub async fn stop_within(&mut self, patience: Duration) -> anyhow::Result<()> {
        let status = self.child.take().context("the cloud is not running")?.stop_within(patience).await?;
        anyhow::ensure!(status.success(), "avl-cloud ended with {status}");
        Ok(())
    }

    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The database that it was told to use.
    #[must_use]
    pub fn database(&self) -> Option<String> {
        let found = self.environment.iter().find(|(name, _)| name == "AVL_CLOUD__DATABASE__URL");
        found.map(|(_, url)| url.clone())
    }

    /// The process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::pid)
    }

    /// Its last words, if it has ended without being told to.
    pub fn fallen(&mut self) -> Option<String> {
        let child = self.child.as_mut()?;
        child.has_ended().map(|status| format!("avl-cloud ended with {status}: {}", child.last_words()))
    }

    /// # Errors
    /// When the token file cannot be read.
    pub fn api(&self) -> anyhow::Result<Api> {
        let path = self.data.join("api-token");
        let token = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Api::new(&self.ports.http, &token)
    }

    /// A single-use enrolment token.
    ///
    /// # Errors
    /// When there is none.
    pub async fn token(&self, fleet: &str, vehicle: &str) -> anyhow::Result<String> {
        let data = self.data.display().to_string();
        let arguments = ["token", "--data-dir", &data, "--fleet", fleet, "--vehicle", vehicle];
        Ok(run_in("avl-cloud", &arguments, &self.environment).await?.success()?.stdout.trim().to_owned())
    }

    /// Runs another command of `avl-cloud` on this data folder.
    ///
    /// # Errors
    /// What it says when it fails.
    pub async fn command(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let data = self.data.display().to_string();
        let arguments = [&[name, "--data-dir", &data], arguments].concat();
        Ok(run_in("avl-cloud", &arguments, &self.environment).await?.success()?.stdout)
    }

    /// `avl-cloud audit`: nothing missing, as the system itself sees it.
    ///
    /// # Errors
    /// What it found missing.
    pub async fn audit(&self, vehicle: &str) -> anyhow::Result<serde_json::Value> {
        let data = self.data.display().to_string();
        let arguments = ["audit", "--data-dir", &data, "--vehicle", vehicle, "--json"];
        let output = run_in("avl-cloud", &arguments, &self.environment).await?;
        let output = output.success().context("avl-cloud audit")?;
        serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())
    }

    #[must_use]
    pub fn enrolment_url(&self) -> String {
        format!("https://{}", self.ports.enrol)
    }
}
