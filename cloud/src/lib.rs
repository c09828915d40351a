//! The fleet cloud: takes batches from vehicles, makes them durable, turns them into rows, and serves them.

pub mod api;
pub mod data_dir;
pub mod fleet;
pub mod live;
pub mod store;
pub mod time;
