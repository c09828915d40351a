//! What MQTT costs on the air, both ways: estimates, since the library shows no packets. Measured on Mosquitto with
//! `avl-bench-link`: IPv4, TCP with timestamps, TLS 1.3, MQTT 5 with a topic alias.

/// Bytes (out, in).
pub(super) type Cost = (u64, u64);

/// TCP, both certificate chains, the subscription, hello and welcome.
pub(super) const CONNECTION: Cost = (2_300, 2_600);
/// The SYN and its repetitions within the patience.
pub(super) const UNANSWERED: Cost = (300, 0);
/// A ping, its answer, and their acknowledgements.
pub(super) const PING: Cost = (128, 76);

/// What a segment carries, and IP and TCP headers of one.
const SEGMENT: u64 = 1_448;
const HEADERS: u64 = 52;

/// A message of ours, the broker's PUBACK, and the acknowledgement of that.
pub(super) fn published(payload: usize) -> Cost {
    let (payload, more) = more_segments(payload);
    (payload + 137 + more * HEADERS, 78 + more * HEADERS)
}

/// A message to us, which has its topic, and our PUBACK.
pub(super) fn heard(payload: usize) -> Cost {
    let (payload, more) = more_segments(payload);
    (78 + more * HEADERS, payload + 166 + more * HEADERS)
}

fn more_segments(payload: usize) -> (u64, u64) {
    let payload = payload as u64;
    (payload, payload / SEGMENT)
}
