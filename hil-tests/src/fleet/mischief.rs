//! What a bad network or a careless client does to batches: they come twice, and in another order.

use avl_shared::link::LaneFrame;
use bytes::BytesMut;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Part of the batches that wait behind their successor.
const LATE: f64 = 0.3;
/// Part of the batches that are sent twice.
const TWICE: f64 = 0.2;

#[derive(Debug)]
pub(super) struct Mischief {
    rng: StdRng,
    late: Option<LaneFrame>,
}

impl Mischief {
    pub(super) fn seeded(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), late: None }
    }

    /// On a new connection everything is sent again.
    pub(super) fn forget(&mut self) {
        self.late = None;
    }

    /// A batch that wants an acknowledgement is never held back: nobody would ask about those before it.
    pub(super) fn write(&mut self, frame: LaneFrame, wire: &mut BytesMut) {
        if !frame.ack_wanted && self.late.is_none() && self.rng.random_bool(LATE) {
            self.late = Some(frame);
            return;
        }
        let late = self.late.take();
        if let Some(late) = late.as_ref().filter(|_| frame.ack_wanted) {
            late.write(wire);
        }
        if self.rng.random_bool(TWICE) {
            LaneFrame { ack_wanted: false, batch: frame.batch.clone() }.write(wire);
        }
        frame.write(wire);
        if let Some(late) = late.filter(|_| !frame.ack_wanted) {
            late.write(wire);
        }
    }
}
