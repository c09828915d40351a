//! Servers of others that the cloud works with: the real ones, on this machine, on free ports, gone when dropped.
//!
//! Where one cannot be had the scenario is skipped, loudly; in CI that is a failure.

mod kafka;
mod prometheus;
mod timescale;

pub use kafka::Kafka;
pub use prometheus::Prometheus;
pub use timescale::TimescaleDb;

use std::net::{Ipv4Addr, TcpListener};

/// A free port. Taken by whoever is started on it, a moment later.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
