//! The `[sensors]` section of the gateway's configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::levels::MAX_INPUTS;

/// A relay contact bounces for 5 to 20 ms; a starter motor dips the ignition line for longer.
const DEFAULT_DEBOUNCE: Duration = Duration::from_millis(50);
/// A wheel sensor of 20,000 pulses a kilometre gives one every 1.4 ms at 130 km/h.
const PULSE_DEBOUNCE: Duration = Duration::ZERO;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SensorsConfig {
    pub kind: Kind,
    /// GPIO: the character device that has the lines.
    pub chip: Option<PathBuf>,
    /// Simulated: a text file with one `NAME = on|off` a line, read ten times a second.
    pub path: Option<PathBuf>,
    /// Bit 0 of a fix's inputs.
    pub ignition: Option<LineConfig>,
    /// Bits 1 and up, in this order.
    pub inputs: Vec<InputConfig>,
    pub odometer: Option<OdometerConfig>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Gpio,
    Simulated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineConfig {
    /// Number of the line on its chip, as `gpioinfo` shows it.
    pub line: u32,
    /// On means that the line is low.
    #[serde(default)]
    pub active_low: bool,
    /// A level counts once it has stood for so long.
    #[serde(default = "default_debounce", with = "humantime_serde")]
    pub debounce: Duration,
    #[serde(default)]
    pub bias: Bias,
}

/// The chip's own resistor, where it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// As the board or the device tree has set it.
    #[default]
    AsIs,
    Disabled,
    PullUp,
    PullDown,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    pub name: String,
    pub line: u32,
    #[serde(default)]
    pub active_low: bool,
    #[serde(default = "default_debounce", with = "humantime_serde")]
    pub debounce: Duration,
    #[serde(default)]
    pub bias: Bias,
    /// A change is sent at once; otherwise it is recorded at once and sent with the fixes around it.
    #[serde(default = "default_at_once")]
    pub at_once: bool,
}

impl InputConfig {
    #[must_use]
    pub fn line(&self) -> LineConfig {
        let Self { line, active_low, debounce, bias, .. } = *self;
        LineConfig { line, active_low, debounce, bias }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OdometerConfig {
    pub source: OdometerSource,
    /// What the dashboard showed when the gateway was fitted.
    #[serde(default)]
    pub initial_km: f64,
    /// Pulses: how many make a kilometre.
    #[serde(default)]
    pub pulses_per_km: Option<u32>,
    /// Pulses: the line they arrive on; on the simulated backend the count named `pulses`.
    #[serde(default)]
    pub line: Option<u32>,
    #[serde(default)]
    pub active_low: bool,
    #[serde(default = "pulse_debounce", with = "humantime_serde")]
    pub debounce: Duration,
    #[serde(default)]
    pub bias: Bias,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OdometerSource {
    /// Speed over time, from the fixes.
    Gnss,
    /// A wheel or gearbox sensor.
    Pulses,
}

impl OdometerConfig {
    /// The line to count on, when pulses are counted.
    #[must_use]
    pub fn pulse_line(&self) -> Option<LineConfig> {
        let Self { source, line, active_low, debounce, bias, .. } = *self;
        let line = line.filter(|_| source == OdometerSource::Pulses)?;
        Some(LineConfig { line, active_low, debounce, bias })
    }

    #[must_use]
    pub fn initial_m(&self) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be 0 to 10 million
        let metres = (self.initial_km * 1000.0).round() as u64;
        metres
    }
}

const fn default_debounce() -> Duration {
    DEFAULT_DEBOUNCE
}

const fn pulse_debounce() -> Duration {
    PULSE_DEBOUNCE
}

const fn default_at_once() -> bool {
    true
}

/// No vehicle has driven farther, and `u64` millimetres hold it a million times over.
const MAX_INITIAL_KM: f64 = 10_000_000.0;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SensorsError {
    #[error("sensors.inputs has {0} entries, and a fix has room for {MAX_INPUTS}: leave some out")]
    TooManyInputs(usize),
    #[error(
        "sensors.inputs: the name {0:?} cannot be used: give each input its own, of letters, digits, '_' and '-', other than 'ignition' and 'pulses'"
    )]
    BadName(String),
    #[error("sensors: line {0} is named twice: each line can be one thing")]
    LineTwice(u32),
    #[error("sensors.path is missing: kind 'simulated' reads levels from a file, name it")]
    NoPath,
    #[error("sensors.odometer.initial_km is {0}: give 0 to {MAX_INITIAL_KM}")]
    BadInitial(f64),
    #[error("sensors.odometer counts pulses and {0}")]
    Pulses(&'static str),
}

impl SensorsConfig {
    /// Whether any line is to be watched.
    #[must_use]
    pub fn has_lines(&self) -> bool {
        self.ignition.is_some() || !self.inputs.is_empty() || self.pulse_line().is_some()
    }

