//! Which boot this is, and how long it lasts: the only order that fixes without GNSS time have.

use std::fs;

/// One boot of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Differs from boot to boot; the agent may restart within one.
    pub id: u32,
}

impl Boot {
    /// From the kernel's random boot id; where there is none, each start of the agent counts as a boot.
    #[must_use]
    pub fn read() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let id = kernel.as_deref().and_then(|uuid| u32::from_str_radix(uuid.get(..8)?, 16).ok());
        Self { id: id.unwrap_or_else(rand::random) }
    }
}

/// Milliseconds since the gateway booted, to the kernel's hundredth of a second.
#[must_use]
pub fn uptime_ms() -> Option<u64> {
    parse_uptime(&fs::read_to_string("/proc/uptime").ok()?)
}

/// `/proc/uptime` reads `350735.47 234388.90`: seconds up, seconds idle.
fn parse_uptime(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = hundredths.get(..2)?.parse().ok()?;
    Some(seconds.parse::<u64>().ok()? * 1000 + hundredths * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_read_as_the_kernel_prints_it() {
        assert_eq!(parse_uptime("350735.47 234388.90\n"), Some(350_735_470));
        assert_eq!(parse_uptime("0.05 0.01"), Some(50));
        for bad in ["", "12", "a.bc", "1.2"] {
            assert_eq!(parse_uptime(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_boot_stays_the_same_within_a_boot() {
        assert_eq!(Boot::read(), Boot::read());
        assert!(uptime_ms().unwrap() <= uptime_ms().unwrap());
    }
}
