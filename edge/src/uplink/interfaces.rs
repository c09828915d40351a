//! Which network interface carries the link: the first in the order of preference that works. No I/O.
//!
//! An interface without an address cannot be used. One that failed is left alone for a while that grows, and tried
//! again while the next one carries the link; the preferred one gets it back without losing anything.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// One `[[uplink.interfaces]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceConfig {
    /// As `ip link` shows it.
    pub name: String,
    /// Whether its bytes cost money: counted against the budget, and roaming matters.
    #[serde(default = "default_metered")]
    pub metered: bool,
    /// Roaming, always.
    #[serde(default)]
    pub roaming: bool,
    /// A file that says whether it roams, kept by the modem's scripts: `1`, `true`, `yes` or `roaming` for yes.
    #[serde(default)]
    pub roaming_file: Option<PathBuf>,
}

const fn default_metered() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInterface {
    #[error(
        "{0:?} is no name of an interface: give 1 to 15 characters without '/' or spaces, as 'ip link' shows it"
    )]
    Name(String),
    #[error("{0:?} is named twice: name each interface once, in the order of preference")]
    Twice(String),
}

/// The kernel's IFNAMSIZ, without its final zero.
const LONGEST_NAME: usize = 15;

/// # Errors
/// For names that no interface can have, and for repeated ones.
pub fn validate(interfaces: &[InterfaceConfig]) -> Result<(), BadInterface> {
    for (index, InterfaceConfig { name, .. }) in interfaces.iter().enumerate() {
        let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(bad) {
            return Err(BadInterface::Name(name.clone()));
        }
        if interfaces[..index].iter().any(|other| other.name == *name) {
            return Err(BadInterface::Twice(name.clone()));
        }
    }
    Ok(())
}

impl InterfaceConfig {
    /// Whether it roams, as far as can be known: a file that cannot be read says no.
    #[must_use]
    pub fn is_roaming(&self) -> bool {
        let said = self.roaming_file.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        self.roaming || said.is_some_and(|text| says_yes(&text))
    }
}

fn says_yes(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on" | "roaming")
}

const FIRST_REST: Duration = Duration::from_secs(15);
const LONGEST_REST: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    until: Option<Instant>,
    failures: u32,
}

/// The interfaces by their index in the order of preference.
#[derive(Clone, Debug)]
pub struct Preference {
    rests: Vec<Rest>,
}

impl Preference {
    #[must_use]
    pub fn of(count: usize) -> Self {
        Self { rests: vec![Rest::default(); count] }
    }

    /// In which order to try them: those at rest last, but even they before giving up.
    #[must_use]
    pub fn order(&self, usable: &[bool], now: Instant) -> Vec<usize> {
        let candidates = (0..self.rests.len()).filter(|index| usable.get(*index).copied().unwrap_or(false));
        let (mut ready, resting): (Vec<_>, Vec<_>) =
            candidates.partition(|index| !self.rests_at(*index, now));
        ready.extend(resting);
        ready
    }

    /// A better one than what carries the link now, if it is time to try it; or any other when `current` cannot be used.
    #[must_use]
    pub fn better(&self, current: usize, usable: &[bool], now: Instant) -> Option<usize> {
        let first = *self.order(usable, now).first()?;
        if !usable.get(current).copied().unwrap_or(false) {
            return Some(first);
        }
        (first < current && !self.rests_at(first, now)).then_some(first)
    }

    pub fn failed(&mut self, index: usize, now: Instant) {
        if let Some(rest) = self.rests.get_mut(index) {
            let wait = FIRST_REST.saturating_mul(1 << rest.failures.min(10)).min(LONGEST_REST);
            rest.failures = rest.failures.saturating_add(1);
            rest.until = Some(now + wait);
        }
    }

    pub fn works(&mut self, index: usize) {
        if let Some(rest) = self.rests.get_mut(index) {
            *rest = Rest::default();
        }
    }

    fn rests_at(&self, index: usize, now: Instant) -> bool {
        self.rests.get(index).and_then(|rest| rest.until).is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> InterfaceConfig {
        InterfaceConfig { name: name.to_owned(), metered: true, roaming: false, roaming_file: None }
    }

    #[test]
    fn the_preferred_one_is_tried_first_and_a_failed_one_last() {
        let now = Instant::now();
        let mut preference = Preference::of(3);
        assert_eq!(preference.order(&[true; 3], now), [0, 1, 2]);
        assert_eq!(
            preference.order(&[false, true, true], now),
            [1, 2],
            "without an address it cannot be used"
        );
        preference.failed(0, now);
        assert_eq!(preference.order(&[true; 3], now), [1, 2, 0]);
        assert_eq!(preference.order(&[true; 3], now + FIRST_REST), [0, 1, 2]);
    }

    #[test]
    fn the_preferred_one_gets_the_link_back_when_its_rest_is_over() {
        let now = Instant::now();
        let mut preference = Preference::of(2);
        preference.failed(0, now);
        assert_eq!(preference.better(1, &[true, true], now), None);
        assert_eq!(preference.better(1, &[true, true], now + FIRST_REST), Some(0));
        preference.failed(0, now);
        assert_eq!(preference.better(1, &[true, true], now + FIRST_REST), None, "rests twice as long");
        preference.works(0);
        assert_eq!(preference.better(1, &[true, true], now), Some(0));
        assert_eq!(preference.better(0, &[true, true], now), None);
    }

    #[test]
    fn a_link_whose_interface_is_gone_goes_to_any_other_at_once() {
        let now = Instant::now();
        let mut preference = Preference::of(2);
        assert_eq!(preference.better(0, &[false, true], now), Some(1));
        preference.failed(1, now);
        assert_eq!(preference.better(0, &[false, true], now), Some(1), "rather than none");
        assert_eq!(preference.better(0, &[false, false], now), None);
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        assert_eq!(validate(&[named("wwan0"), named("eth0")]), Ok(()));
        for bad in ["", "a/b", "two words", "sixteen-letters-"] {
            assert_eq!(validate(&[named(bad)]), Err(BadInterface::Name(bad.to_owned())));
        }
        assert_eq!(validate(&[named("eth0"), named("eth0")]), Err(BadInterface::Twice("eth0".to_owned())));
    }

    #[test]
    fn a_file_tells_whether_an_interface_roams() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roaming");
        let interface = InterfaceConfig { roaming_file: Some(file.clone()), ..named("wwan0") };
        assert!(!interface.is_roaming(), "not there yet");
        for (text, expected) in
            [("1\n", true), ("roaming", true), ("0\n", false), ("home", false), ("", false)]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(interface.is_roaming(), expected, "{text:?}");
        }
        assert!(InterfaceConfig { roaming: true, ..named("wwan0") }.is_roaming());
    }
}
