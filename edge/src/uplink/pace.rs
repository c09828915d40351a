//! How eager the uplink is: set by whoever knows what the vehicle does, followed by the lanes and by the keep-alive.

use std::time::Duration;

use tokio::sync::watch;

/// Read again before each decision, so a change takes effect on the connection that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long a fix may wait before it is sent, the time until it was durable included.
    pub latency: Duration,
    /// Whether the cloud shall be able to reach the vehicle between two batches. Without it the connection may lapse,
    /// as a parked vehicle's should.
    pub stay_connected: bool,
    /// Fixes with a number below it go at once: the ignition was switched, an alarm, somebody asks where it is.
    pub urgent_below: u64,
}

impl Pace {
    /// One pace for the whole drive.
    #[must_use]
    pub fn constant(latency: Duration) -> watch::Receiver<Self> {
        watch::Sender::new(Self { latency, stay_connected: true, urgent_below: 0 }).subscribe()
    }
}
