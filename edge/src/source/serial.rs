//! Listens to a receiver on a serial line, for as long as the gateway runs.
//!
//! A device comes and goes: a USB receiver is unplugged, a modem resets its ports. None of that ends the source. After
//! a hang-up reading returns no bytes for ever, so no bytes means unplugged; the port is then closed on a thread of its
//! own, since closing waits for output to drain, and opened again with growing pauses. What keeps the device from
//! opening is said once, with its cure, and again only when it changes.

use std::path::Path;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_serial::{ErrorKind, SerialPortBuilderExt};

use super::{Observed, ReceiverView, SourceConfig, SourceError, SourceState};
use crate::fix_json::FixRow;
use crate::health::View;
use crate::receiver::{Counts, Observation, Receiver};
use crate::run::uptime_ms;

/// Silence within an epoch is at most what a receiver needs to compute between two sentences (200 ms were seen); half
/// a second of it means that the epoch is over, whatever usually follows.
const SILENCE: Duration = Duration::from_millis(500);

/// A USB receiver is back about a second after it was plugged in; a missing one is not worth more than a look every
/// five seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the kernel holds for a line at most.
const READ_BYTES: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    #[error("no device {device}: plug the receiver in, or set source.path to its name in /dev/serial/by-id")]
    NotFound { device: String },
    #[error(
        "no permission to open {device}: add the agent's user to the group that owns it (usermod -aG dialout USER) and start the agent again"
    )]
    Permission { device: String },
    #[error(
        "{device} is in use ({cause}): stop the other program (gpsd, ModemManager and a second agent are usual)"
    )]
    Busy { device: String, cause: String },
    #[error(
        "{device} cannot be opened as a serial device ({cause}): check source.path and source.baud ({baud})"
    )]
    Unusable { device: String, cause: String, baud: u32 },
}

/// Why listening has ended.
#[derive(Debug)]
enum Ended {
    ConsumerGone,
    Unplugged(String),
}

pub(super) async fn run(
    config: SourceConfig,
    fixes: mpsc::Sender<Observed>,
    view: &View<ReceiverView>,
) -> Result<Counts, SourceError> {
    let mut receiver = Receiver::live();
    let started = Instant::now();
    let (mut pause, mut said) = (FIRST_PAUSE, None);
    loop {
        match open(&config.path, config.baud) {
            Ok(mut port) => {
                tracing::info!(device = %config.path.display(), baud = config.baud, "listening to the receiver");
                (pause, said) = (FIRST_PAUSE, None);
                view.update(|view| (view.state, view.baud) = (SourceState::Reading, Some(config.baud)));
                let ended = listen(&mut port, &mut receiver, &fixes, started, view).await;
                thread::spawn(move || drop(port));
                match ended {
                    Ended::ConsumerGone => return Ok(receiver.counts()),
                    Ended::Unplugged(cause) => {
                        view.update(|view| view.state = SourceState::Absent { cause: cause.clone() });
                        tracing::warn!(device = %config.path.display(), cause, "the receiver is gone: waiting for it");
                    }
                }
            }
            Err(error) if said.as_ref() != Some(&error) => {
                view.update(|view| view.state = SourceState::Absent { cause: error.to_string() });
                tracing::warn!("{error}; trying again");
                said = Some(error);
            }
            Err(_) => {}
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = fixes.closed() => return Ok(receiver.counts()),
        }
    }
}

/// Raw mode, eight data bits, no parity, one stop bit, no flow control, nobody else: what the library sets by default.
fn open(path: &Path, baud: u32) -> Result<tokio_serial::SerialStream, OpenError> {
    tokio_serial::new(path.to_string_lossy(), baud)
        .open_native_async()
        .map_err(|error| explain(path, baud, &error))
}

fn explain(path: &Path, baud: u32, error: &tokio_serial::Error) -> OpenError {
    let (device, cause) = (path.display().to_string(), error.description.clone());
    match error.kind {
        ErrorKind::Io(std::io::ErrorKind::NotFound) => OpenError::NotFound { device },
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => OpenError::Permission { device },
        // The library's word for a port that somebody holds exclusively.
        ErrorKind::NoDevice => OpenError::Busy { device, cause },
        _ => OpenError::Unusable { device, cause, baud },
    }
}

async fn listen(
    port: &mut (impl AsyncRead + Unpin),
    receiver: &mut Receiver,
    fixes: &mpsc::Sender<Observed>,
    started: Instant,
    view: &View<ReceiverView>,
) -> Ended {
    let mut bytes = vec![0; READ_BYTES];
    let mut paused = false;
    loop {
        let mut observed = Vec::new();
        let read = tokio::select! {
            read = timeout(if paused { Duration::MAX } else { SILENCE }, port.read(&mut bytes)) => read,
            () = fixes.closed() => return Ended::ConsumerGone,
        };
        let arrived_ms = u64::try_from(started.elapsed().as_millis()).ok();
        let ended = match read {
            Err(_silent) => {
                receiver.pause(arrived_ms, |observation| observed.push(observation));
                paused = true;
                None
            }
            Ok(Ok(read)) if read > 0 => {
                receiver.push(&bytes[..read], arrived_ms, |observation| observed.push(observation));
                paused = false;
                None
            }
            Ok(end) => {
                receiver.finish(arrived_ms, |observation| observed.push(observation));
                Some(Ended::Unplugged(end.map_or_else(|error| error.to_string(), |_| "hung up".to_owned())))
            }
        };
        for Observation { fix, extras, .. } in observed {
            let row = FixRow::from(&fix);
            view.update(|view| {
                view.counts = receiver.counts();
                (view.sky, view.extras, view.antenna) = (receiver.sky(), extras, receiver.antenna());
                (view.last_fix, view.last_fix_uptime_ms) = (Some(row), uptime_ms());
            });
            if fixes.send(Observed { fix, extras, cursor: None }).await.is_err() {
                return Ended::ConsumerGone;
            }
        }
        if let Some(ended) = ended {
            return ended;
        }
    }
}

#[cfg(test)]
mod tests;
