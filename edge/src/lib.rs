//! The vehicle's side: from the receiver's bytes to fixes that are buffered and forwarded.
//!
//! `source` delivers bytes, `receiver` makes fixes of them; the binary `avl-edge` is a thin shell around this crate.

pub mod receiver;
pub mod source;
