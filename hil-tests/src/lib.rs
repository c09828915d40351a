//! The system seen from outside: virtual receivers and vehicles, a faulty link, the real programs, an oracle.
//!
//! - [`drive`]: a simulated vehicle and what its receiver makes of the truth
//! - [`receiver`]: a virtual serial GNSS receiver that replays a log or a drive
//! - [`fleet`]: many light vehicles that speak the real link protocol
//! - [`link`]: a UDP relay that cuts, delays, loses, and changes addresses
//! - [`process`]: the real `avl-cloud` and `avl-edge`, started, killed and stopped
//! - [`services`]: TimescaleDB and Kafka as real servers, started, killed and stopped
//! - [`oracle`]: what was printed against what the API returns
//!
//! Nothing here imports the agent or the cloud as a library: they are judged by what they do.
//! Numbers are cast freely between widths here: they are metres, counts and seconds of a simulation.

pub mod drive;
pub mod flash;
pub mod fleet;
pub mod link;
pub mod logs;
pub mod oracle;
pub mod process;
pub mod receiver;
pub mod services;
pub mod wear;

/// The folder of the workspace's `Cargo.toml`.
#[must_use]
pub fn project_root() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Says why a scenario is not played.
///
/// # Panics
/// In CI (`CI=true`): a test that silently did not run proves nothing.
#[allow(clippy::panic)]
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{reason}");
    eprintln!("SKIPPED: {reason}");
}
