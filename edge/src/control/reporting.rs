//! How often the vehicle reports, set by a command: keys laid over everything but the environment, for a while or for good.

use avl_shared::fix::UtcMillis;
use avl_shared::link::message::SetReporting;
use serde::{Deserialize, Serialize};

const PROFILES: [&str; 4] = ["moving", "stopped", "parked", "night"];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Reporting {
    pub(super) toml: String,
    /// Until it is set otherwise when `None`.
    pub(super) until_ms: Option<UtcMillis>,
}

impl Reporting {
    /// `profile` limits a change to what the vehicle does then; without one it holds for all.
    pub(super) fn of(order: &SetReporting) -> Result<Self, String> {
        let profiles = match order.profile.as_str() {
            "" => &PROFILES[..],
            named => {
                let index = PROFILES.iter().position(|profile| *profile == named);
                let index = index.ok_or_else(|| {
                    format!(
                        "{named:?} is not a profile: give one of {}, or none for all",
                        PROFILES.join(", ")
                    )
                })?;
                &PROFILES[index..=index]
            }
        };
        let mut toml = String::new();
        if order.latency_ms > 0 && order.profile.is_empty() {
            toml += &format!("uplink.latency = \"{}ms\"\n", order.latency_ms);
        }
        for profile in profiles {
            if order.latency_ms > 0 && (!order.profile.is_empty() || *profile != "moving") {
                toml += &format!("report.{profile}.latency = \"{}ms\"\n", order.latency_ms);
            }
            if order.interval_ms > 0 {
                toml += &format!("report.{profile}.interval = \"{}ms\"\n", order.interval_ms);
            }
        }
        Ok(Self { toml, until_ms: (order.until_ms > 0).then_some(order.until_ms) })
    }

    pub(super) fn is_over(&self, now: UtcMillis) -> bool {
        self.until_ms.is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(profile: &str, latency_ms: u32, interval_ms: u32) -> SetReporting {
        SetReporting { profile: profile.to_owned(), latency_ms, interval_ms, until_ms: 0 }
    }

    #[test]
    fn an_order_becomes_keys_of_the_configuration() {
        let one = Reporting::of(&order("parked", 1000, 2000)).unwrap();
        assert_eq!(one.toml, "report.parked.latency = \"1000ms\"\nreport.parked.interval = \"2000ms\"\n");
        let all = Reporting::of(&order("", 1000, 0)).unwrap();
        assert!(
            all.toml.starts_with("uplink.latency = \"1000ms\"\n")
                && all.toml.contains("report.night.latency")
        );
        assert_eq!(
            Reporting::of(&order("", 0, 0)),
            Ok(Reporting::default()),
            "nothing set: all as configured"
        );
        assert!(Reporting::of(&order("flying", 1, 1)).unwrap_err().contains("moving, stopped"));
    }

    #[test]
    fn it_ends_when_it_was_said_to() {
        let mut set = Reporting::of(&order("", 1000, 0)).unwrap();
        assert!(!set.is_over(i64::MAX));
        set.until_ms = Some(10);
        assert!(!set.is_over(9) && set.is_over(10));
    }
}
