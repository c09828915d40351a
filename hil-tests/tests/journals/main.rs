//! What every journal must do, tried on the embedded one and on a real Kafka, and what Kafka must do in trouble.
//!
//! The one place where the cloud is used as a library: a promise between its parts is tried, not the program.

// This crate is all tests; clippy grants the licence to `#[test]` functions only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod embedded;
mod group;
mod kafka;
mod published;
