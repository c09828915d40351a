//! Placeholder.
use super::symbol::{CONTEXTS, DECIMALS};
pub(crate) static PRIORS: [u32; CONTEXTS] = [0x8000_01FF; CONTEXTS];
pub(crate) static EXPECTED: [[u32; 10]; DECIMALS] = [[64; 10]; DECIMALS];
