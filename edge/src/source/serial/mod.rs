//! A GNSS receiver on a serial line, USB or UART: opened, listened to, and opened again when it comes back.
//!
//! With `baud = "auto"` its rate is looked for ([`autobaud`] decides, [`memory`] remembers). Without a `path` the only
//! device that looks like a receiver is taken ([`devices`]); it is looked for at every opening, so a receiver that is
//! plugged in later is found.
//!
//! Two traps of serial devices: after a hang-up (an unplugged USB device) `read` returns nothing for ever instead of
//! an error, so nothing read is the end; and `close` can block, while the kernel waits for bytes to drain into a device
//! that is gone, so it happens on a thread of its own.

mod autobaud;
mod devices;
mod memory;
mod open;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;
use tokio_serial::{ClearBuffer, SerialPort, SerialStream};

use super::config::Baud;
use super::live::{Complaint, ConsumerGone, Intake, Retry, Waited};
use super::{SourceConfig, SourceState, Surroundings};
use autobaud::{Advice, Autobaud, Heard};
use devices::DeviceError;

/// A USB receiver is back about a second after it was plugged in; a missing one is not worth more than a look every
/// five seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the kernel holds for a line at most.
const READ_BYTES: usize = 4096;

/// Reads the device until nobody takes its fixes any more.
pub(super) async fn run(
    config: &SourceConfig,
    around: &Surroundings,
    intake: &mut Intake<'_>,
) -> ConsumerGone {
    let (mut retry, mut complaint) = (Retry::new(FIRST_PAUSE, LONGEST_PAUSE), Complaint::default());
    loop {
        match device(config) {
            Ok(device) => match connect(&device, config.baud, around).await {
                Ok((mut port, mut rate)) => {
                    let shown = device.display().to_string();
                    tracing::info!(device = shown, baud = rate.baud(), "listening to the receiver");
                    retry.succeeded();
                    complaint.forget();
                    intake.opened();
                    intake.view().update(|view| (view.from, view.baud) = (shown, Some(rate.baud())));
                    let ended = listen(&mut port, &mut rate, intake).await;
                    thread::spawn(move || drop(port));
                    let Ok(cause) = ended else { return ConsumerGone };
                    intake.view().update(|view| view.state = SourceState::Absent { cause: cause.clone() });
                    tracing::warn!(device = %device.display(), cause, "the receiver is gone: waiting for it");
                }
                Err(error) => complaint.say(intake.view(), error.to_string()),
            },
            Err(error) => complaint.say(intake.view(), error.to_string()),
        }
        if intake.rest(retry.next()).await.is_err() {
            return ConsumerGone;
        }
    }
}

fn device(config: &SourceConfig) -> Result<PathBuf, DeviceError> {
    match &config.path {
        Some(path) => Ok(path.clone()),
        None => devices::only_receiver(Path::new(devices::BY_ID)),
    }
}

async fn connect(
    device: &Path,
    baud: Baud,
    around: &Surroundings,
) -> Result<(SerialStream, Rate), open::OpenError> {
    let rate = match baud {
        Baud::Fixed(baud) => Rate::Fixed(baud),
        Baud::Auto => {
            let (state_dir, name) = (around.state_dir.clone(), device.to_owned());
            let recalled =
                tokio::task::spawn_blocking(move || memory::recall(state_dir.as_deref()?, &name)).await;
            Rate::Auto {
                autobaud: Autobaud::new(recalled.ok().flatten(), 0),
                opened: Instant::now(),
                device: device.to_owned(),
                state_dir: around.state_dir.clone(),
            }
        }
    };
    Ok((open::open(device, rate.baud())?, rate))
}

/// The line's rate: given, or being looked for.
enum Rate {
    Fixed(u32),
    Auto { autobaud: Autobaud, opened: Instant, device: PathBuf, state_dir: Option<PathBuf> },
}

impl Rate {
    fn baud(&self) -> u32 {
        match self {
            Self::Fixed(baud) => *baud,
            Self::Auto { autobaud, .. } => autobaud.rate(),
        }
    }

    fn is_settled(&self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Auto { autobaud, .. } => autobaud.is_settled(),
        }
    }
}

/// A line whose rate can be set.
trait Line: AsyncRead + Unpin {
    /// Sets the rate and throws away what came at another one.
    fn set_rate(&mut self, baud: u32) -> Result<(), String>;
}

impl Line for SerialStream {
    fn set_rate(&mut self, baud: u32) -> Result<(), String> {
        self.set_baud_rate(baud)
            .and_then(|()| self.clear(ClearBuffer::Input))
            .map_err(|error| error.to_string())
    }
}

/// Listens until the line ends; why it did.
async fn listen(
    port: &mut impl Line,
    rate: &mut Rate,
    intake: &mut Intake<'_>,
) -> Result<String, ConsumerGone> {
    let mut bytes = vec![0; READ_BYTES];
    let before = (intake.counts(), intake.bytes());
    loop {
        let ended = match intake.wait(port.read(&mut bytes)).await? {
            Waited::Got(0) => Some("hung up".to_owned()),
            Waited::Got(read) => {
                intake.take(&bytes[..read]).await?;
                None
            }
            Waited::Quiet => None,
            Waited::Failed(cause) => Some(cause),
        };
        if let Some(cause) = ended {
            intake.interrupted().await?;
            return Ok(cause);
        }
        if let Rate::Auto { autobaud, opened, device, state_dir } = rate {
            let heard = Heard {
                valid: intake.counts().sentences - before.0.sentences,
                bad: intake.counts().bad_checksums - before.0.bad_checksums,
                bytes: intake.bytes() - before.1,
            };
            let now_ms = u64::try_from(opened.elapsed().as_millis()).unwrap_or(u64::MAX);
            follow(autobaud.look(now_ms, heard), port, intake, device, state_dir.as_deref()).await?;
        }
        if rate.is_settled() {
            intake.show_state();
        }
    }
}

async fn follow(
    advice: Advice,
    port: &mut impl Line,
    intake: &mut Intake<'_>,
    device: &Path,
    state_dir: Option<&Path>,
) -> Result<(), ConsumerGone> {
    let baud = match advice {
        Advice::Stay => return Ok(()),
        Advice::Settled(baud) => {
            tracing::info!(device = %device.display(), baud, "the receiver's rate is found");
            intake.view().update(|view| (view.state, view.baud) = (SourceState::Reading, Some(baud)));
            if let Some(state_dir) = state_dir {
                let (state_dir, device) = (state_dir.to_owned(), device.to_owned());
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = memory::remember(&state_dir, &device, baud) {
                        tracing::warn!(%error, "the receiver's rate cannot be remembered; the next start looks for it again");
                    }
                });
            }
            return Ok(());
        }
        Advice::Doubted(baud) => {
            tracing::warn!(device = %device.display(), "no valid sentence any more: looking for the rate anew");
            baud
        }
        Advice::Try(baud) => baud,
    };
    // What has begun at the old rate will not be completed at the new one.
    intake.interrupted().await?;
    tracing::info!(device = %device.display(), baud, "no valid sentence yet: trying another rate");
    if let Err(cause) = port.set_rate(baud) {
        tracing::warn!(device = %device.display(), baud, cause, "the device refuses this rate");
    }
    intake.view().update(|view| (view.state, view.baud) = (SourceState::Probing, Some(baud)));
    Ok(())
}

#[cfg(test)]
mod tests;
