//! The `[log]` section of the gateway's configuration.

use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::filter::Targets;

/// A healthy agent says less than this in an hour; a failing part once every few seconds.
const REPEAT_PER_MINUTE: u32 = 10;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,avl_edge::uplink=debug`.
    pub level: String,
    pub format: LogFormat,
    /// How often one place in the code may speak in a minute; 0 for no limit.
    pub repeat_per_minute: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Plain,
    /// One JSON object a line, for machines.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Plain, repeat_per_minute: REPEAT_PER_MINUTE }
    }
}

impl LogConfig {
    /// # Errors
    /// What is wrong with the level.
    pub fn validate(&self) -> Result<(), String> {
        self.level.parse::<Targets>().map(drop).map_err(|error| format!("{:?}: {error}", self.level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_taken_and_nonsense_is_refused() {
        let level = |level: &str| LogConfig { level: level.to_owned(), ..LogConfig::default() }.validate();
        for good in ["info", "warn", "info,avl_edge::uplink=debug"] {
            assert_eq!(level(good), Ok(()), "{good}");
        }
        assert!(level("avl_edge=loud").is_err());
    }
}
