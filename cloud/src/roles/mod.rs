//! What one process can be. Each role is a list of parts and holds no logic of its own.
//!
//! [`server`] is what all of them begin with and end in; `journal`, `store` and `fleet` open what a role works on,
//! waiting for what is away; `intake`, `processing` and `serving` are the three sides of the cloud.

pub mod aggregate;
pub mod all;
pub mod api;
pub mod ca;
mod fleet;
mod identity;
mod intake;
pub mod journal;
pub mod mobile_api;
mod parts;
pub mod process;
mod processing;
pub mod replay;
mod server;
mod serving;
mod store;
