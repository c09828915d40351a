//! Why the cloud closes a connection: the application close code and the text that the vehicle's log will show.

use avl_shared::link::{CLOSE_REVOKED, LinkError, PROTOCOL};
use avl_shared::sequence::Epoch;
use quinn::{Connection, VarInt};

use crate::store::MAX_SEQUENCE;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("server is stopping: reconnect")]
    Draining,
    #[error(
        "a newer connection of the same vehicle took over; if this repeats, two gateways share one certificate"
    )]
    Replaced,
    #[error("no hello in time")]
    NoHello,
    #[error("{0}")]
    Identity(String),
    #[error("link protocol {0} is not spoken here, {PROTOCOL} is: update the older side")]
    Protocol(u32),
    #[error("{0}")]
    Link(#[from] LinkError),
    #[error("a second hello on one connection: the vehicle is broken")]
    SecondHello,
    #[error(
        "batch of epoch {found} on a connection of epoch {expected}: say hello with the new epoch on a new connection"
    )]
    OtherEpoch { expected: Epoch, found: Epoch },
    #[error("sequence numbers exceed {MAX_SEQUENCE}: the vehicle is broken")]
    SequenceOverflow,
    #[error("a frame or message was begun and not finished in time")]
    Stalled,
    #[error("a stream ended in the middle of a frame or message")]
    Truncated,
    #[error("the vehicle does not read what the cloud sends")]
    NotReading,
    #[error("the cloud cannot store data now: reconnect later")]
    Unavailable,
    #[error("{0}")]
    Revoked(String),
}

impl CloseReason {
    /// Stable numbers: vehicles in the field know them.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Draining => 1,
            Self::Replaced => 2,
            Self::NoHello => 3,
            Self::Identity(_) => 4,
            Self::Protocol(_) => 5,
            Self::Link(LinkError::UnknownFlags(_)) => 7,
            Self::Link(_) => 6,
            Self::SecondHello => 8,
            Self::OtherEpoch { .. } => 9,
            Self::SequenceOverflow => 10,
            Self::Stalled => 11,
            Self::Truncated => 12,
            Self::NotReading => 13,
            Self::Unavailable => 14,
            Self::Revoked(_) => CLOSE_REVOKED,
        }
    }

    /// The metric's label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Replaced => "replaced",
            Self::NoHello => "no_hello",
            Self::Identity(_) => "identity",
            Self::Protocol(_) => "protocol",
            Self::Link(LinkError::UnknownFlags(_)) => "unknown_flags",
            Self::Link(_) => "malformed",
            Self::SecondHello => "second_hello",
            Self::OtherEpoch { .. } => "other_epoch",
            Self::SequenceOverflow => "sequence_overflow",
            Self::Stalled => "stalled",
            Self::Truncated => "truncated",
            Self::NotReading => "not_reading",
            Self::Unavailable => "unavailable",
            Self::Revoked(_) => "revoked",
        }
    }

    pub(super) fn close(&self, connection: &Connection) {
        connection.close(VarInt::from_u32(self.code()), self.to_string().as_bytes());
    }
}
