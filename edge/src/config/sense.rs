//! What is valid and still not what anybody wants: keys that contradict each other or the machine.
//!
//! The agent starts all the same; `config check` and `doctor` say it. Pure: what the machine looks like comes from outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ByteSize, Config};
use crate::identity;
use crate::source::Kind;

/// sled's file is larger than its content; half as much again was the most seen in use as a queue.
const FILE_PER_CONTENT: f64 = 1.5;
/// Below it, each batch carries so few fixes that its own cost dominates (114 bytes of packets a batch).
const FRUGAL_LATENCY: Duration = Duration::from_secs(5);

/// What of the machine matters to a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Free for unprivileged users, where the state directory is or will be.
    pub free_bytes: Option<u64>,
    /// What the buffer takes already.
    pub buffer_bytes: u64,
    /// Why the identity cannot be used.
    pub identity: Option<String>,
    /// The device or log exists.
    pub source_exists: bool,
    /// The network interfaces, where they can be listed.
    pub interfaces: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub key: &'static str,
    pub cause: String,
    pub cure: String,
}

fn warning(key: &'static str, cause: impl Into<String>, cure: impl Into<String>) -> Warning {
    Warning { key, cause: cause.into(), cure: cure.into() }
}

#[must_use]
pub fn warnings(config: &Config, machine: &Surroundings) -> Vec<Warning> {
    let mut found = Vec::new();
    let (durability, latency) = (config.buffer.durability, config.uplink.latency);
    if durability > latency {
        found.push(warning(
            "uplink.latency",
            format!("{latency:?} is shorter than buffer.durability ({durability:?}), and a fix is never sent before it is on flash"),
            "raise it, or lower buffer.durability (which wears the flash more)",
        ));
    } else if latency < FRUGAL_LATENCY {
        found.push(warning(
            "uplink.latency",
            format!(
                "{latency:?} means a batch of few fixes, and each batch costs about 114 bytes beside them"
            ),
            "\"25s\" costs a fraction of the bytes",
        ));
    }
    if config.uplink.ack_interval < latency {
        found.push(warning(
            "uplink.ack_interval",
            "shorter than uplink.latency: every batch asks for an acknowledgement, which costs more than the batch",
            "leave it at \"3m\"",
        ));
    }
    space(config, machine, &mut found);
    if let Some(cause) = &machine.identity {
        found.push(warning("state_dir", cause.clone(), "the agent does not start without an identity"));
    }
    if !machine.source_exists {
        found.push(warning(
            "source.path",
            format!("{} is not there now", config.source.describe()),
            "plug the receiver in, or name it as 'ls -l /dev/serial/by-id' does; the agent waits for it",
        ));
    }
    let device = config.source.path.as_deref().filter(|_| config.source.kind == Kind::Serial);
    if let Some(device) = device.filter(|device| is_volatile_name(device)) {
        found.push(warning(
            "source.path",
            format!("{} may name another device after the next start", device.display()),
            "use its name in /dev/serial/by-id",
        ));
    }
    for interface in &config.uplink.interfaces {
        if machine.interfaces.as_ref().is_some_and(|known| !known.contains(&interface.name)) {
            found.push(warning(
                "uplink.interfaces",
                format!("there is no interface {} now", interface.name),
                "'ip link' lists them; the link goes by it as soon as it is there",
            ));
        }
    }
    if let Some(address) = config.health.metrics.filter(is_public) {
        found.push(warning(
            "health.metrics",
            format!("{address} shows the vehicle's place and state to everybody who reaches this gateway"),
            "listen on 127.0.0.1, or keep others off by the firewall",
        ));
    }
    found
}

fn space(config: &Config, machine: &Surroundings, found: &mut Vec<Warning>) {
    let Some(free) = machine.free_bytes else { return };
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let wanted = (config.buffer.max_bytes.0 as f64 * FILE_PER_CONTENT) as u64;
    let wanted = wanted.saturating_sub(machine.buffer_bytes);
    if free < wanted {
        let mebibytes = |bytes: u64| ByteSize(bytes >> 20 << 20);
        found.push(warning(
            "buffer.max_bytes",
            format!(
                "a full buffer would need {} more on flash, and {} are free in {}",
                mebibytes(wanted),
                mebibytes(free),
                config.state_dir.display()
            ),
            "lower it, or free space: a full disk stops the agent, a full buffer only gives up the oldest fixes",
        ));
    }
}

