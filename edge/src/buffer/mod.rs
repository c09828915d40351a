//! Store-and-forward: every fix is on flash before it may be sent, and stays there until the cloud has it.
//!
//! The unit on flash is a block: one wire batch of up to [`BLOCK_FIXES`] fixes, under the number of its first
//! fix. One state record goes with them (epoch, next number, numbers still held, losses to declare, what may have been
//! sent, where the source continues). Blocks and record change together or not at all; an append that changes nothing
//! else is its block alone, which says all that the record would (`outbox/catch_up.rs`), because two things that change
//! together cost two pages of flash.
//!
//! # What always holds
//!
//! 1. A fix with a number is on flash. Numbers start at 0 and have no gaps.
//! 2. A number is never given out twice within an epoch: what gives it to a fix is the change that puts the fix on flash.
//! 3. The source's cursor is in that change too, so a replay that is killed goes on exactly where the flash ends.
//! 4. Every number below `next` is in exactly one place: held here, declared or to be declared lost, or durable in the cloud.
//! 5. Only the cloud's word ([`Outbox::forget`]) ends the first two; only a full buffer, damage, failing flash or a
//!    refusal moves a number to lost, and then it is kept as lost until the cloud has acknowledged that.
//! 6. The newest block stays, acknowledged or not, until there is a newer one: "the newest durable fix" has always an answer.
//! 7. A fix is never sent under two numbers: what may have been sent is not thinned, and says so on flash before it is sent.
//!
//! # What can go wrong, and what happens then
//!
//! - *The process is killed between a change and its caller learning of it.* The change is there at the next start,
//!   numbers and cursor included; nothing is read from the source twice.
//! - *The power is cut.* What was not yet synced (at most the durability period) was never numbered for anyone.
//! - *The effect of `forget` is lost* (it is not synced). The blocks come back as held and are sent again; the cloud drops them.
//! - *The buffer is full, or little is free beside it.* Old tracks are thinned by shape (reason `THINNED`), then the oldest
//!   blocks go (`BUFFER_FULL`), in the same change as the append that needed the room ([`outbox`]).
//! - *A write fails* (disk full, read-only, broken). The store is closed, fixes wait in bounded memory without
//!   numbers, and opening is tried again. What memory has no room for gets numbers and is lost, reason `STORAGE` ([`keeper`]).
//! - *A block fails its checksum.* It is set aside, its numbers are lost, reason `CORRUPTION`, and reading goes on behind it.
//! - *The store cannot be opened at all.* It is set aside and a new one starts under a new epoch, so that no number can
//!   mean two fixes. What is whole of it is delivered under the old epoch, the rest of that is lost, reason
//!   `CORRUPTION` ([`salvage`]).
//! - *The state directory was restored from a copy.* The store lies on another file than it was written to: it is
//!   delivered under its epoch, and new fixes get a new one ([`epochs`]).

mod attic;
mod block;
mod config;
mod ends;
mod epochs;
mod extent;
mod gauge;
mod keeper;
mod open;
mod outbox;
mod pending;
mod salvage;
mod service;
mod sled_table;
mod space;
mod state;
mod table;
#[cfg(test)]
mod testing;
mod view;
mod wear;

pub use attic::Attic;
pub use config::BufferConfig;
pub use epochs::{OldEpoch, waiting as old_epochs};
pub use open::{OpenError, Opened, SetAsideStore, directory, inspect, open};
pub use outbox::{Bounds, BufferError, Outbox, SetAside, Status, Upload, UploadLimits};
pub use salvage::Salvaged;
pub use service::{Buffer, BufferThread};
pub use sled_table::SledTable;
pub use space::taken_bytes;
pub use state::{Losses, State};
pub use table::{Change, Durability, Entry, Table, TableError};
pub use view::{FlashView, StoreState};
pub use wear::{Written, read as bytes_written};

/// Fixes in one block, at most. With 60 fixes a key, 2.5 times what the fixes weigh is written; with five, 6.5 times.
pub const BLOCK_FIXES: usize = 60;
