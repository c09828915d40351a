//! What the uplink shows of itself.

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LinkView {
    pub state: LinkState,
    /// `quic` or `mqtt`: the transport of the connection that stands, or is being tried.
    pub transport: Option<&'static str>,
    /// UTC milliseconds since when `state` holds.
    pub since_ms: Option<i64>,
    /// UTC milliseconds of the cloud's last durable acknowledgement.
    pub last_ack_ms: Option<i64>,
    /// Why there is no connection, with its cure.
    pub trouble: Option<String>,
    /// Connections made since the agent started.
    pub connections: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Waiting for the next attempt, or for something to send.
    #[default]
    Idle,
    Connecting,
    Connected,
}
