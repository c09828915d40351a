//! Where fixes come from: a receiver on a serial line, behind gpsd or on the network, or a recorded log.
//!
//! [`run`] drives one source until it ends (a replay) or for ever (all others, which are opened again whenever they
//! come back). It sends each fix as an [`Observed`] on a bounded channel: a slow consumer slows the source, nothing
//! grows. The end of the source is `run` returning, which also closes the channel.
//!
//! A replay can be killed at any moment and resumed with no fix lost or repeated: store the [`ReplayCursor`] of the
//! last fix you kept **in the same durable write as that fix**, and hand it back to `run` at the next start. A live
//! source has no cursor.

mod config;
mod cursor;
mod gpsd;
mod live;
mod net;
mod replay;
mod serial;
mod surroundings;
mod view;

pub use config::{Baud, ConfigError, EarliestDate, Kind, SourceConfig};
pub use cursor::{CursorError, ReplayCursor};
pub use surroundings::{Surroundings, TrustedUtc};
pub use view::{ReceiverView, SourceState};

use avl_shared::fix::Fix;
use tokio::sync::mpsc;

use crate::health::View;
use crate::receiver::{Counts, Extras, Receiver};
use live::Intake;

/// A fix, and where to take up the replay that it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub fix: Fix,
    /// What the receiver said beside it.
    pub extras: Extras,
    /// `None` for a source that cannot be wound back: a live one, standard input.
    pub cursor: Option<ReplayCursor>,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("source configuration: {0}")]
    Config(#[from] ConfigError),
    #[error("cannot read {path}: {cause}; {cure}")]
    Read { path: String, cause: std::io::Error, cure: &'static str },
}

/// Reads the source and sends its fixes, oldest first, until it ends or the consumer hangs up.
///
/// `resume` is the cursor stored with the last fix that was kept; a cursor of another file is put aside with a
/// warning and the replay starts at its beginning. Returns what was read since the start of this run.
///
/// # Errors
/// When the configuration makes no sense, or a file to replay cannot be read. A live source that is missing, busy or
/// unplugged is no error: it is reported in the log and in the view, and tried again.
pub async fn run(
    config: SourceConfig,
    resume: Option<ReplayCursor>,
    fixes: mpsc::Sender<Observed>,
    view: View<ReceiverView>,
    around: Surroundings,
) -> Result<Counts, SourceError> {
    config.validate()?;
    view.update(|view| view.from = config.describe());
    if config.kind == Kind::Replay {
        return replay::run(config, resume, fixes, &view).await;
    }
    let receiver = Receiver::live().dating_from(config.earliest_date.days());
    let mut intake = Intake::new(receiver, &fixes, &view, &around);
    let address = config.network_address();
    match config.kind {
        Kind::Serial => serial::run(&config, &around, &mut intake).await,
        Kind::Gpsd => gpsd::run(address, config.path.as_deref(), &mut intake).await,
        Kind::Tcp => net::tcp(address, &mut intake).await,
        Kind::Udp => net::udp(address, &mut intake).await,
        // Not live, and dealt with above.
        Kind::Replay => live::ConsumerGone,
    };
    Ok(intake.counts())
}

#[cfg(test)]
mod testing;
