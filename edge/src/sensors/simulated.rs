//! Levels from a text file: for tests, and for inputs that another program watches (an expander, a CAN daemon).
//!
//! One `NAME = on` or `NAME = off` a line, `pulses = COUNT` for the wheel; replace the file by renaming another over
//! it, so that it is never read half-written. What a line does not name is off.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

use super::config::SensorsConfig;
use super::levels::{IGNITION, Pulses};
use super::watch::{Backend, BackendError};

/// Often enough that a person sees no delay.
const READ_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Simulated {
    path: PathBuf,
    names: Vec<String>,
    ignition: bool,
    pulses: Pulses,
    last_pulses: Option<u64>,
    last_text: String,
}

impl Simulated {
    pub(super) fn open(path: PathBuf, config: &SensorsConfig, pulses: &Pulses) -> Self {
        Self {
            path,
            names: config.inputs.iter().map(|input| input.name.clone()).collect(),
            ignition: config.ignition.is_some(),
            pulses: pulses.clone(),
            last_pulses: None,
            last_text: String::new(),
        }
    }

    fn read(&self) -> Result<String, BackendError> {
        std::fs::read_to_string(&self.path).map_err(|error| BackendError::Chip {
            chip: self.path.display().to_string(),
            cause: match error.kind() {
                ErrorKind::NotFound => "no such file".to_owned(),
                _ => error.to_string(),
            },
        })
    }

    fn parse(&self, text: &str) -> Result<(u16, Option<u64>), BackendError> {
        let refused = |line: &str| BackendError::Chip {
            chip: self.path.display().to_string(),
            cause: format!("{line:?} is none of NAME = on, NAME = off, pulses = COUNT"),
        };
        let (mut levels, mut pulses) = (0, None);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, value) = line.split_once('=').ok_or_else(|| refused(line))?;
            let (name, value) = (name.trim(), value.trim());
            if name == "pulses" {
                pulses = Some(value.parse().map_err(|_| refused(line))?);
                continue;
            }
            let bit = match self.names.iter().position(|known| known == name) {
                Some(index) => 2 << index,
                None if name == "ignition" && self.ignition => IGNITION,
                None => return Err(refused(line)),
            };
            match value {
                "on" => levels |= bit,
                "off" => {}
                _ => return Err(refused(line)),
            }
        }
        Ok((levels, pulses))
    }
}

impl Backend for Simulated {
    fn levels(&mut self) -> Result<u16, BackendError> {
        let text = self.read()?;
        let (levels, pulses) = self.parse(&text)?;
        if let Some(count) = pulses {
            // A count that starts again was reset, as a counter's is when its power goes.
            let before = self.last_pulses.replace(count).unwrap_or(count);
            self.pulses.add(if count >= before { count - before } else { count });
        }
        self.last_text = text;
        Ok(levels)
    }

    async fn changed(&mut self) -> Result<(), BackendError> {
        loop {
            sleep(READ_EVERY).await;
            if self.read()? != self.last_text {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensors::config::{InputConfig, Kind, LineConfig};

    fn config() -> SensorsConfig {
        let line = LineConfig {
            line: 0,
            active_low: false,
            debounce: Duration::ZERO,
            bias: crate::sensors::config::Bias::AsIs,
        };
        let input = |name: &str, line| InputConfig {
            name: name.to_owned(),
            line,
            active_low: false,
            debounce: Duration::ZERO,
            bias: crate::sensors::config::Bias::AsIs,
            at_once: true,
        };
        SensorsConfig {
            kind: Kind::Simulated,
            ignition: Some(line),
            inputs: vec![input("door", 1), input("sos", 2)],
            ..SensorsConfig::default()
        }
    }

    fn read(text: &str) -> Result<u16, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut simulated = Simulated::open(file.path().to_owned(), &config(), &Pulses::default());
        simulated.levels().map_err(|error| error.to_string())
    }

    #[test]
    fn each_name_has_its_bit_and_what_is_not_named_is_off() {
        assert_eq!(read(""), Ok(0));
        assert_eq!(read("ignition = on\n"), Ok(0b001));
        assert_eq!(read("# bench\nignition=off\ndoor = on\nsos = on\npulses = 12"), Ok(0b110));
    }

    #[test]
    fn what_it_does_not_understand_it_names() {
        for text in ["lid = on", "door = open", "door", "pulses = -1"] {
            assert!(read(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn pulses_count_from_where_the_file_was_first_read_and_survive_a_reset_of_the_counter() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let pulses = Pulses::default();
        let mut simulated = Simulated::open(file.path().to_owned(), &config(), &pulses);
        for (text, total) in [("pulses = 100", 0), ("pulses = 130", 30), ("pulses = 5", 35)] {
            std::fs::write(file.path(), text).unwrap();
            simulated.levels().unwrap();
            assert_eq!(pulses.count(), total, "{text}");
        }
    }
}
