//! What nobody could understand, as a message for operators.

use avl_shared::fix::UtcMillis;
use bytes::Bytes;

use super::Message;
use crate::journal::Place;

/// A reason may quote what it complains about.
const LONGEST_REASON: usize = 500;

/// Something that can never be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    pub reason: String,
    /// `fleet/vehicle`, or what stood in its place.
    pub key: Option<Bytes>,
    pub received_at: Option<UtcMillis>,
    /// As it came.
    pub value: Bytes,
}

/// `from` is the topic or journal and the place in it; `None` for what was refused at the door.
#[must_use]
pub fn reject_message(reject: &Reject, from: Option<(&str, Place)>) -> Message {
    let mut headers = vec![("reason", reject.reason.chars().take(LONGEST_REASON).collect())];
    if let Some((source, place)) = from {
        headers.push(("source", source.to_owned()));
        headers.push(("source-partition", place.partition.to_string()));
        headers.push(("source-offset", place.offset.to_string()));
    }
    headers.extend(reject.received_at.map(|time| ("received-at", time.to_string())));
    Message { key: reject.key.clone(), headers, value: reject.value.clone() }
}
