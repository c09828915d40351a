//! Link messages and their framing on QUIC; [`mqtt`] has topics and payloads of the same messages on MQTT.
//!
//! Control stream: each message behind its length as a Protobuf varint.
//! Lane stream: each batch behind one flag byte ([`LANE_ACK_WANTED`]) and its length as a varint.
//! Both framings are decoded from a growing buffer, and a length over the limit is refused before any memory is taken.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::sequence::{RangeSet, SequenceRange};

pub mod mqtt;

/// The generated messages; `proto/avl/v1/link.proto` documents them.
#[allow(clippy::pedantic, clippy::all, unreachable_pub)]
pub mod message {
    include!(concat!(env!("OUT_DIR"), "/avl.v1.rs"));
}

pub use message::{
    Ack, Command, CommandResult, CommandState, ConfigOutcome, ConfigState, Configuration, DeclareLost,
    Draining, Hello, LossReason, Reject, ReportAck, ToCloud, ToVehicle, Welcome, command, to_cloud,
    to_vehicle,
};

impl LossReason {
    /// The name used in JSON and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::BufferFull => "buffer_full",
            Self::Corruption => "corruption",
            Self::Rejected => "rejected",
            Self::Storage => "storage",
            Self::Thinned => "thinned",
        }
    }
}

impl CommandState {
    /// The name used in JSON and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Accepted => "accepted",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing more follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Unspecified | Self::Accepted)
    }
}

impl ConfigOutcome {
    /// The name used in JSON and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// A vehicle's answer to a command is at most this long in all; it travels in parts of [`RESULT_PART_BYTES`].
pub const MAX_RESULT_BYTES: usize = 256 * 1024;
/// Half a message: room for everything else in it, and a part is repeated whole after a broken connection.
pub const RESULT_PART_BYTES: usize = 32 * 1024;
/// A remote configuration with every key there is has some 4 KB.
pub const MAX_CONFIGURATION_BYTES: usize = 16 * 1024;
/// The id of a command.
pub const MAX_COMMAND_ID_CHARS: usize = 64;

/// Application protocol of the QUIC link (RFC 7301 name).
pub const ALPN: &[u8] = b"avl/1";
pub const PROTOCOL: u32 = 1;
/// The QUIC application close code for a vehicle whose certificate was revoked: only a person can change that, so it
/// does not come back soon. The other codes need no action of the vehicle.
pub const CLOSE_REVOKED: u32 = 15;

/// A Hello lists the ranges it holds; 64 KiB is some 5,000 gaps, far more than a healthy buffer has.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Set on a lane frame: the vehicle asks for an [`Ack`] as soon as this batch, and all before it, are durable.
/// Without it the cloud coalesces acks, because an ack for every batch costs more than the batch.
pub const LANE_ACK_WANTED: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error(
        "message of {length} bytes exceeds the limit of {limit}: the peer is broken or speaks another protocol"
    )]
    TooLong { length: u64, limit: usize },
    #[error("message length is not a varint: the peer is broken or speaks another protocol")]
    BadLength,
    #[error("message cannot be decoded ({0}): the peer is broken or speaks another protocol version")]
    Malformed(String),
    #[error("unknown lane flags {0:#04x}: the vehicle speaks a newer protocol; upgrade the cloud first")]
    UnknownFlags(u8),
    #[error("range {first}-{last} ends before it starts")]
    BadRange { first: u64, last: u64 },
}

/// One message behind its length.
#[must_use]
pub fn frame_message(message: &impl Message) -> Bytes {
    message.encode_length_delimited_to_vec().into()
}

/// Takes one whole message off the front of `buffer`; `None` until it is all there.
///
/// # Errors
/// [`LinkError`] when the stream cannot be understood any more; it must be closed then.
pub fn take_message<M: Message + Default>(buffer: &mut BytesMut) -> Result<Option<M>, LinkError> {
    let Some((header, length)) = take_length(buffer, MAX_MESSAGE_BYTES)? else {
        return Ok(None);
    };
    if buffer.len() < header + length {
        return Ok(None);
    }
    buffer.advance(header);
    M::decode(buffer.split_to(length)).map(Some).map_err(|error| LinkError::Malformed(error.to_string()))
}

/// Bytes of the whole message at the front of `buffer`, its length included; `None` until that can be told.
/// A reader reserves memory by it before it takes the rest.
///
/// # Errors
/// As [`take_message`].
pub fn announced_message(buffer: &[u8]) -> Result<Option<usize>, LinkError> {
    Ok(take_length(buffer, MAX_MESSAGE_BYTES)?.map(|(header, length)| header + length))
}

/// One batch on a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneFrame {
    pub ack_wanted: bool,
    pub batch: Bytes,
}

