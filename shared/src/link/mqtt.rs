//! The link over MQTT: which topics, and what a payload is.
//!
//! One payload is one message or one batch, whole; MQTT keeps them apart, so nothing carries a length. What a vehicle
//! publishes ([`Up`]) is told apart by its first byte:
//!
//! | first byte | the payload is |
//! |---|---|
//! | `0xa0` to `0xaf` | a wire batch; the byte is its own first one |
//! | `0x01` ([`LANE_ACK_WANTED`]) | a wire batch behind this byte, which asks for an [`Ack`](super::Ack) |
//! | any other | a Protobuf [`ToCloud`] |
//!
//! No [`ToCloud`] begins like a batch: `0x01` would be field number 0, which Protobuf does not have, and `0xa0` to
//! `0xaf` the field numbers 20, 21, 36, 37 and so on, which `link.proto` reserves. What the cloud publishes is always
//! one Protobuf [`ToVehicle`].

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::{LANE_ACK_WANTED, LaneFrame, LinkError, MAX_MESSAGE_BYTES, ToCloud, ToVehicle};
use crate::batch;
use crate::identity::VehicleKey;

/// The longest payload of either direction: a batch behind its flag.
pub const MAX_PAYLOAD_BYTES: usize = batch::MAX_BYTES + 1;
/// What MQTT puts around a payload, at most: fixed header, topic, packet id and the properties that the link uses.
pub const MAX_ENVELOPE_BYTES: usize = 256;

const PREFIX: &str = "avl/v1/";
const UP: &str = "/up";
const DOWN: &str = "/down";

/// Every vehicle's [`topic_up`].
pub const EVERY_UP: &str = "avl/v1/+/+/up";

/// Where a vehicle publishes (QoS 1).
#[must_use]
pub fn topic_up(vehicle: &VehicleKey) -> String {
    format!("{PREFIX}{vehicle}{UP}")
}

/// Where a vehicle listens (QoS 1).
#[must_use]
pub fn topic_down(vehicle: &VehicleKey) -> String {
    format!("{PREFIX}{vehicle}{DOWN}")
}

/// What the aggregators of a group subscribe to: each message goes to one of them.
#[must_use]
pub fn shared_filter(group: &str) -> String {
    format!("$share/{group}/{EVERY_UP}")
}

/// Whose [`topic_up`] this is. The broker admits a vehicle to its own topics only, so the topic is the sender's name.
#[must_use]
pub fn vehicle_of(topic: &str) -> Option<VehicleKey> {
    topic.strip_prefix(PREFIX)?.strip_suffix(UP)?.parse().ok()
}

/// What a vehicle publishes.
#[derive(Clone, Debug, PartialEq)]
pub enum Up {
    Batch(LaneFrame),
    Message(ToCloud),
}

impl Up {
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Batch(LaneFrame { ack_wanted: false, batch }) => batch.clone(),
            Self::Batch(LaneFrame { ack_wanted: true, batch }) => {
                let mut payload = BytesMut::with_capacity(1 + batch.len());
                payload.put_u8(LANE_ACK_WANTED);
                payload.put_slice(batch);
                payload.freeze()
            }
            Self::Message(message) => message.encode_to_vec().into(),
        }
    }

    /// Does not look into a batch.
    ///
    /// # Errors
    /// [`LinkError`] when the payload is too long, or is no message.
    pub fn decode(mut payload: Bytes) -> Result<Self, LinkError> {
        let ack_wanted = payload.first() == Some(&LANE_ACK_WANTED);
        if ack_wanted || payload.first().is_some_and(|&first| batch::begins_with(first)) {
            let batch = payload.split_off(usize::from(ack_wanted));
            require_length(batch.len(), batch::MAX_BYTES)?;
            return Ok(Self::Batch(LaneFrame { ack_wanted, batch }));
        }
        Ok(Self::Message(decode_message(&payload)?))
    }
}

/// What the cloud publishes to a vehicle.
///
/// # Errors
/// [`LinkError`] when the payload is too long, or is no message.
pub fn decode_down(payload: &[u8]) -> Result<ToVehicle, LinkError> {
    decode_message(payload)
}

fn decode_message<M: Message + Default>(payload: &[u8]) -> Result<M, LinkError> {
    require_length(payload.len(), MAX_MESSAGE_BYTES)?;
    M::decode(payload).map_err(|error| LinkError::Malformed(error.to_string()))
}

