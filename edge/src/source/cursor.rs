//! Where to take up a replay so that it goes on with the very next fix.

use serde::{Deserialize, Serialize};

use crate::receiver::ResumePoint;

/// Opaque to whoever keeps it. Small (about 200 bytes), compared by value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayCursor {
    /// Tells the file it belongs to from another one under the same name: see [`super::replay`].
    pub(super) head: FileHead,
    pub(super) resume: ResumePoint,
}

/// The first bytes of a log, hashed: a log that has grown keeps its head, another log has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileHead {
    pub(super) bytes: u32,
    pub(super) hash: u64,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the stored replay cursor cannot be read ({0}): it was written by another version, or damaged; without it the replay starts at its beginning"
)]
pub struct CursorError(#[from] serde_json::Error);

impl ReplayCursor {
    /// Bytes of the log that lie behind; everything before has become a fix or will never be one.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.resume.offset
    }

    /// For the store. [`ReplayCursor::from_bytes`] is its inverse.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Plain structs of integers: there is nothing in them that JSON could refuse.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// # Errors
    /// When the bytes are not a cursor of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CursorError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}
