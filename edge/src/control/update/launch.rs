//! `avl-edge launch`: starts the version in use, watches one that is on trial, and takes it back when it fails.
//!
//! It does as little as can be: it starts a program, waits, and reads and writes one small file. It is the package's
//! own program, whatever version it starts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use avl_shared::release::Version;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::slots::{Slot, Start};
use super::{Directory, LAUNCHED, RESTART_STATUS};

/// Between two starts of a program on trial that ends by itself.
const PAUSE: Duration = Duration::from_millis(500);
/// From SIGTERM to SIGKILL: the agent writes and sends what it has within 5 s, and closes its store.
const GRACE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Launcher {
    pub directory: Directory,
    /// A version on trial has this long to prove itself.
    pub confirm_within: Duration,
    /// The package's version: that of this program.
    pub own: Version,
    /// This program.
    pub program: PathBuf,
    /// What the agent is started with.
    pub arguments: Vec<OsString>,
}

/// How a program's run ended.
enum Run {
    Ended(ExitStatus),
    /// Told to stop: so is the launcher.
    Stopped(ExitStatus),
    TimeOver,
    CannotStart(std::io::Error),
}

impl Launcher {
    /// Returns the status to exit with, once the agent has ended for good.
    ///
    /// # Errors
    /// When no signal can be listened for, or the package's own program cannot be started.
    pub async fn run(&self) -> anyhow::Result<u8> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            let mut slots = self.directory.read();
            let start = slots.begin(self.own);
            if let Err(error) = self.directory.write(&slots) {
                // A start that is not counted could be repeated for ever.
                if start.on_trial {
                    slots.roll_back(&error.to_string());
                    return Err(error.into());
                }
                tracing::debug!(%error, "slots cannot be written: nothing is on trial, so nothing depends on it");
            }
            let told = async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            match self.start_and_watch(start, told).await? {
                Run::Stopped(status) => return Ok(code(status)),
                Run::Ended(status) if self.directory.read().trial().is_none() => {
                    if status.code() != Some(i32::from(RESTART_STATUS)) {
                        return Ok(code(status));
                    }
                }
                Run::Ended(status) => {
                    tracing::warn!(%status, version = ?self.directory.read().running().version, "a version on trial ended");
                    sleep(PAUSE).await;
                }
                Run::TimeOver => self.take_back(&format!(
                    "it did not prove itself within {} s",
                    self.confirm_within.as_secs()
                ))?,
                Run::CannotStart(error) => self.take_back(&format!("it cannot be started: {error}"))?,
            }
        }
    }

    async fn start_and_watch(&self, start: Start, told: impl Future<Output = ()>) -> anyhow::Result<Run> {
        let program = self.directory.program(start.installed.slot).unwrap_or_else(|| self.program.clone());
        let version = start.installed.version.unwrap_or(self.own);
        tracing::info!(%version, on_trial = start.on_trial, program = %program.display(), "starting");
        let child = Command::new(&program)
            .args(&self.arguments)
            .env(LAUNCHED, version.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if start.installed.slot == Slot::Package => {
                anyhow::bail!("cannot start {}: {error}", program.display())
            }
            Err(error) => return Ok(Run::CannotStart(error)),
        };
        tokio::pin!(told);
        let mut judged_at = start.on_trial.then(|| Instant::now() + self.confirm_within);
        loop {
            tokio::select! {
                status = child.wait() => return Ok(Run::Ended(status?)),
                () = &mut told => return Ok(Run::Stopped(stop(&mut child).await?)),
                () = sleep_until(judged_at.unwrap_or_else(Instant::now)), if judged_at.is_some() => {
                    judged_at = None;
                    if self.directory.read().trial().is_none() {
                        continue;
                    }
                    // It must not confirm itself while it is taken back: first it ends.
                    stop(&mut child).await?;
                    return Ok(Run::TimeOver);
                }
            }
        }
    }

    fn take_back(&self, cause: &str) -> anyhow::Result<()> {
        let mut slots = self.directory.read();
        if slots.trial().is_some() {
            tracing::error!(version = ?slots.running().version, "new version taken back: {cause}");
            slots.roll_back(cause);
        } else {
            tracing::error!("the version in use cannot be started: back to the package's ({cause})");
            slots.abandon_current();
        }
        Ok(self.directory.write(&slots)?)
    }
}

/// SIGTERM, and SIGKILL when that does not help.
async fn stop(child: &mut Child) -> std::io::Result<ExitStatus> {
    let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        if let Ok(status) = timeout(GRACE, child.wait()).await {
            return status;
        }
        tracing::warn!("the agent does not end: killing it");
        child.start_kill()?;
    }
    child.wait().await
}

fn code(status: ExitStatus) -> u8 {
    // 128 and more for a signal, as a shell says it.
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
