//! Logs go to standard error; `RUST_LOG` chooses what is shown, `info` by default.

use std::io::{self, IsTerminal};

use avl_edge::control::LogTail;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// One line for people.
    #[default]
    Plain,
    /// One JSON object a line, for machines.
    Json,
}

/// Returns the last lines, for a diagnostics bundle.
pub(super) fn start(format: LogFormat) -> LogTail {
    let tail = LogTail::default();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr.and(tail.clone()));
    match format {
        LogFormat::Plain => builder.with_target(false).with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    tail
}
