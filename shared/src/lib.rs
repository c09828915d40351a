//! What the vehicle and the cloud must agree on, and nothing else.
//!
//! A [`fix::Fix`] is one GNSS epoch as the receiver printed it. Fixes travel in [`batch`]es, are counted
//! by [`sequence`] ranges, are acknowledged by [`link`] messages, over connections that [`tls`] configures
//! and [`identity`] names; what the cloud publishes of them is a [`record`]. Nothing here does I/O.

pub mod batch;
pub mod enrolment;
pub mod fix;
pub mod identity;
pub mod link;
pub mod odometry;
pub mod record;
pub mod release;
pub mod renewal;
pub mod sequence;
pub mod tls;