impl LaneFrame {
    /// Appends the frame to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_u8(if self.ack_wanted { LANE_ACK_WANTED } else { 0 });
        prost::encoding::encode_varint(self.batch.len() as u64, out);
        out.put_slice(&self.batch);
    }

    /// Bytes of the whole frame at the front of `buffer`; `None` until that can be told. A reader reserves memory by
    /// it before it takes the rest.
    ///
    /// # Errors
    /// As [`LaneFrame::take`].
    pub fn announced(buffer: &[u8], max_batch_bytes: usize) -> Result<Option<usize>, LinkError> {
        let Some((&flags, rest)) = buffer.split_first() else { return Ok(None) };
        if flags & !LANE_ACK_WANTED != 0 {
            return Err(LinkError::UnknownFlags(flags));
        }
        Ok(take_length(rest, max_batch_bytes)?.map(|(header, length)| 1 + header + length))
    }

    /// Takes one whole frame off the front of `buffer`; `None` until it is all there.
    ///
    /// # Errors
    /// [`LinkError`] when the stream cannot be understood any more; it must be closed then.
    pub fn take(buffer: &mut BytesMut, max_batch_bytes: usize) -> Result<Option<Self>, LinkError> {
        let Some(&flags) = buffer.first() else {
            return Ok(None);
        };
        if flags & !LANE_ACK_WANTED != 0 {
            return Err(LinkError::UnknownFlags(flags));
        }
        let Some((header, length)) = take_length(&buffer[1..], max_batch_bytes)? else {
            return Ok(None);
        };
        if buffer.len() < 1 + header + length {
            return Ok(None);
        }
        buffer.advance(1 + header);
        Ok(Some(Self { ack_wanted: flags & LANE_ACK_WANTED != 0, batch: buffer.split_to(length).freeze() }))
    }
}

/// (bytes of the varint, its value), or `None` while the varint is incomplete.
fn take_length(buffer: &[u8], limit: usize) -> Result<Option<(usize, usize)>, LinkError> {
    let mut value = 0_u64;
    for (index, &byte) in buffer.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return match usize::try_from(value) {
                Ok(length) if length <= limit => Ok(Some((index + 1, length))),
                _ => Err(LinkError::TooLong { length: value, limit }),
            };
        }
    }
    if buffer.len() >= 5 { Err(LinkError::BadLength) } else { Ok(None) }
}

/// # Errors
/// [`LinkError::BadRange`] for a range that ends before it starts.
pub fn ranges_from_message(ranges: &[message::Range]) -> Result<RangeSet, LinkError> {
    ranges
        .iter()
        .map(|range| {
            SequenceRange::new(range.first, range.last)
                .ok_or(LinkError::BadRange { first: range.first, last: range.last })
        })
        .collect()
}

#[must_use]
pub fn ranges_to_message(ranges: &RangeSet) -> Vec<message::Range> {
    ranges.ranges().iter().map(|range| message::Range { first: range.first(), last: range.last() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_split_anywhere_arrives_once_and_whole() {
        let hello = ToCloud {
            message: Some(to_cloud::Message::Hello(Hello {
                protocol: PROTOCOL,
                epoch: 7,
                next_sequence: 300,
                held: vec![message::Range { first: 10, last: 299 }],
                agent_version: "0.1.0".into(),
                boot_id: 1,
                batch_versions: vec![1],
                ..Hello::default()
            })),
        };
        let bytes = frame_message(&hello);
        for cut in 0..bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..cut]);
            assert_eq!(take_message::<ToCloud>(&mut buffer).unwrap(), None);
            buffer.extend_from_slice(&bytes[cut..]);
            assert_eq!(take_message::<ToCloud>(&mut buffer).unwrap().as_ref(), Some(&hello));
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_the_bytes_arrive() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0x0f][..]);
        assert!(matches!(take_message::<ToCloud>(&mut buffer), Err(LinkError::TooLong { .. })));
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(take_message::<ToCloud>(&mut buffer), Err(LinkError::BadLength));
    }

    #[test]
    fn a_lane_with_unknown_flags_is_refused() {
        let mut buffer = BytesMut::from(&[0x80, 1, 0][..]);
        assert_eq!(LaneFrame::take(&mut buffer, 100), Err(LinkError::UnknownFlags(0x80)));
    }

    proptest! {
        #[test]
        fn lane_frames_survive_any_cut(batches in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 1..6), step in 1_usize..50) {
            let frames: Vec<LaneFrame> = batches.into_iter().map(|(ack_wanted, batch)| LaneFrame { ack_wanted, batch: batch.into() }).collect();
            let mut wire = BytesMut::new();
            for frame in &frames {
                frame.write(&mut wire);
            }
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for chunk in wire.chunks(step) {
                buffer.extend_from_slice(chunk);
                loop {
                    let announced = LaneFrame::announced(&buffer, 1000).unwrap();
                    let before = buffer.len();
                    let Some(frame) = LaneFrame::take(&mut buffer, 1000).unwrap() else { break };
                    prop_assert_eq!(announced, Some(before - buffer.len()));
                    got.push(frame);
                }
            }
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = take_message::<ToCloud>(&mut BytesMut::from(&bytes[..]));
            let _ = LaneFrame::take(&mut BytesMut::from(&bytes[..]), 100);
        }
    }
}
