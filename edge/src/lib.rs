//! The vehicle's side: from the receiver's bytes to fixes that are buffered and forwarded.
//!
//! `source` delivers bytes, `receiver` makes fixes of them; the binary `avl-edge` is a thin shell around this crate.

pub mod buffer;
pub mod clock;
pub mod config;
pub mod control;
pub mod enrol;
mod fix_json;
pub mod health;
pub mod https;
pub mod identity;
pub mod policy;
pub mod receiver;
pub mod run;
pub mod sensors;
pub mod source;
pub mod thinning;
pub mod uplink;

pub use fix_json::{FixRow, fix_json};
