//! What the agent knows about itself, for whoever asks.
//!
//! Each part writes its own view to the [`Board`] when it changes; readers take a copy and hold nothing up. The board is
//! for people and metrics: no decision of the agent depends on it.
//!
//! [`Report`] joins the board with the buffer's status and the process's own figures to one JSON [`document`](Report::document),
//! [`server`] offers it on a unix socket, [`client`] asks for it, [`Seen`] reads it again (also one of another version),
//! [`judge`] says what is wrong with it. Nothing here may stop the agent: a socket that cannot be made is a warning.

mod board;
pub mod client;
mod config;
pub mod doctor;
mod document;
pub mod judge;
pub mod log;
pub mod metrics;
pub mod monitor;
mod process;
mod seen;
pub mod server;
mod service;
pub mod summary;
pub mod watchdog;
pub mod words;

pub use board::{Board, View};
pub use config::HealthConfig;
pub use document::{DOCUMENT_VERSION, Report};
pub use process::ProcessFacts;
pub use seen::Seen;
pub use service::{Parts, Service};