fn require_length(length: usize, limit: usize) -> Result<(), LinkError> {
    if length > limit { Err(LinkError::TooLong { length: length as u64, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::fix::Fix;
    use crate::link::{DeclareLost, Hello, message, to_cloud};
    use crate::sequence::Epoch;
    use proptest::prelude::*;

    fn batch(first: u64) -> Bytes {
        let batch = Batch { epoch: Epoch(3), first, boot_id: None, fixes: vec![Fix::default(); 3] };
        crate::batch::encode(&batch).unwrap().into()
    }

    #[test]
    fn topics_name_their_vehicle_and_nothing_else_does() {
        let vehicle: VehicleKey = "acme/truck-7".parse().unwrap();
        assert_eq!(topic_up(&vehicle), "avl/v1/acme/truck-7/up");
        assert_eq!(topic_down(&vehicle), "avl/v1/acme/truck-7/down");
        assert_eq!(vehicle_of(&topic_up(&vehicle)), Some(vehicle.clone()));
        for other in [
            &topic_down(&vehicle),
            "avl/v1/acme/up",
            "avl/v1/acme/truck/7/up",
            "avl/v1/acme//up",
            "avl/v2/acme/truck-7/up",
            "/avl/v1/acme/truck-7/up",
            "avl/v1/acme/truck 7/up",
            "avl/v1/+/+/up",
            "",
        ] {
            assert_eq!(vehicle_of(other), None, "{other}");
        }
        assert_eq!(shared_filter("avl"), "$share/avl/avl/v1/+/+/up");
    }

    #[test]
    fn the_longest_topic_fits_the_envelope() {
        let vehicle = format!("{}/{}", "f".repeat(24), "v".repeat(39)).parse().unwrap();
        assert!(topic_down(&vehicle).len() + 64 < MAX_ENVELOPE_BYTES);
    }

    #[test]
    fn a_batch_without_a_request_travels_as_it_is() {
        let batch = batch(10);
        let up = Up::Batch(LaneFrame { ack_wanted: false, batch: batch.clone() });
        assert_eq!(up.encode(), batch);
        let up = Up::Batch(LaneFrame { ack_wanted: true, batch: batch.clone() });
        assert_eq!(up.encode()[1..], batch);
    }

    #[test]
    fn too_long_a_payload_is_refused() {
        let mut bytes = vec![0xa1; batch::MAX_BYTES + 1];
        assert!(matches!(Up::decode(bytes.clone().into()), Err(LinkError::TooLong { .. })));
        bytes[0] = LANE_ACK_WANTED;
        assert!(Up::decode(bytes.into()).is_ok());
        assert!(matches!(
            Up::decode(vec![0x0a; MAX_MESSAGE_BYTES + 1].into()),
            Err(LinkError::TooLong { .. })
        ));
    }

    fn any_message() -> impl Strategy<Value = ToCloud> {
        let ranges = prop::collection::vec((any::<u64>(), any::<u64>()), 0..5).prop_map(|ranges| {
            ranges.into_iter().map(|(first, last)| message::Range { first, last }).collect::<Vec<_>>()
        });
        let hello = (any::<u32>(), any::<u64>(), ranges.clone(), ".*", any::<u32>()).prop_map(
            |(epoch, next_sequence, held, agent_version, connection)| {
                to_cloud::Message::Hello(Hello {
                    epoch,
                    next_sequence,
                    held,
                    agent_version,
                    connection,
                    ..Hello::default()
                })
            },
        );
        let lost = (any::<u32>(), ranges, 0..4_i32).prop_map(|(epoch, ranges, reason)| {
            to_cloud::Message::DeclareLost(DeclareLost { epoch, ranges, reason })
        });
        prop_oneof![hello, lost].prop_map(|message| ToCloud { message: Some(message) })
    }

    proptest! {
        #[test]
        fn messages_and_batches_are_never_taken_for_each_other(message in any_message(), first in 0_u64..1 << 40, ack_wanted: bool) {
            let message = Up::Message(message);
            prop_assert_eq!(Up::decode(message.encode()).unwrap(), message);
            let batch = Up::Batch(LaneFrame { ack_wanted, batch: batch(first) });
            prop_assert_eq!(Up::decode(batch.encode()).unwrap(), batch);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_down(&bytes);
            if let Ok(up @ Up::Batch(_)) = Up::decode(bytes.clone().into()) {
                prop_assert_eq!(up.encode(), Bytes::from(bytes));
            }
        }

        #[test]
        fn any_topic_is_read_or_ignored(topic in ".{0,80}") {
            if let Some(vehicle) = vehicle_of(&topic) {
                prop_assert_eq!(topic_up(&vehicle), topic);
            }
        }
    }
}
