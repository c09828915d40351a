//! A UDP relay between vehicles and the cloud that does what cellular links do: it cuts, delays, loses, and
//! changes the address a vehicle is seen from. No privileges needed; every roll of the dice is seeded. A
//! [`Namespace`] has real interfaces instead, for what a relay cannot show.
//! A [`TcpRelay`] cuts and swallows connections.

mod namespace;
mod relay;
mod tcp;

pub use namespace::{Carried, Namespace, Way};
pub use relay::{Impairment, Relay};
pub use tcp::{Passage, TcpRelay};
