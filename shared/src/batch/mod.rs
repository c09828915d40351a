//! The wire batch: what a vehicle uploads, and what the journal keeps as it came.
//!
//! Placeholder text for the module documentation; the codec's author replaces this file.

use crate::fix::Fix;
use crate::sequence::{Epoch, SequenceRange};

/// Fixes in one batch, at most.
pub const MAX_FIXES: usize = 4096;
/// Encoded bytes of one batch, at most.
pub const MAX_BYTES: usize = 256 * 1024;

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
    #[error("a batch holds 1 to {MAX_FIXES} fixes, not {0}")]
    Count(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("unknown batch version {0}")]
    UnknownVersion(u8),
}

/// # Errors
/// See [`EncodeError`].
pub fn encode(_batch: &Batch) -> Result<Vec<u8>, EncodeError> {
    Err(EncodeError::Count(0))
}

/// # Errors
/// See [`DecodeError`].
pub fn decode(_bytes: &[u8]) -> Result<Batch, DecodeError> {
    Err(DecodeError::UnknownVersion(0))
}

/// Reads the frame's header only; its CRC is not checked.
///
/// # Errors
/// See [`DecodeError`].
pub fn peek(_bytes: &[u8]) -> Result<Header, DecodeError> {
    Err(DecodeError::UnknownVersion(0))
}
