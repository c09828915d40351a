//! The `[source]` section of the gateway's configuration.

use std::fmt;
use std::path::PathBuf;

use chrono::NaiveDate;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::gpsd;

/// The slowest and the fastest rate that a GNSS receiver was ever seen with.
const BAUD_RATES: std::ops::RangeInclusive<u32> = 300..=4_000_000;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    pub kind: Kind,
    /// The log to replay (`-` is standard input), or the serial device; prefer its name in `/dev/serial/by-id`. A
    /// serial device may be left out when exactly one there looks like a receiver. For gpsd, one of its devices.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// `host:port`: of gpsd, of the TCP server, or to listen on for datagrams.
    #[serde(default)]
    pub address: Option<String>,
    /// Replay: 1 is real time by the fixes' own clock, 10 is ten times as fast, 0 is as fast as it goes.
    #[serde(default)]
    pub speed: f64,
    /// Serial: bits per second.
    #[serde(default)]
    pub baud: Baud,
    /// Live sources: a date before this one is a week number that has rolled over.
    #[serde(default)]
    pub earliest_date: EarliestDate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Serial,
    Gpsd,
    Tcp,
    Udp,
    Replay,
}

/// The rate of a serial line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Baud {
    /// Looked for.
    #[default]
    Auto,
    Fixed(u32),
}

/// The day before which a live source's dates are not believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarliestDate {
    /// The day on which this program was built.
    #[default]
    Build,
    On(NaiveDate),
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    #[error("source.path is missing: name the log to replay, or '-'")]
    NoLog,
    #[error("source.path is empty: name the log to replay, '-', or the serial device")]
    EmptyPath,
    #[error("source.address is missing: give HOST:PORT, as in \"192.168.1.1:8500\"")]
    NoAddress,
    #[error("source.address is {0:?}, which is not HOST:PORT: write it as in \"192.168.1.1:8500\"")]
    BadAddress(String),
    #[error(
        "source.speed is {0}: give 0 for as fast as it goes, 1 for real time, or another positive number"
    )]
    BadSpeed(f64),
    #[error(
        "source.baud is {0}: give the receiver's rate between 300 and 4000000, such as 9600, or \"auto\""
    )]
    BadBaud(u32),
}

impl SourceConfig {
    /// # Errors
    /// See [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(ConfigError::EmptyPath);
        }
        if !(self.speed.is_finite() && self.speed >= 0.0) {
            return Err(ConfigError::BadSpeed(self.speed));
        }
        if let Baud::Fixed(baud) = self.baud
            && !BAUD_RATES.contains(&baud)
        {
            return Err(ConfigError::BadBaud(baud));
        }
        match (self.kind, &self.address) {
            (Kind::Replay, _) if self.path.is_none() => Err(ConfigError::NoLog),
            (Kind::Tcp | Kind::Udp, None) => Err(ConfigError::NoAddress),
            (Kind::Tcp | Kind::Udp | Kind::Gpsd, Some(address)) if !is_address(address) => {
                Err(ConfigError::BadAddress(address.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Where a source on the network is.
    #[must_use]
    pub fn network_address(&self) -> &str {
        self.address.as_deref().unwrap_or(gpsd::ADDRESS)
    }

    /// What is read, in a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.kind {
            Kind::Gpsd => format!("gpsd at {}", self.network_address()),
            Kind::Tcp => format!("tcp {}", self.network_address()),
            Kind::Udp => format!("udp {}", self.network_address()),
            Kind::Serial | Kind::Replay => {
                self.path.as_ref().map_or_else(String::new, |path| path.display().to_string())
            }
        }
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
    })
}

impl EarliestDate {
    /// Days since 1970-01-01.
    #[must_use]
    pub fn days(self) -> i64 {
        match self {
            // Written by the build script; a build without it corrects nothing.
            Self::Build => env!("AVL_BUILD_DAY").parse().unwrap_or(0),
            Self::On(date) => date.signed_duration_since(NaiveDate::default()).num_days(),
        }
    }
}

