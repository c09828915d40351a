//! What the kernel says about this process.

use std::fs;

use serde::Serialize;

/// Read from `/proc/self`; a figure that cannot be read is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ProcessFacts {
    pub pid: u32,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// The most that was ever resident.
    pub peak_rss_bytes: Option<u64>,
    /// Processor time used since the start, user and system.
    pub cpu_s: Option<f64>,
}

/// `USER_HZ`: what `/proc/PID/stat` counts in, 100 on every architecture that Linux runs a gateway on (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

impl ProcessFacts {
    #[must_use]
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self {
            pid: std::process::id(),
            rss_bytes: kibibytes(&status, "VmRSS:"),
            peak_rss_bytes: kibibytes(&status, "VmHWM:"),
            cpu_s: cpu_s(&stat),
        }
    }
}

/// `VmRSS:      5432 kB`
fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Fields 14 and 15, counted behind the program's name, which may itself hold spaces and brackets.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_kernel_prints_them() {
        assert_eq!(kibibytes("Name:\tavl\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\n", "VmRSS:"), Some(102_400));
        assert_eq!(kibibytes("Name:\tavl\n", "VmRSS:"), None);
        let stat =
            "7 (a ) b) S 1 7 7 0 -1 4194560 500 0 0 0 150 50 0 0 20 0 2 0 100 5000 200 18446744073709551615";
        assert_eq!(cpu_s(stat), Some(2.0));
        for bad in ["", "7 (a", "7 (a) S 1"] {
            assert_eq!(cpu_s(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn this_process_has_memory() {
        assert!(ProcessFacts::read().rss_bytes.unwrap() > 100_000);
    }
}
