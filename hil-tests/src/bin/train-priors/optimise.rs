//! Finds, for each context, the starting probability, confidence and memory that code the training batches shortest.

use avl_shared::batch::training::{CONTEXTS, Probability, Record};

/// A batch begins: the context starts again from its prior.
const START: u8 = 2;
const CONFIDENCES: [u8; 9] = [0, 1, 2, 4, 8, 16, 32, 64, 128];
const LIMITS: [u8; 4] = [30, 60, 120, 250];
/// Contexts seen less often than this borrow their neighbour's shape through a weak prior.
const RARE: usize = 8;

/// Every context's bits over all batches.
pub(crate) struct Sequences {
    bits: Vec<Vec<u8>>,
    used_in: Vec<u32>,
    batch: u32,
}

impl Default for Sequences {
    fn default() -> Self {
        Self { bits: vec![Vec::new(); CONTEXTS], used_in: vec![0; CONTEXTS], batch: 0 }
    }
}

impl Sequences {
    pub(crate) fn add(&mut self, record: &Record) {
        self.batch += 1;
        for &(context, bit) in &record.decisions {
            let context = usize::from(context);
            if self.used_in[context] != self.batch {
                self.used_in[context] = self.batch;
                self.bits[context].push(START);
            }
            self.bits[context].push(u8::from(bit));
        }
    }

    /// One prior for each context.
    pub(crate) fn optimise(&self) -> Vec<Probability> {
        let cost = CostTable::new();
        self.bits.iter().map(|bits| best(bits, &cost)).collect()
    }
}

/// Bits spent on an event of a 16-bit probability.
pub(crate) struct CostTable(Vec<f32>);

impl CostTable {
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    pub(crate) fn new() -> Self {
        Self((0..=65_535_u32).map(|p| -(f64::from(p.max(1)) / 65_536.0).log2() as f32).collect())
    }

    pub(crate) fn of(&self, probability: Probability, bit: bool) -> f32 {
        let one = probability.clamped();
        self.0[usize::from(if bit { one } else { u16::MAX - one })]
    }
}

fn total(bits: &[u8], prior: Probability, cost: &CostTable) -> f64 {
    let mut state = prior;
    let mut sum = 0.0;
    for &bit in bits {
        if bit == START {
            state = prior;
        } else {
            sum += f64::from(cost.of(state, bit == 1));
            state.learn(bit == 1);
        }
    }
    sum
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn best(bits: &[u8], cost: &CostTable) -> Probability {
    let ones = bits.iter().filter(|bit| **bit == 1).count() as f64;
    let zeros = bits.iter().filter(|bit| **bit == 0).count() as f64;
    let mean = (ones + 0.5) / (ones + zeros + 1.0);
    let probability = |share: f64| (share * 65_536.0).clamp(1.0, 65_535.0) as u16;
    if ones + zeros < RARE as f64 {
        return Probability { one: probability(mean), seen: 1, limit: 60 };
    }
    let mut winner = Probability { one: probability(mean), seen: 8, limit: 120 };
    let mut least = f64::INFINITY;
    let mut consider = |candidate: Probability, winner: &mut Probability| {
        let sum = total(bits, candidate, cost);
        if sum < least {
            least = sum;
            *winner = candidate;
        }
    };
    for limit in LIMITS {
        for seen in CONFIDENCES.into_iter().filter(|seen| *seen <= limit) {
            consider(Probability { one: probability(mean), seen, limit }, &mut winner);
        }
    }
    // The best start is not the mean when long batches differ from short ones: search in log-odds.
    let mut stride = 0.8;
    while stride > 0.05 {
        let odds = (f64::from(winner.one) / (65_536.0 - f64::from(winner.one))).ln();
        for shifted in [odds - stride, odds + stride] {
            let share = 1.0 / (1.0 + (-shifted).exp());
            consider(Probability { one: probability(share), ..winner }, &mut winner);
        }
        stride /= 2.0;
    }
    let limit = winner.limit;
    for seen in CONFIDENCES.into_iter().filter(|seen| *seen <= limit) {
        consider(Probability { seen, ..winner }, &mut winner);
    }
    winner
}
