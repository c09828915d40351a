//! The `[source]` section of the gateway's configuration.

use std::path::PathBuf;

use serde::Deserialize;

/// What most receivers speak when nobody has told them otherwise (NMEA 0183 itself says 4800, u-blox, MTK and SiRF
/// modules of the last fifteen years 9600).
const DEFAULT_BAUD: u32 = 9600;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    pub kind: Kind,
    /// The log to replay (`-` is standard input), or the serial device; prefer its name in `/dev/serial/by-id`.
    pub path: PathBuf,
    /// Replay: 1 is real time by the fixes' own clock, 10 is ten times as fast, 0 is as fast as it goes.
    #[serde(default)]
    pub speed: f64,
    /// Serial: bits per second.
    #[serde(default = "default_baud")]
    pub baud: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Serial,
    Replay,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    #[error("source.path is empty: name the log to replay, '-', or the serial device")]
    NoPath,
    #[error(
        "source.speed is {0}: give 0 for as fast as it goes, 1 for real time, or another positive number"
    )]
    BadSpeed(f64),
    #[error("source.baud is 0: give the receiver's rate, such as 9600")]
    BadBaud,
}

const fn default_baud() -> u32 {
    DEFAULT_BAUD
}

impl SourceConfig {
    /// # Errors
    /// See [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.path.as_os_str().is_empty() {
            return Err(ConfigError::NoPath);
        }
        if !(self.speed.is_finite() && self.speed >= 0.0) {
            return Err(ConfigError::BadSpeed(self.speed));
        }
        if self.baud == 0 {
            return Err(ConfigError::BadBaud);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::Figment;
    use figment::providers::{Format, Toml};

    fn read(toml: &str) -> Result<SourceConfig, String> {
        Figment::from(Toml::string(toml)).extract().map_err(|error| error.to_string())
    }

    #[test]
    fn an_integer_speed_and_no_baud_are_enough() {
        let config = read("kind = 'replay'\npath = 'drive.nmea'\nspeed = 0").unwrap();
        assert_eq!((config.kind, config.speed, config.baud), (Kind::Replay, 0.0, 9600));
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_misspelt_key_or_kind_is_refused_by_name() {
        assert!(read("kind = 'serial'\npath = '/dev/ttyACM0'\nbuad = 9600").unwrap_err().contains("buad"));
        assert!(read("kind = 'tape'\npath = 'x'").unwrap_err().contains("tape"));
    }

    #[test]
    fn a_speed_that_means_nothing_is_refused() {
        for speed in ["-1.0", "nan", "inf"] {
            let config = read(&format!("kind = 'replay'\npath = 'x'\nspeed = {speed}")).unwrap();
            assert!(matches!(config.validate(), Err(ConfigError::BadSpeed(_))), "{speed}");
        }
    }
}
