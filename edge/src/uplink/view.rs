//! What the uplink shows of itself.

use serde::Serialize;

use super::ledger::Ledger;

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
    /// Connections made since the agent started, each with a handshake of some 4,300 bytes.
    pub connections: u64,
    /// The interface in use, where `uplink.interfaces` names some.
    pub interface: Option<String>,
    pub roaming: bool,
    /// All that went over the air since the agent started, IP headers included; an estimate that runs some seconds behind.
    pub bytes_out: u64,
    pub bytes_in: u64,
    /// Of `bytes_out`, the batches themselves.
    pub payload_bytes: u64,
    pub batches: u64,
    pub fixes_sent: u64,
    pub fixes_acked: u64,
    /// Bytes of both directions for each fix sent.
    pub bytes_per_fix: Option<f64>,
    /// Fixes that each lane has still to send.
    pub live_unsent: u64,
    pub backlog_unsent: u64,
    /// Bytes of this month that count against the budget.
    pub budget_used: u64,
    /// `None` without a budget.
    pub budget_per_month: Option<u64>,
}

impl LinkView {
    pub(super) fn show_use(&mut self, ledger: &Ledger) {
        let traffic = ledger.traffic();
        (self.bytes_out, self.bytes_in) = (traffic.bytes_out(), traffic.bytes_in());
        (self.interface, self.roaming) = (traffic.interface(), traffic.is_roaming());
        self.bytes_per_fix = per_fix(self.bytes_out.saturating_add(self.bytes_in), self.fixes_sent);
        (self.budget_used, self.budget_per_month) = (ledger.account().bytes, ledger.limit());
    }
}

#[allow(clippy::cast_precision_loss)]
fn per_fix(bytes: u64, fixes: u64) -> Option<f64> {
    (fixes > 0).then(|| bytes as f64 / fixes as f64)
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
