//! Store-and-forward: every fix is on flash before it may be sent, and stays there until the cloud has it.
//!
//! The unit on flash is a block: one wire batch of up to [`BLOCK_FIXES`] fixes, under the number of its first
//! fix. One state record goes with them (epoch, next number, numbers still held, losses to declare, where the
//! source continues). Blocks and record change together or not at all.
//!
//! # What always holds
//!
//! 1. A fix that [`Outbox::append`] has returned for is on flash, with its number. Numbers start at 0 and have no gaps.
//! 2. A number is never given out twice within an epoch: `next` is in the same atomic change as the fixes.
//! 3. The source's cursor is in that change too, so a replay that is killed goes on exactly where the flash ends.
//! 4. Every number below `next` is in exactly one place: held here, declared or to be declared lost, or durable in the cloud.
//! 5. Only the cloud's word ([`Outbox::forget`]) ends the first two; only a full buffer, damage or a refusal
//!    moves a number from held to lost, and then it is kept as lost until the cloud has acknowledged that.
//! 6. The newest block stays, acknowledged or not, until there is a newer one: "the newest durable fix" has always an answer.
//!
//! # What can go wrong, and what happens then
//!
//! - *The process is killed between a change and its caller learning of it.* The change is there at the next start,
//!   numbers and cursor included; nothing is read from the source twice.
//! - *The power is cut.* What was not yet synced (at most the durability period) was never numbered for anyone.
//! - *The effect of `forget` is lost* (it is not synced). The blocks come back as held and are sent again; the cloud drops them.
//! - *The buffer is full.* The oldest block goes, in the same change as the append that needed its room, and its
//!   numbers are lost, reason `BUFFER_FULL`.
//! - *A block fails its checksum.* It is set aside, its numbers are lost, reason `CORRUPTION`, and reading goes on behind it.
//! - *The store cannot be opened at all.* It is set aside whole and a new one starts under a new epoch, so that no
//!   number can mean two fixes. (The old epoch's unsent numbers are not declared yet.)
//! - *A write fails* (disk full or read-only). The error goes up and the agent stops: sled takes no more writes after one failed.

mod attic;
mod open;
mod outbox;
mod service;
mod sled_table;
mod state;
mod table;

pub use attic::Attic;
pub use open::{OpenError, Opened, inspect, open};
pub use outbox::{BufferError, Outbox, SetAside, Status, Upload, UploadLimits};
pub use service::{Buffer, BufferThread};
pub use sled_table::SledTable;
pub use state::{Losses, State};
pub use table::{Change, Durability, Entry, Table, TableError};

/// Fixes in one block, at most. With 60 fixes a key, flash is written 6.5 times what the fixes weigh; with one, 93 times.
pub const BLOCK_FIXES: usize = 60;
