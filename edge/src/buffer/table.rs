//! What the buffer asks of a store on flash. Small, so that another one can take sled's place.

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error(
        "the buffer in {path} is in use by another avl-edge: stop that one first, or give this one its own state_dir"
    )]
    Locked { path: String },
    #[error(
        "the buffer on flash cannot be read or written: {0}: check that the disk is mounted writable and has free space"
    )]
    Io(#[source] std::io::Error),
    #[error("the buffer on flash is damaged: {0}")]
    Corrupt(String),
}

/// One change: all of it happens, or none.
#[derive(Debug, Default)]
pub struct Change {
    /// The new state record. `None`: the old one stays.
    pub state: Option<Vec<u8>>,
    /// New blocks, each under the number of its first fix.
    pub put: Vec<Entry>,
    pub remove: Vec<u64>,
}

/// When a change must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When `commit` returns.
    Now,
    /// Some time later. Losing it must be harmless; half of it is never seen.
    Later,
}

/// A block and the key it is stored under.
pub type Entry = (u64, Vec<u8>);

/// An ordered map from first sequence number to block, and one state record, changed together.
pub trait Table: Send {
    /// # Errors
    /// When the store cannot be read.
    fn state(&self) -> Result<Option<Vec<u8>>, TableError>;

    /// # Errors
    /// When the change did not become as durable as asked. It may still be there after a restart.
    fn commit(&mut self, change: Change, durability: Durability) -> Result<(), TableError>;

    /// The block with the greatest key that is not above `first`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn at_or_before(&self, first: u64) -> Result<Option<Entry>, TableError>;

    /// The block with the smallest key that is not below `first`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn at_or_after(&self, first: u64) -> Result<Option<Entry>, TableError>;
}
