//! A virtual GNSS receiver: a serial device (a pty) that prints NMEA as a real one does.
//!
//! It replays a log, byte for byte as recorded, or drives a simulated route. It never blocks for ever when
//! nobody reads, it survives readers that are killed (the port does not hang up), and it remembers when it
//! printed what, which is what the oracle needs to judge a reader's durable claims.

mod feed;
mod port;
mod printer;
pub mod ublox;

pub use feed::{Burst, Feed};
pub use printer::{Pace, Printed, VirtualReceiver};
