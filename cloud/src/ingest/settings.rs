//! What an operator can set about ingest: the `[ingest]` section of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestSettings {
    /// Vehicles connected at one time; further ones are refused and come back later.
    pub max_connections: usize,
    /// Handshakes at one time. Each costs a signature: this bounds what strangers can make the server compute.
    pub max_handshakes: usize,
    /// Handshakes at one time from one address. Not connections: thousands of vehicles share a carrier's address.
    pub max_handshakes_per_address: usize,
    /// Bytes of frames in memory, from the first byte until they are durable, over all vehicles.
    pub max_bytes_in_flight: usize,
    /// What one connection is read at over time; ten seconds' worth at once. A vehicle that sends faster waits.
    pub vehicle_bytes_per_second: u64,
    /// The same for all vehicles of a fleet on this process.
    pub fleet_bytes_per_second: u64,
    /// A silent connection is kept this long; a reconnect costs a vehicle 4 KB, so longer than its upload interval.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Longest time that a durable batch waits for its acknowledgement when the vehicle does not ask for one.
    #[serde(with = "humantime_serde")]
    pub ack_interval: Duration,
    /// Time that a new connection has to say hello.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// Time that a frame or message may take from its first byte to its last. A vehicle at the cell's edge still
    /// sends some kilobytes a second.
    #[serde(with = "humantime_serde")]
    pub frame_timeout: Duration,
    /// Time that sessions have to receive their last acknowledgements when the server stops.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// Told to vehicles when the server stops: they come back after a random part of it.
    #[serde(with = "humantime_serde")]
    pub reconnect_within: Duration,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_handshakes: 512,
            max_handshakes_per_address: 128,
            max_bytes_in_flight: 64 * 1024 * 1024,
            // A day at 1 Hz is half of it.
            vehicle_bytes_per_second: 1024 * 1024,
            // A minute each of 250,000 vehicles in a second.
            fleet_bytes_per_second: 64 * 1024 * 1024,
            idle_timeout: Duration::from_secs(10 * 60),
            // Longer than vehicles wait before they ask: an acknowledgement that nobody asked for is paid for twice.
            ack_interval: Duration::from_secs(45 * 60),
            hello_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(5),
            reconnect_within: Duration::from_secs(10),
        }
    }
}
