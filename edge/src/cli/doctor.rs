use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use avl_edge::config;
use avl_edge::health::doctor::{self, Check, Listener, Outcome};
use clap::Args;
use serde_json::json;

/// Find out what keeps fixes from arriving: one line a check, with cause and cure.
///
/// Works with and without a running agent, and changes nothing. Ends with 0 when nothing failed, 1 when a check failed,
/// 2 when the configuration cannot be used or the agent cannot be asked.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    avl-edge doctor\n  \
    avl-edge doctor --config gateway.toml --timeout 5m      wait for a cold start\n  \
    avl-edge doctor --json | jq '.checks[] | select(.outcome == \"failed\")'")]
pub(super) struct Arguments {
    /// The gateway's configuration.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,
    /// How long the receiver may take for a fix, such as 30s or 5m.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// For machines: {"ok": …, "verdict": …, "checks": [{"name", "outcome", "fact" | "cause", "cure" | "because"}]}.
    #[arg(long)]
    json: bool,
}

const COULD_NOT_RUN: u8 = 2;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut screen = Screen::new(arguments.json);
    let checks = runtime.block_on(doctor::examine(&arguments.config, arguments.timeout, &mut screen));
    // A lookup or a serial port that hangs in a helper thread must not keep the process.
    runtime.shutdown_background();
    screen.clear();
    let failed = checks.iter().any(|check| check.outcome.is_failure());
    let verdict = doctor::verdict(&checks);
    if arguments.json {
        println!("{}", json!({ "ok": !failed, "verdict": verdict, "checks": checks }));
    } else {
        println!("{verdict}");
    }
    let first_skipped = checks.iter().any(|check| {
        matches!(check.name, "configuration" | "agent") && matches!(check.outcome, Outcome::Failed { .. })
    });
    Ok(match (first_skipped, failed) {
        (true, _) => ExitCode::from(COULD_NOT_RUN),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime_serde::re::humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write it as in 30s or 5m"))
}

/// Prints checks as they are done; on a terminal also what is waited for, on a line that vanishes.
struct Screen {
    silent: bool,
    terminal: bool,
    shown: bool,
    waiting_since: Option<Instant>,
}

/// Shorter waits need no explanation.
const SHOW_AFTER: Duration = Duration::from_secs(2);

impl Screen {
    fn new(silent: bool) -> Self {
        Self { silent, terminal: io::stderr().is_terminal(), shown: false, waiting_since: None }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}

impl Listener for Screen {
    fn done(&mut self, check: &Check) {
        self.clear();
        self.waiting_since = None;
        if !self.silent {
            println!("{}", check.text());
        }
    }

    fn waiting(&mut self, what: &str, left: Duration) {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if self.terminal && !self.silent && since.elapsed() >= SHOW_AFTER {
            eprint!("\r\x1b[K… waiting for {what}, {} s at most", left.as_secs());
            let _ = io::stderr().flush();
            self.shown = true;
        }
    }
}
