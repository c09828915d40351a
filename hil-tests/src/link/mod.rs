//! A UDP relay between vehicles and the cloud that does what cellular links do: it cuts, delays, loses, and
//! changes the address a vehicle is seen from. No privileges needed; every roll of the dice is seeded.

mod relay;

pub use relay::{Impairment, Relay};
