//! What thinning or an interval held back stays on the vehicle, for whoever asks for it later.
//!
//! A ring of segment files holds wire batches, oldest dropped first ([`ring`]); `recall` gives the fixes of
//! a period numbers and puts them into the buffer, each once however often it is asked for. Not a tree of sled: fixes
//! only ever come at one end and go at the other, and a file that grows writes each byte about once.
//!
//! It promises: a torn last write costs that write and nothing else; a damaged block is skipped and counted; a disk
//! that refuses is reported and costs held-back fixes, never kept ones. At most `history.durability` of them are in
//! memory only.

mod recalled;
pub mod ring;
mod service;

pub use recalled::Recalls;
pub use ring::RingError;
pub use service::{History, HistoryHandle, HistoryView, RecallError, Recalled};
