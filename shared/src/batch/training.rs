//! What the trainer of priors needs to see: every decision an encoder makes, and what each prediction was off by.
//!
//! Only `train-priors` uses this; nothing at run time does.

use super::Batch;
use super::coder::Coder;
pub use super::coder::Probability;
use super::frame;
pub use super::symbol::{CONTEXTS, DECIMALS};

/// The decisions of one batch, in order.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Context and bit.
    pub decisions: Vec<(u16, bool)>,
    /// Bits that no context predicts.
    pub raw_bits: u64,
    /// For each fix: decimals of each column, and what its prediction was off by.
    pub residuals: Vec<([u8; DECIMALS], [i64; DECIMALS])>,
}

impl Coder for Record {
    fn bit(&mut self, context: usize, bit: bool) -> bool {
        self.decisions.push((u16::try_from(context).unwrap_or(u16::MAX), bit));
        bit
    }

    fn raw_bit(&mut self, bit: bool) -> bool {
        self.raw_bits += 1;
        bit
    }
}

/// Walks a batch as the encoder would.
#[must_use]
pub fn record(batch: &Batch) -> Record {
    let mut record = Record::default();
    let mut residuals = Vec::with_capacity(batch.fixes.len());
    // Only decoders meet malformed symbols.
    let _ = frame::code_batch(&mut record, batch, false, |walk| {
        residuals.push((*walk.profile(), walk.residuals()));
    });
    record.residuals = residuals;
    record
}

/// The table that encoder and decoder start from.
#[must_use]
pub fn priors() -> Vec<Probability> {
    super::priors::PRIORS.iter().map(|word| Probability::unpack(*word)).collect()
}

/// What a context belongs to, for reports.
#[must_use]
pub fn name(context: usize) -> String {
    super::symbol::layout::name(context)
}
