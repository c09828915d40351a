//! What the demo says: steps, a status line that is rewritten, and what to try.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use hil_tests::process::program;
use tokio::time::Instant;

use crate::system::{FLEET, GATEWAY, System};

/// Without a terminal the status is a line now and then.
const LOG_EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Status {
    pub(crate) vehicles: usize,
    pub(crate) linked: usize,
    pub(crate) stored: u64,
    pub(crate) emitted: u64,
    /// `None` with a real receiver.
    pub(crate) gateway_printed: Option<u64>,
    pub(crate) gateway_stored: u64,
}

pub(crate) struct Show {
    terminal: bool,
    logged: Option<Instant>,
    before: Option<(Instant, u64)>,
    rate: f64,
}

impl Show {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), logged: None, before: None, rate: 0.0 }
    }

    /// A line that stays.
    pub(crate) fn step(&self, text: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        println!("{clear}demo: {text}");
    }

    pub(crate) fn revived(&self, name: &str, pid: Option<u32>) {
        let pid = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        self.step(&format!("{name} was killed; started it again{pid}, as systemd would"));
    }

    /// A line that the next one replaces.
    pub(crate) fn progress(&mut self, text: &str) {
        if self.terminal {
            print!("\r\x1b[2Kdemo: {text}");
            let _ = std::io::stdout().flush();
        } else if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            println!("demo: {text}");
        }
    }

    pub(crate) fn status(&mut self, status: &Status) {
        let now = Instant::now();
        match self.before {
            Some((then, stored)) if now - then >= Duration::from_secs(2) => {
                self.rate = status.stored.saturating_sub(stored) as f64 / (now - then).as_secs_f64();
                self.before = Some((now, status.stored));
            }
            None => self.before = Some((now, status.stored)),
            Some(_) => {}
        }
        let gateway = status.gateway_printed.map_or_else(
            || format!("gateway: {} stored", status.gateway_stored),
            |printed| format!("gateway: {printed} printed, {} stored", status.gateway_stored),
        );
        self.progress(&format!(
            "{} vehicles | fleet: {} linked, {} sent | {gateway} | {} stored in all, {:.0}/s | Ctrl-C stops",
            status.vehicles, status.linked, status.emitted, status.stored, self.rate
        ));
    }

    pub(crate) async fn what_to_try(&self, system: &System) -> anyhow::Result<()> {
        let link = system.api().sign_in_link().await?;
        let base = system.api().base();
        let data = system.data().display();
        let folder = system.folder().display();
        let cloud = shown(&program("avl-cloud")?);
        let pid = |pid: Option<u32>| pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
        let (edge_pid, cloud_pid) = (pid(system.edge_pid()), pid(system.cloud_pid()));
        self.step("ready");
        println!(
            "
  Open the live map (this link signs one browser in, once, within ten minutes):

      {link}

  Then try, in another terminal:

      TOKEN=$(cat {data}/api-token)
      curl -H \"Authorization: Bearer $TOKEN\" {base}/api/v1/vehicles/{FLEET}/{GATEWAY}/latest
      curl -H \"Authorization: Bearer $TOKEN\" '{base}/api/v1/vehicles/{FLEET}/{GATEWAY}/positions?format=gpx'
      curl -H \"Authorization: Bearer $TOKEN\" {base}/api/v1/vehicles/{FLEET}/{GATEWAY}/completeness

      {cloud} audit --data-dir {data} --vehicle {GATEWAY}     # is anything missing?
      kill -9 {edge_pid}                # the gateway dies; it comes back and nothing is missing
      kill -9 {cloud_pid}                # so does the cloud; the vehicles wait and catch up
      {cloud} sign-in --data-dir {data}     # another sign-in link
      tail -f {folder}/avl-edge.log {folder}/avl-cloud.log
"
        );
        Ok(())
    }
}

/// Relative to where the reader is, when that is shorter.
fn shown(path: &std::path::Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .map_or_else(|_| path.display().to_string(), |path| format!("./{}", path.display()))
}
