//! Bytes of a GNSS receiver → sentences → epochs → fixes.

use serde::{Deserialize, Serialize};

/// What a stream of bytes was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Sentences with a valid checksum, of whatever type.
    pub sentences: u64,
    /// Sentences whose checksum is wrong or missing.
    pub bad_checksums: u64,
    /// Of the valid sentences, those of a type that is not used.
    pub unknown: u64,
    /// Bytes that belong to no sentence.
    pub garbage_bytes: u64,
    pub fixes: u64,
}

/// From here a recorded stream can be read again with the very next fix as its first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumePoint {
    pub offset: u64,
}
