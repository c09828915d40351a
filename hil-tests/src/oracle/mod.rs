//! The oracle: outside the system, it knows what the receiver printed and reads what the API returns.
//!
//! [`truth`] parses the printed text with a parser of its own (never the agent's), [`api`] reads the cloud as
//! any client would, [`verdict`] compares the two: every fix exactly once, equal at receiver resolution, none
//! that was not printed.

pub mod api;
pub mod topic;
pub mod truth;
pub mod verdict;
