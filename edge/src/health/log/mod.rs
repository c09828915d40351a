//! The agent's log: to standard error, bounded in repeats, with its last lines kept for whoever looks.
//!
//! A gateway's log wears its flash and hides what matters when one thing fails a hundred times a minute. So each place in
//! the code may speak so many times a minute; what it says beyond that is counted, and the count is said ([`Limiter`]). The
//! [`LogRing`] keeps the last lines for `monitor`, the status socket and the diagnostics bundle.

mod config;
mod limit;
mod ring;

pub use config::{LogConfig, LogFormat};
pub use limit::{Limiter, Suppressed};
pub use ring::{LogLine, LogRing};

use std::io::{self, IsTerminal};

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use limit::RepeatLimit;

/// What the rest of the agent needs of the log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub ring: LogRing,
    pub limiter: Limiter,
}

/// Starts logging for the whole process. `RUST_LOG` goes before `log.level`.
///
/// # Errors
/// When the process logs already.
pub fn start(config: &LogConfig) -> Result<Log, tracing_subscriber::util::TryInitError> {
    let asked = std::env::var("RUST_LOG").ok().and_then(|asked| asked.parse::<Targets>().ok());
    let filter = asked.or_else(|| config.level.parse().ok()).unwrap_or_default();
    let log = Log { ring: LogRing::default(), limiter: Limiter::new(config.repeat_per_minute) };
    let shown = match config.format {
        LogFormat::Plain => tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_target(false)
            .with_ansi(io::stderr().is_terminal())
            .boxed(),
        LogFormat::Json => {
            tracing_subscriber::fmt::layer().with_writer(io::stderr).json().flatten_event(true).boxed()
        }
    };
    let kept =
        tracing_subscriber::fmt::layer().with_writer(log.ring.clone()).with_target(false).with_ansi(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(RepeatLimit::new(log.limiter.clone()))
        .with(shown)
        .with(kept)
        .try_init()?;
    Ok(log)
}
