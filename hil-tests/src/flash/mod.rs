//! What a power cut leaves of a program's files.
//!
//! [`trace`] preloads a small library into the real program, which writes down every write, sync and change of names
//! in a folder, in order. [`Disk`] replays it up to any moment and makes the image that a cut at that moment may
//! leave: what was synced, a random choice of the sectors that were not, the last one torn, and names only as far as
//! their folder was synced.

mod disk;
mod trace;

pub use disk::Disk;
pub use trace::{Event, Tracer, read};
