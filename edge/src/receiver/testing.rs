//! Sentences for tests, with the checksums that belong to them.

use super::{Counts, Observation, Receiver};
use avl_shared::fix::Fix;

pub(super) fn checksum(body: &str) -> u8 {
    body.bytes().fold(0, |xor, byte| xor ^ byte)
}

pub(crate) fn sentence(body: &str) -> String {
    format!("${body}*{:02X}", checksum(body))
}

/// One sentence a line.
pub(super) fn log(bodies: &[&str]) -> String {
    bodies.iter().map(|body| sentence(body) + "\r\n").collect()
}

pub(super) fn observe(bytes: &[u8]) -> (Vec<Observation>, Counts) {
    let (mut receiver, mut all) = (Receiver::recorded(), Vec::new());
    receiver.push(bytes, None, |observation| all.push(observation));
    receiver.finish(None, |observation| all.push(observation));
    (all, receiver.counts())
}

pub(super) fn fixes(bodies: &[&str]) -> Vec<Fix> {
    observe(log(bodies).as_bytes()).0.into_iter().map(|observation| observation.fix).collect()
}
