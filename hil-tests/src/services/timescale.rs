//! TimescaleDB, by `scripts/timescaledb.sh`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use tokio::process::Command;

use super::free_port;
use crate::process::{Child, eventually};
use crate::skip;

/// Recovery after a kill included, on a machine that does other things.
const READY: Duration = Duration::from_secs(60);
/// Nothing here outlives the machine, and a killed process loses nothing that it gave to the kernel.
const HASTY: [&str; 2] = ["-c", "fsync=off"];

/// A server that is found at the same address after a kill.
#[derive(Debug)]
pub struct TimescaleDb {
    data: PathBuf,
    log: PathBuf,
    port: u16,
    options: &'static [&'static str],
    child: Option<Child>,
}

impl TimescaleDb {
    /// Starts a new server with its data in `folder`; `None`, said loudly, where it cannot be installed.
    ///
    /// # Errors
    /// When it does not become ready; with its last words.
    ///
    /// # Panics
    /// In CI, when it cannot be installed.
    pub async fn start(folder: &Path, log: &Path) -> anyhow::Result<Option<Self>> {
        Self::start_with(&HASTY, folder, log).await
    }

    /// As [`TimescaleDb::start`], with its usual durability: for measuring.
    ///
    /// # Errors
    /// See [`TimescaleDb::start`].
    pub async fn start_durable(folder: &Path, log: &Path) -> anyhow::Result<Option<Self>> {
        Self::start_with(&[], folder, log).await
    }

    async fn start_with(
        options: &'static [&'static str],
        folder: &Path,
        log: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let installed = Command::new(script()).arg("install").status().await?;
        if !installed.success() {
            skip("TimescaleDB cannot be installed ('./scripts/timescaledb.sh install' says why)");
            return Ok(None);
        }
        let data = folder.join("timescaledb");
        let mut server = Self { data, log: log.to_owned(), port: free_port()?, options, child: None };
        server.resume().await?;
        Ok(Some(server))
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let (data, port) = (self.data.display().to_string(), self.port.to_string());
        let arguments = [&["run", &data, &port][..], self.options].concat();
        eventually("the database takes connections", READY, || {
            // After a kill it refuses to start until the last of its old processes has noticed.
            let ended = self.child.as_mut().is_none_or(|child| child.has_ended().is_some());
            if ended {
                self.child = Child::start_program(&script(), "timescaledb", &arguments, &self.log).ok();
            }
            async {
                let ready = Command::new(script()).args(["ready", &port]).status().await?;
                Ok(ready.success().then_some(()))
            }
        })
        .await
        .with_context(|| format!("see {}", self.log.display()))?;
        self.child.as_mut().context("it was started")?.drain();
        Ok(())
    }

    /// Signal 9, to the whole server: transactions at work are gone.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.take().context("the database is not running")?.kill().await
    }

    /// # Errors
    /// When it is not running, or does not end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the database is not running")?;
        let pid =
            child.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).context("it has ended")?;
        // Not SIGTERM: PostgreSQL would wait for its clients to leave.
        rustix::process::kill_process(pid, Signal::INT)?;
        child.ended(READY).await.map(drop)
    }

    /// For `--database`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://avl:avl@127.0.0.1:{}/avl", self.port)
    }
}

fn script() -> PathBuf {
    crate::project_root().join("scripts/timescaledb.sh")
}