    #[must_use]
    pub fn pulse_line(&self) -> Option<LineConfig> {
        self.odometer.as_ref().and_then(OdometerConfig::pulse_line)
    }

    /// The bits whose change is sent at once.
    #[must_use]
    pub fn at_once_bits(&self) -> u16 {
        let inputs = (1..).zip(&self.inputs).filter(|(_, input)| input.at_once);
        inputs.fold(super::IGNITION, |bits, (bit, _)| bits | 1 << bit)
    }

    /// # Errors
    /// See [`SensorsError`].
    pub fn validate(&self) -> Result<(), SensorsError> {
        if self.inputs.len() > MAX_INPUTS {
            return Err(SensorsError::TooManyInputs(self.inputs.len()));
        }
        for (index, input) in self.inputs.iter().enumerate() {
            let name = &input.name;
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            let taken = ["ignition", "pulses"].contains(&name.as_str())
                || self.inputs[..index].iter().any(|other| other.name == *name);
            if name.is_empty() || taken || !name.chars().all(plain) {
                return Err(SensorsError::BadName(name.clone()));
            }
        }
        let lines = self.inputs.iter().map(|input| input.line);
        let mut lines: Vec<u32> = lines
            .chain(self.ignition.map(|line| line.line))
            .chain(self.pulse_line().map(|line| line.line))
            .collect();
        lines.sort_unstable();
        if let Some(pair) = lines.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SensorsError::LineTwice(pair[0]));
        }
        if self.kind == Kind::Simulated && self.path.is_none() {
            return Err(SensorsError::NoPath);
        }
        self.odometer.as_ref().map_or(Ok(()), OdometerConfig::validate)
    }
}

impl OdometerConfig {
    fn validate(&self) -> Result<(), SensorsError> {
        if !(0.0..=MAX_INITIAL_KM).contains(&self.initial_km) {
            return Err(SensorsError::BadInitial(self.initial_km));
        }
        if self.source == OdometerSource::Pulses {
            if self.pulses_per_km.unwrap_or(0) == 0 {
                return Err(SensorsError::Pulses("pulses_per_km is missing: how many make a kilometre?"));
            }
            if self.line.is_none() {
                return Err(SensorsError::Pulses("line is missing: which line do they arrive on?"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::Figment;
    use figment::providers::{Format, Toml};

    fn read(toml: &str) -> Result<SensorsConfig, String> {
        let config: SensorsConfig =
            Figment::from(Toml::string(toml)).extract().map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn nothing_is_wired_unless_it_is_said() {
        let config = read("").unwrap();
        assert!(!config.has_lines() && config.odometer.is_none());
    }

    #[test]
    fn inputs_take_the_bits_behind_the_ignition_in_their_order() {
        let config = read(
            "ignition = { line = 17, active_low = true }\n\
             inputs = [{ name = 'door', line = 4, at_once = false }, { name = 'sos', line = 5, debounce = '5ms' }]",
        )
        .unwrap();
        assert_eq!(config.at_once_bits(), 0b101);
        assert_eq!(config.ignition.unwrap().debounce, DEFAULT_DEBOUNCE);
        assert_eq!(config.inputs[1].line().debounce, Duration::from_millis(5));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_cure() {
        let many: String = (0..16).map(|line| format!("{{ name = 'in{line}', line = {line} }},")).collect();
        let cases = [
            (format!("inputs = [{many}]"), "16 entries"),
            ("inputs = [{ name = 'ignition', line = 1 }]".to_owned(), "its own"),
            ("ignition = { line = 3 }\ninputs = [{ name = 'sos', line = 3 }]".to_owned(), "line 3"),
            ("kind = 'simulated'".to_owned(), "sensors.path"),
            ("odometer = { source = 'pulses', line = 2 }".to_owned(), "pulses_per_km"),
            ("odometer = { source = 'pulses', pulses_per_km = 4000 }".to_owned(), "line"),
            ("odometer = { source = 'gnss', initial_km = -1.0 }".to_owned(), "initial_km"),
            ("ignition = { line = 3, pull = 'up' }".to_owned(), "pull"),
        ];
        for (toml, word) in cases {
            let error = read(&toml).unwrap_err();
            assert!(error.contains(word), "{word:?} is not in {error:?}");
        }
    }
}
