//! The `[clock]` section.

use std::time::Duration;

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// How long a gateway that knows no time waits for its receiver before it connects with only a lower bound of it.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// Whether to set the system clock by the receiver; needs `CAP_SYS_TIME`.
    pub set_system: bool,
}

impl Default for ClockConfig {
    fn default() -> Self {
        // A cold start takes up to 12.5 minutes, the length of the GPS navigation message (IS-GPS-200), when the receiver has
        // to collect its almanac first.
        Self { wait: Duration::from_secs(15 * 60), set_system: false }
    }
}
