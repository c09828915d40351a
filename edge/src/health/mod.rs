//! What the agent knows about itself, for whoever asks.
//!
//! Each part writes its own view to the [`Board`] when it changes; readers take a copy and hold nothing up. The board is
//! for people and metrics: no decision of the agent depends on it.

mod board;

pub use board::{Board, View};
