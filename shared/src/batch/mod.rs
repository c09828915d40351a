//! The wire batch: what a vehicle uploads, and what the journal keeps as it came.
//!
//! A batch holds consecutive fixes of one epoch and decodes alone. Values are predicted (position by dead
//! reckoning), and the residuals go through an adaptive binary range coder that starts from compiled, trained
//! priors. What went in comes out equal. All of it is integer arithmetic, bounded before any work is done, and
//! vouched for by a CRC over the decoded values. `docs/wire-batch.md` specifies the format for other languages.
//!
//! It does not choose which fixes are worth sending, and it does not encrypt or sign.

mod coder;
mod extras;
mod frame;
mod geometry;
mod predict;
mod priors;
mod row;
mod symbol;
pub mod training;
mod walk;

pub use frame::begins_with;

use crate::fix::Fix;
use crate::sequence::{Epoch, SequenceRange};

/// Fixes in one batch, at most.
pub const MAX_FIXES: usize = 4096;
/// Encoded bytes of one batch, at most.
pub const MAX_BYTES: usize = 256 * 1024;

/// The formats that this build writes and reads: 2 when a fix has one of the optional columns, else 1.
pub const FORMATS: [u8; 2] = [1, 2];

/// A decoded batch: `fixes[i]` has sequence number `first + i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub epoch: Epoch,
    pub first: u64,
    /// Which boot the fixes' `uptime` counts from; present when any fix has one.
    pub boot_id: Option<u32>,
    pub fixes: Vec<Fix>,
}

/// What can be known of a batch without decoding its fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub epoch: Epoch,
    pub range: SequenceRange,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("a batch holds 1 to {MAX_FIXES} fixes, not {0}: split it")]
    Count(usize),
    #[error("{count} fixes from sequence {first} run past the last sequence number: start a new epoch")]
    SequenceOverflow { first: u64, count: usize },
    #[error("a fix has an uptime and the batch names no boot: set `boot_id`")]
    UptimeWithoutBoot,
    #[error("the encoded batch exceeds {MAX_BYTES} bytes: put fewer fixes into it")]
    TooLong,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error(
        "not a batch: it begins with byte {0:#04x} instead of 0xa1 or 0xa2 (is this another message, or shifted?)"
    )]
    NotABatch(u8),
    #[error(
        "batch format {0} is unknown to this build, which reads formats 1 and 2: upgrade the reader; keep the batch"
    )]
    UnknownVersion(u8),
    #[error(
        "the batch ends too early, after {length} bytes: it was cut in transport or storage; ask for it again"
    )]
    Truncated { length: usize },
    #[error("{length} bytes exceed the {MAX_BYTES} a batch may have: the sender is broken or hostile")]
    TooLong { length: usize },
    #[error(
        "a batch holds 1 to {MAX_FIXES} fixes, this claims {0}: it is damaged, or the sender is broken or hostile"
    )]
    Count(u64),
    #[error("{count} fixes from sequence {first} run past the last sequence number: it is damaged or forged")]
    SequenceOverflow { first: u64, count: u64 },
    #[error("{0}, which no encoder writes: the batch is damaged; ask for it again")]
    Malformed(&'static str),
    #[error(
        "bytes follow the coded fixes: two messages ran together, or the batch is damaged; ask for it again"
    )]
    TrailingBytes,
    #[error("checksum {found:08x} instead of {expected:08x}: the batch is damaged; ask for it again")]
    Checksum { expected: u32, found: u32 },
}

/// Encodes a batch into one frame.
///
/// # Errors
/// [`EncodeError`] when the batch is empty or exceeds a limit, or when an uptime has no boot to count from.
pub fn encode(batch: &Batch) -> Result<Vec<u8>, EncodeError> {
    frame::encode(batch)
}

/// Decodes one whole frame: limits first, then the fixes, then the CRC over them. Memory is bounded by
/// [`MAX_FIXES`] whatever the bytes say.
///
/// # Errors
/// [`DecodeError`]; nothing of a batch that fails is returned.
pub fn decode(bytes: &[u8]) -> Result<Batch, DecodeError> {
    frame::decode(bytes)
}

/// The format that the frame says it has, which may be one that this build does not read.
///
/// # Errors
/// [`DecodeError::Truncated`] or [`DecodeError::NotABatch`].
pub fn format(bytes: &[u8]) -> Result<u8, DecodeError> {
    frame::format(bytes)
}

/// Reads the frame's header only; its CRC is not checked.
///
/// # Errors
/// See [`DecodeError`].
pub fn peek(bytes: &[u8]) -> Result<Header, DecodeError> {
    frame::peek(bytes)
}

#[cfg(test)]
mod tests;
