//! What an operator can set about vehicles' certificates: the `[fleet]` section of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetSettings {
    /// Life of a vehicle's certificate. It is renewed after two thirds of it. Short enough that a stolen key ages out,
    /// long enough for a vehicle laid up over a winter.
    #[serde(with = "humantime_serde")]
    pub certificate_lifetime: Duration,
    /// How long after its end a certificate may still be exchanged for a new one: a vehicle that was away for a year
    /// comes back by itself.
    #[serde(with = "humantime_serde")]
    pub renewal_grace: Duration,
}

/// A shorter life leaves no time to renew; a longer one than this, and a stolen key never ages out.
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl FleetSettings {
    /// # Errors
    /// Names the key that is out of bounds, and the bounds.
    pub fn check(&self) -> Result<(), String> {
        let (least, most) = (LIFETIMES.start().as_secs(), LIFETIMES.end().as_secs() / DAY.as_secs());
        if !LIFETIMES.contains(&self.certificate_lifetime) {
            return Err(format!(
                "fleet.certificate_lifetime is {:?}: give {least} s to {most} days, such as \"90days\"",
                self.certificate_lifetime
            ));
        }
        if self.renewal_grace > *LIFETIMES.end() {
            return Err(format!(
                "fleet.renewal_grace is {:?}: give at most {most} days, such as \"400days\"",
                self.renewal_grace
            ));
        }
        Ok(())
    }
}

impl Default for FleetSettings {
    fn default() -> Self {
        Self { certificate_lifetime: 90 * DAY, renewal_grace: 400 * DAY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_have_bounds_that_the_refusal_names() {
        assert_eq!(FleetSettings::default().check(), Ok(()));
        for (lifetime, grace, key) in [
            (Duration::ZERO, DAY, "certificate_lifetime"),
            (4000 * DAY, DAY, "certificate_lifetime"),
            (DAY, 4000 * DAY, "renewal_grace"),
        ] {
            let refused = FleetSettings { certificate_lifetime: lifetime, renewal_grace: grace }.check();
            let text = refused.unwrap_err();
            assert!(text.contains(key) && text.contains("3650 days"), "{text}");
        }
    }
}
