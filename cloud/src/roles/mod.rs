//! What one process can be. Each role wires parts together and holds no logic of its own.

pub mod all;
pub mod journal;
mod renewal;
