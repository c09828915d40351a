//! A receiver behind the real gpsd: pseudo-terminal → gpsd → the gateway's source, against the independent parser.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use avl_edge::FixRow;
use avl_edge::health::View;
use avl_edge::source::{self, Baud, EarliestDate, Kind, Observed, SourceConfig, Surroundings};
use hil_tests::logs::{Log, URBAN};
use hil_tests::oracle::api::Row;
use hil_tests::oracle::{truth, verdict};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::stage::{PATIENCE, play};

const BEFORE_RESTART: usize = 40;
const AFTER_RESTART: usize = 20;

/// `gpsd`, which is in no user's path. Where it is not installed the test says so, and in CI it fails.
fn gpsd() -> Option<PathBuf> {
    let found =
        ["/usr/sbin/gpsd", "/usr/local/sbin/gpsd"].map(PathBuf::from).into_iter().find(|path| path.is_file());
    if found.is_none() {
        let absent = "gpsd is absent: scripts/setup.sh test";
        hil_tests::skip(absent);
    }
    found
}

/// In the foreground, reading at once and without writing to the receiver. Ends with its handle.
fn start(program: &Path, port: u16, device: &Path) -> anyhow::Result<Child> {
    Command::new(program)
        .args(["-N", "-n", "-b", "-S", &port.to_string()])
        .arg(device)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("gpsd")
}

async fn next(fixes: &mut mpsc::Receiver<Observed>) -> anyhow::Result<Row> {
    let observed = timeout(PATIENCE, fixes.recv()).await?.context("the source has ended")?;
    Ok(serde_json::from_value(serde_json::to_value(FixRow::from(&observed.fix))?)?)
}

#[test]
fn gpsd_passes_on_every_fix_with_every_digit_and_may_be_restarted() {
    play(async {
        let (Some(log), Some(program)) = (URBAN.path(), gpsd()) else { return Ok(()) };
        let text = Log::read(&log)?;
        let printed = truth::read(&text);
        let receiver = VirtualReceiver::plug_in(Feed::log(text), Pace::Accelerated(8.0), None)?;
        receiver.halt().await;
        // gpsd gives up its rights before it opens a device for the second time.
        std::fs::set_permissions(receiver.device(), std::fs::Permissions::from_mode(0o666))?;

        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut daemon = start(&program, port, receiver.device())?;
        let config = SourceConfig {
            kind: Kind::Gpsd,
            path: None,
            address: Some(format!("127.0.0.1:{port}")),
            speed: 0.0,
            baud: Baud::Auto,
            earliest_date: EarliestDate::On(chrono::NaiveDate::default()),
        };
        let (sender, mut fixes) = mpsc::channel(64);
        let reading =
            tokio::spawn(source::run(config, None, sender, View::default(), Surroundings::default()));

        receiver.continue_after(None).await?;
        receiver.go().await;
        let mut rows = Vec::new();
        while rows.len() < BEFORE_RESTART {
            rows.push(next(&mut fixes).await?);
        }
        // What was printed before gpsd listened is nobody's; from the first fix on, all of them are there.
        let first = printed
            .iter()
            .position(|fix| fix.time.map(rfc3339) == rows[0].time)
            .context("an invented fix")?;
        let report = verdict::compare(&printed[first..first + BEFORE_RESTART], &rows);
        println!("through gpsd, from fix {first} on: {report}");
        report.require_clean()?;

        daemon.kill().await?;
        let mut daemon = start(&program, port, receiver.device())?;
        let mut last = rows.last().and_then(|row| row.time.clone());
        for _ in 0..AFTER_RESTART {
            let row = next(&mut fixes).await?;
            anyhow::ensure!(row.time > last, "{:?} after {last:?}: a fix was repeated", row.time);
            let at = printed
                .iter()
                .position(|fix| fix.time.map(rfc3339) == row.time)
                .context("an invented fix")?;
            last.clone_from(&row.time);
            verdict::compare(&printed[at..=at], &[row]).require_clean()?;
        }
        drop(fixes);
        let counts = timeout(PATIENCE, reading).await???;
        println!("{counts:?}");
        daemon.kill().await?;
        Ok(())
    });
}

fn rfc3339(millis: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(millis).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
