//! The fleet cloud: takes batches from vehicles, makes them durable, turns them into rows, and serves them.

pub mod api;
pub mod audit;
pub mod config;
pub mod data_dir;
pub mod event;
pub mod fleet;
pub mod health;
pub mod ingest;
pub mod journal;
pub mod live;
pub mod meters;
pub mod outlet;
pub mod process;
pub mod roles;
pub mod store;
pub mod time;
