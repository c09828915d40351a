//! One operating-system process with its output in a file.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::link::Namespace;

/// A program that does not end this long after SIGTERM is killed.
const GRACE: Duration = Duration::from_secs(20);

/// The path of one of the workspace's programs: beside this executable, where cargo puts them, or what the variable
/// `AVL_EDGE_PROGRAM` (for `avl-edge`) names, such as a build for ARM under an emulator.
///
/// # Errors
/// When it has not been built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(other) = std::env::var_os(format!("{}_PROGRAM", name.replace('-', "_").to_uppercase())) {
        return Ok(other.into());
    }
    let here = std::env::current_exe()?;
    // A test executable stands in `deps`, one folder below the programs.
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!("{name} is not beside {}: build it first with 'cargo build --workspace'", here.display())
    })
}

/// What a program that ran to its end said.
#[derive(Clone, Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// # Errors
    /// All that the program said, when it failed.
    pub fn success(self) -> anyhow::Result<Self> {
        anyhow::ensure!(self.status.success(), "{}: {}{}", self.status, self.stdout, self.stderr);
        Ok(self)
    }
}

/// Runs a program of the workspace to its end.
///
/// # Errors
/// When it cannot be started, or takes longer than two minutes.
pub async fn run(name: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    run_in(name, arguments, &[]).await
}

/// As [`run`], with these variables added to its environment.
///
/// # Errors
/// See [`run`].
pub(super) async fn run_in(
    name: &str,
    arguments: &[&str],
    environment: &[(String, String)],
) -> anyhow::Result<Output> {
    let command = Command::new(program(name)?)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), command)
        .await
        .with_context(|| format!("{name} {} has not ended after two minutes", arguments.join(" ")))??;
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: tokio::process::Child,
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    log: PathBuf,
}

impl Child {
    /// Starts a program of the workspace; what it says on stderr is appended to `log`.
    ///
    /// # Errors
    /// When it has not been built, or cannot be started.
    pub fn start(name: &str, arguments: &[&str], log: &Path) -> anyhow::Result<Self> {
        Self::start_in(name, arguments, log, &[])
    }

    /// As [`Child::start`], with these variables added to its environment.
    ///
    /// # Errors
    /// See [`Child::start`].
    pub fn start_in(
        name: &str,
        arguments: &[&str],
        log: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Self> {
        Self::spawn(Command::new(program(name)?), name, arguments, log, environment)
    }

    /// The same within a network namespace. The process is the program itself: `ip netns exec` becomes it.
    ///
    /// # Errors
    /// See [`Child::start`].
    pub fn start_within(
        namespace: &Namespace,
        name: &str,
        arguments: &[&str],
        log: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace.name()]).arg(program(name)?);
        Self::spawn(command, name, arguments, log, environment)
    }

    /// As [`Child::start_in`], for a program of the machine.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_program(program: &Path, name: &str, arguments: &[&str], log: &Path) -> anyhow::Result<Self> {
        Self::spawn(Command::new(program), name, arguments, log, &[])
    }

    fn spawn(
        mut command: Command,
        name: &str,
        arguments: &[&str],
        log: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("{} cannot be written", log.display()))?;
        let mut child = command
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            // Ctrl-C in a terminal reaches only us; we then stop it in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let stdout = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        Ok(Self { name: name.to_owned(), child, stdout, log: log.to_owned() })
    }

    /// The next line on stdout.
    ///
    /// # Errors
    /// When the program ends before, or says nothing within `patience`.
    pub async fn line(&mut self, patience: Duration) -> anyhow::Result<String> {
        let stdout = self.stdout.as_mut().context("stdout was closed")?;
        match tokio::time::timeout(patience, stdout.next_line()).await {
            Ok(line) => line?.with_context(|| format!("{} ended: {}", self.name, tail(&self.log))),
            Err(_) => anyhow::bail!("{} said nothing within {patience:?}: {}", self.name, tail(&self.log)),
        }
    }

    /// Reads the rest of stdout and forgets it, so that the program never waits for a reader.
    pub fn drain(&mut self) {
        if let Some(mut stdout) = self.stdout.take() {
            tokio::spawn(async move { while let Ok(Some(_)) = stdout.next_line().await {} });
        }
    }

    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Signal 9: no chance to clean up.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// SIGTERM, and the exit status it ends with.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(self) -> anyhow::Result<ExitStatus> {
        self.stop_within(GRACE).await
    }

    /// As [`Child::stop`], for a program that has much to end.
    ///
    /// # Errors
    /// See [`Child::stop`].
    pub async fn stop_within(mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            rustix::process::kill_process(pid, Signal::TERM)?;
        }
        self.drain();
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                self.child.kill().await?;
                anyhow::bail!("{} did not end within {patience:?} of SIGTERM: {}", self.name, tail(&self.log))
            }
        }
    }

    /// Waits for the program to end by itself.
    ///
    /// # Errors
    /// When it has not ended within `patience`.
    pub async fn ended(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.drain();
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => anyhow::bail!("{} has not ended within {patience:?}: {}", self.name, tail(&self.log)),
        }
    }

    /// The exit status, if it has ended.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    #[must_use]
    pub fn last_words(&self) -> String {
        tail(&self.log)
    }
}

/// The end of a log, for an error message.
fn tail(log: &Path) -> String {
    const LINES: usize = 12;
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    format!("see {}\n{last}", log.display())
}
