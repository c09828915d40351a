//! A time with its source.

use avl_shared::fix::UtcMillis;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

/// Who says what time it is, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The receiver: several fixes that agree.
    Gnss,
    /// The system clock, which is plausible.
    System,
    /// What the cloud said over an authenticated connection, and the time since.
    Cloud,
    /// Only that it is not earlier.
    LowerBound,
    /// Nobody yet.
    #[default]
    Unknown,
}

impl Source {
    #[must_use]
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Gnss | Self::System | Self::Cloud)
    }

    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gnss => "GNSS",
            Self::System => "the system clock",
            Self::Cloud => "the cloud",
            Self::LowerBound => "a lower bound",
            Self::Unknown => "nobody",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub utc_ms: UtcMillis,
    pub source: Source,
}

/// RFC 3339 to the second, for messages.
#[must_use]
pub fn show(utc_ms: UtcMillis) -> String {
    DateTime::from_timestamp_millis(utc_ms)
        .map_or_else(|| format!("{utc_ms} ms"), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