/// `ttyUSB0` and `ttyACM0` are given out in the order of plugging in.
fn is_volatile_name(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.starts_with("/dev/ttyUSB") || path.starts_with("/dev/ttyACM"))
}

fn is_public(address: &SocketAddr) -> bool {
    !address.ip().is_loopback()
}

impl Surroundings {
    /// As the machine is now.
    #[must_use]
    pub fn look(config: &Config) -> Self {
        let buffer = config.state_dir.join("buffer").join("db");
        Self {
            free_bytes: free_bytes(&config.state_dir),
            buffer_bytes: std::fs::metadata(buffer).map_or(0, |file| file.len()),
            identity: identity::Identity::load(&config.state_dir, &config.identity)
                .err()
                .map(|error| error.to_string()),
            source_exists: source_exists(config),
            interfaces: interfaces(),
        }
    }
}

fn interfaces() -> Option<Vec<String>> {
    let listed = std::fs::read_dir("/sys/class/net").ok()?;
    Some(listed.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn source_exists(config: &Config) -> bool {
    let named =
        config.source.path.as_deref().filter(|_| matches!(config.source.kind, Kind::Serial | Kind::Replay));
    named.is_none_or(|path| path == Path::new("-") || path.exists())
}

/// Bytes free for unprivileged users on the file system of `path`, or of the nearest folder above it that exists.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let there: PathBuf = path.ancestors().find(|ancestor| ancestor.exists())?.to_owned();
    let numbers = rustix::fs::statvfs(&there).ok()?;
    numbers.f_bavail.checked_mul(numbers.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn config(more: &str) -> Config {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(
            file,
            "[source]\nkind = 'serial'\npath = '/dev/serial/by-id/x'\n[uplink.quic]\naddress = 'localhost:7443'\n{more}"
        )
        .unwrap();
        crate::config::load(file.path()).unwrap()
    }

    fn fitting() -> Surroundings {
        Surroundings {
            free_bytes: Some(8 << 30),
            buffer_bytes: 0,
            identity: None,
            source_exists: true,
            interfaces: None,
        }
    }

    fn keys(config: &Config, machine: &Surroundings) -> Vec<&'static str> {
        warnings(config, machine).iter().map(|warning| warning.key).collect()
    }

    #[test]
    fn the_defaults_on_a_fitting_machine_make_sense() {
        assert_eq!(warnings(&config(""), &fitting()), []);
    }

    #[test]
    fn times_that_contradict_each_other_are_named() {
        let mut contradicting = config("");
        contradicting.buffer.durability = Duration::from_secs(60);
        assert_eq!(keys(&contradicting, &fitting()), ["uplink.latency"]);
        let mut expensive = config("");
        expensive.uplink.latency = Duration::from_secs(1);
        expensive.buffer.durability = Duration::from_secs(1);
        expensive.uplink.ack_interval = Duration::from_millis(500);
        assert_eq!(keys(&expensive, &fitting()), ["uplink.latency", "uplink.ack_interval"]);
    }

    #[test]
    fn a_disk_that_cannot_hold_a_full_buffer_is_named_with_both_sizes() {
        let machine = Surroundings { free_bytes: Some(100 << 20), ..fitting() };
        let found = warnings(&config(""), &machine);
        assert!(found[0].cause.contains("384 MiB") && found[0].cause.contains("100 MiB"), "{found:?}");
        // What the buffer has taken already needs no more room.
        let machine = Surroundings { buffer_bytes: 300 << 20, ..machine };
        assert_eq!(warnings(&config(""), &machine), []);
    }

    #[test]
    fn the_machine_is_looked_at() {
        let machine =
            Surroundings { identity: Some("not enrolled".to_owned()), source_exists: false, ..fitting() };
        assert_eq!(keys(&config(""), &machine), ["state_dir", "source.path"]);
        let mut volatile = config("[health]\nmetrics = '0.0.0.0:9187'\n");
        volatile.source.path = Some("/dev/ttyUSB0".into());
        assert_eq!(keys(&volatile, &fitting()), ["source.path", "health.metrics"]);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let config = config("[[uplink.interfaces]]\nname = 'wwan7'\n");
        let machine = |name: &str| Surroundings { interfaces: Some(vec![name.to_owned()]), ..fitting() };
        assert_eq!(keys(&config, &machine("eth0")), ["uplink.interfaces"]);
        assert!(keys(&config, &machine("wwan7")).is_empty());
    }

    #[test]
    fn free_space_is_that_of_the_nearest_folder_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(&folder.path().join("not/yet/there")).unwrap() > 0);
    }
}