impl<'de> Deserialize<'de> for Baud {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rate;
        impl Visitor<'_> for Rate {
            type Value = Baud;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a rate such as 9600, or \"auto\"")
            }
            fn visit_u64<E: de::Error>(self, rate: u64) -> Result<Baud, E> {
                let unusable = |_| E::invalid_value(de::Unexpected::Unsigned(rate), &self);
                rate.try_into().map(Baud::Fixed).map_err(unusable)
            }
            fn visit_i64<E: de::Error>(self, rate: i64) -> Result<Baud, E> {
                let unusable = |_| E::invalid_value(de::Unexpected::Signed(rate), &self);
                rate.try_into().map(Baud::Fixed).map_err(unusable)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Baud, E> {
                match text {
                    "auto" => Ok(Baud::Auto),
                    _ => text
                        .parse()
                        .map(Baud::Fixed)
                        .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Rate)
    }
}

impl<'de> Deserialize<'de> for EarliestDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "build" => Ok(Self::Build),
            _ => text.parse().map(Self::On).map_err(|_| {
                de::Error::invalid_value(
                    de::Unexpected::Str(&text),
                    &"a date such as \"2024-05-31\", or \"build\"",
                )
            }),
        }
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

    fn checked(toml: &str) -> Result<(), ConfigError> {
        read(toml).unwrap().validate()
    }

    #[test]
    fn an_integer_speed_and_no_baud_are_enough() {
        let config = read("kind = 'replay'\npath = 'drive.nmea'\nspeed = 0").unwrap();
        assert_eq!((config.kind, config.speed, config.baud), (Kind::Replay, 0.0, Baud::Auto));
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_misspelt_key_or_kind_is_refused_by_name() {
        assert!(read("kind = 'serial'\npath = '/dev/ttyACM0'\nbuad = 9600").unwrap_err().contains("buad"));
        assert!(read("kind = 'tape'\npath = 'x'").unwrap_err().contains("tape"));
    }

    #[test]
    fn a_rate_is_a_number_or_auto() {
        let baud = |text| read(&format!("kind = 'serial'\nbaud = {text}")).map(|config| config.baud);
        assert_eq!(baud("38400"), Ok(Baud::Fixed(38_400)));
        assert_eq!(baud("'auto'"), Ok(Baud::Auto));
        assert_eq!(baud("'38400'"), Ok(Baud::Fixed(38_400)));
        for bad in ["'fast'", "-1", "99999999999", "1.5"] {
            let error = baud(bad).unwrap_err();
            assert!(error.contains("auto") && error.contains("9600"), "{bad}: {error}");
        }
        assert_eq!(checked("kind = 'serial'\nbaud = 0"), Err(ConfigError::BadBaud(0)));
    }

    #[test]
    fn each_kind_needs_what_it_reads() {
        assert_eq!(checked("kind = 'serial'"), Ok(()));
        assert_eq!(checked("kind = 'gpsd'"), Ok(()));
        assert_eq!(checked("kind = 'tcp'\naddress = 'router.lan:8500'"), Ok(()));
        assert_eq!(checked("kind = 'udp'\naddress = '[::]:10110'"), Ok(()));
        assert_eq!(checked("kind = 'replay'"), Err(ConfigError::NoLog));
        assert_eq!(checked("kind = 'serial'\npath = ''"), Err(ConfigError::EmptyPath));
        assert_eq!(checked("kind = 'tcp'"), Err(ConfigError::NoAddress));
        for bad in ["router", "router:", ":8500", "router:99999", "::1:10110"] {
            let got = checked(&format!("kind = 'udp'\naddress = '{bad}'"));
            assert_eq!(got, Err(ConfigError::BadAddress(bad.to_owned())));
        }
    }

    #[test]
    fn the_earliest_date_is_a_day_or_that_of_the_build() {
        let date =
            |text| read(&format!("kind = 'serial'\nearliest_date = {text}")).map(|it| it.earliest_date);
        assert_eq!(date("'1980-01-06'").unwrap().days(), 3657);
        // This program was not built before it was written.
        assert!(date("'build'").unwrap().days() > 20_000);
        assert!(date("'yesterday'").unwrap_err().contains("2024-05-31"));
    }

    #[test]
    fn a_speed_that_means_nothing_is_refused() {
        for speed in ["-1.0", "nan", "inf"] {
            let config = read(&format!("kind = 'replay'\npath = 'x'\nspeed = {speed}")).unwrap();
            assert!(matches!(config.validate(), Err(ConfigError::BadSpeed(_))), "{speed}");
        }
    }
}
