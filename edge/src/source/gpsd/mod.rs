//! Fixes of a receiver that gpsd holds.
//!
//! gpsd passes on what an NMEA receiver prints, so the fixes keep every digit: that is what is used. For a receiver
//! that speaks a binary protocol it makes sentences of its own. Where neither comes (some drivers have no sentences),
//! its JSON reports are used: each becomes the sentences that say the same ([`report`]), and takes the way of all
//! others. JSON and NMEA are never mixed: as long as sentences arrive, reports are ignored.

mod report;

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::live::{Complaint, ConsumerGone, Intake, Retry, Waited};
use super::net::connect;
use report::Reports;

/// Where gpsd listens unless told otherwise (registered with IANA).
pub(super) const ADDRESS: &str = "127.0.0.1:2947";

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Reports are used when no sentence has come for so long: longer than the slowest receiver's cycle.
const WITHOUT_SENTENCES: Duration = Duration::from_secs(5);

/// gpsd without a receiver says nothing. After such a silence it is asked for its devices, …
const ASK_AFTER: Duration = Duration::from_secs(30);
/// … and when it does not answer, connected anew.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const READ_BYTES: usize = 4096;
/// gpsd's longest report, SKY with 140 satellites, is about 20 KB.
const MAX_LINE: usize = 64 * 1024;

/// Reads from gpsd until nobody takes the fixes any more. `device` is one of gpsd's, where it holds several.
pub(super) async fn run(address: &str, device: Option<&Path>, intake: &mut Intake<'_>) -> ConsumerGone {
    let (mut retry, mut complaint) = (Retry::new(FIRST_PAUSE, LONGEST_PAUSE), Complaint::default());
    loop {
        match connect(address, intake).await {
            Ok(Ok(mut server)) => {
                tracing::info!(address, "connected to gpsd");
                intake.opened();
                match watch(&mut server, device, intake, &mut retry).await {
                    Ok(cause) => complaint.say(intake.view(), format!("gpsd at {address}: {cause}")),
                    Err(gone) => return gone,
                }
                complaint.forget();
            }
            Ok(Err(cause)) => complaint.say(intake.view(), format!("gpsd: {cause}")),
            Err(gone) => return gone,
        }
        if intake.rest(retry.next()).await.is_err() {
            return ConsumerGone;
        }
    }
}

fn watch_request(device: Option<&Path>) -> String {
    let device = device.map_or_else(String::new, |device| {
        format!(",\"device\":{}", serde_json::Value::from(device.to_string_lossy()))
    });
    format!("?WATCH={{\"enable\":true,\"json\":true,\"nmea\":true{device}}};\n")
}

async fn watch(
    server: &mut TcpStream,
    device: Option<&Path>,
    intake: &mut Intake<'_>,
    retry: &mut Retry,
) -> Result<String, ConsumerGone> {
    if let Err(error) = server.write_all(watch_request(device).as_bytes()).await {
        return Ok(error.to_string());
    }
    let mut bytes = vec![0; READ_BYTES];
    let mut lines = Lines::default();
    let (mut last, mut asked) = (Instant::now(), false);
    let mut choice = Choice::new(Instant::now());
    loop {
        let ended = match intake.wait(server.read(&mut bytes)).await? {
            Waited::Got(0) => Some("it has closed the connection".to_owned()),
            Waited::Got(read) => {
                (last, asked) = (Instant::now(), false);
                retry.succeeded();
                lines.push(&bytes[..read]);
                while let Some(line) = lines.next() {
                    choice.take(&line, last, intake).await?;
                }
                None
            }
            Waited::Failed(cause) => Some(cause),
            Waited::Quiet if asked && last.elapsed() >= ASK_AFTER + ANSWER_WITHIN => {
                Some("it does not answer".to_owned())
            }
            Waited::Quiet if !asked && last.elapsed() >= ASK_AFTER => {
                asked = true;
                server.write_all(b"?DEVICES;\n").await.err().map(|error| error.to_string())
            }
            Waited::Quiet => None,
        };
        if let Some(cause) = ended {
            intake.interrupted().await?;
            return Ok(cause);
        }
        intake.show_state();
    }
}

/// Sentences as long as there are any, else reports.
struct Choice {
    sentence: Instant,
    reports: Reports,
    told: bool,
}

impl Choice {
    fn new(now: Instant) -> Self {
        Self { sentence: now, reports: Reports::default(), told: false }
    }

    async fn take(&mut self, line: &[u8], now: Instant, intake: &mut Intake<'_>) -> Result<(), ConsumerGone> {
        if line.first() != Some(&b'{') {
            if line.first() == Some(&b'$') {
                self.sentence = now;
            }
            return intake.take(line).await;
        }
        let Some(sentences) = self.reports.read(line) else { return Ok(()) };
        if now.duration_since(self.sentence) < WITHOUT_SENTENCES {
            return Ok(());
        }
        if !std::mem::replace(&mut self.told, true) {
            tracing::info!(
                "gpsd has no sentences of this receiver: using its reports, rounded as gpsd rounds them"
            );
        }
        intake.take(sentences.as_bytes()).await
    }
}

/// Cuts a stream into lines; one that is too long is thrown away.
#[derive(Debug, Default)]
struct Lines {
    pending: Vec<u8>,
    start: usize,
    skipping: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.pending.drain(..self.start);
        self.start = 0;
        self.pending.extend_from_slice(bytes);
    }

    /// The next line, with its end.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = &self.pending[self.start..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                if rest.len() > MAX_LINE {
                    self.pending.clear();
                    self.start = 0;
                    self.skipping = true;
                }
                return None;
            };
            let line = rest[..=end].to_vec();
            self.start += end + 1;
            if !std::mem::take(&mut self.skipping) {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests;
