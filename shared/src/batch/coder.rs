//! The entropy stage: a binary range coder with carry, and the adaptive probability of one context.
//!
//! Encoder and decoder share one trait, so a batch is described once and both directions walk the same
//! description. Integers only: every platform computes the same bits.

use super::priors::PRIORS;
use super::symbol::{CONTEXTS, extra};

/// Probabilities are 16 bits wide and never closer to certainty than this: a surprise then costs at most 11 bits.
const FLOOR: u16 = 32;
/// Below this the range is widened by a byte.
const RENORMALISE_BELOW: u32 = 1 << 24;

/// 65536 / (n + 1.5): the step of a Krichevsky–Trofimov estimator that has seen `n` bits.
static STEP: [u16; 256] = steps();

const fn steps() -> [u16; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        #[allow(clippy::cast_possible_truncation)]
        let step = (131_072 / (2 * n + 3)) as u16;
        table[n] = step;
        n += 1;
    }
    table
}

/// The probability that the next bit of a context is 1, how many bits stand behind it, and how many ever may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probability {
    pub one: u16,
    pub seen: u8,
    pub limit: u8,
}

impl Probability {
    /// As the generated table holds it: probability, confidence and limit in one word.
    #[must_use]
    pub const fn unpack(word: u32) -> Self {
        let [one_high, one_low, seen, limit] = word.to_be_bytes();
        Self { one: u16::from_be_bytes([one_high, one_low]), seen, limit }
    }

    #[must_use]
    pub const fn pack(self) -> u32 {
        let [one_high, one_low] = self.one.to_be_bytes();
        u32::from_be_bytes([one_high, one_low, self.seen, self.limit])
    }

    /// What the coder uses: kept away from 0 and 1.
    #[must_use]
    pub fn clamped(self) -> u16 {
        self.one.clamp(FLOOR, u16::MAX - FLOOR)
    }

    pub fn learn(&mut self, bit: bool) {
        let step = u32::from(STEP[usize::from(self.seen)]);
        #[allow(clippy::cast_possible_truncation)] // the product of two 16-bit numbers, shifted by 16
        if bit {
            self.one += ((u32::from(u16::MAX - self.one) * step) >> 16) as u16;
        } else {
            self.one -= ((u32::from(self.one) * step) >> 16) as u16;
        }
        if self.seen < self.limit {
            self.seen += 1;
        }
    }
}

/// One direction of the codec. An encoder writes what it is given and returns it; a decoder ignores what it is
/// given and returns what it read.
pub(crate) trait Coder {
    fn bit(&mut self, context: usize, bit: bool) -> bool;

    /// One bit that no context can predict.
    fn raw_bit(&mut self, bit: bool) -> bool;

    /// The low `count` bits of `value`, most significant first.
    fn raw(&mut self, value: u64, count: u32) -> u64 {
        let mut read = 0;
        for shift in (0..count).rev() {
            read = read << 1 | u64::from(self.raw_bit(value >> shift & 1 == 1));
        }
        read
    }
}

/// The prior table unpacked, so that a batch starts with one copy of memory.
static FRESH: [Probability; CONTEXTS] = unpacked();

const fn unpacked() -> [Probability; CONTEXTS] {
    let mut contexts = [Probability { one: 0, seen: 0, limit: 0 }; CONTEXTS];
    let mut index = 0;
    while index < CONTEXTS {
        contexts[index] = Probability::unpack(PRIORS[index]);
        index += 1;
    }
    contexts
}

fn fresh_contexts(with_extras: bool) -> Vec<Probability> {
    let more = if with_extras { extra::CONTEXTS_OF_FORMAT_2 } else { 0 };
    let mut contexts = Vec::with_capacity(CONTEXTS + more);
    contexts.extend_from_slice(&FRESH);
    if with_extras {
        contexts.extend(extra::fresh(&FRESH));
    }
    contexts
}

pub(crate) struct Encoder {
    contexts: Vec<Probability>,
    /// 33 bits are in use: the carry and 32 bits of code.
    low: u64,
    range: u32,
    out: Vec<u8>,
}

impl Encoder {
    #[must_use]
    pub(crate) fn new(out: Vec<u8>, with_extras: bool) -> Self {
        Self { contexts: fresh_contexts(with_extras), low: 0, range: u32::MAX, out }
    }

    fn split(&mut self, bit: bool, one: u16) {
        #[allow(clippy::cast_possible_truncation)] // below `range`
        let bound = ((u64::from(self.range) * u64::from(one)) >> 16) as u32;
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        while self.range < RENORMALISE_BELOW {
            self.shift_out();
            self.range <<= 8;
        }
    }

    fn shift_out(&mut self) {
        self.carry();
        #[allow(clippy::cast_possible_truncation)] // bits 24..32
        self.out.push((self.low >> 24) as u8);
        self.low = self.low << 8 & 0xFFFF_FFFF;
    }

    /// Adds the 33rd bit to what was written. It cannot run past the first byte: the code is below one.
    fn carry(&mut self) {
        if self.low >> 32 == 0 {
            return;
        }
        self.low &= 0xFFFF_FFFF;
        for byte in self.out.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    /// Ends the code with as few bytes as tell it apart: the decoder imagines zeros behind the end.
    #[must_use]
    pub(crate) fn finish(mut self, start: usize) -> Vec<u8> {
        let end = self.low + u64::from(self.range);
        for bits in (0..=32_u32).rev() {
            let unit = 1_u64 << bits;
            let value = self.low.div_ceil(unit) * unit;
            if value < end {
                self.low = value;
                break;
            }
        }
        for _ in 0..4 {
            self.shift_out();
        }
        while self.out.len() > start && self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl Coder for Encoder {
    fn bit(&mut self, context: usize, bit: bool) -> bool {
        let one = self.contexts[context].clamped();
        self.split(bit, one);
        self.contexts[context].learn(bit);
        bit
    }

    fn raw_bit(&mut self, bit: bool) -> bool {
        self.split(bit, 1 << 15);
        bit
    }
}

pub(crate) struct Decoder<'a> {
    contexts: Vec<Probability>,
    code: u32,
    range: u32,
    bytes: &'a [u8],
    next: usize,
}

impl<'a> Decoder<'a> {
    #[must_use]
    pub(crate) fn new(bytes: &'a [u8], with_extras: bool) -> Self {
        let mut decoder =
            Self { contexts: fresh_contexts(with_extras), code: 0, range: u32::MAX, bytes, next: 0 };
        for _ in 0..4 {
            decoder.code = decoder.code << 8 | decoder.next_byte();
        }
        decoder
    }

    fn next_byte(&mut self) -> u32 {
        let byte = self.bytes.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        u32::from(byte)
    }

    /// Whether every byte was needed; bytes behind the code are junk.
    #[must_use]
    pub(crate) fn used_all(&self) -> bool {
        self.next >= self.bytes.len()
    }

    fn split(&mut self, one: u16) -> bool {
        #[allow(clippy::cast_possible_truncation)] // below `range`
        let bound = ((u64::from(self.range) * u64::from(one)) >> 16) as u32;
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code = self.code.wrapping_sub(bound);
            self.range -= bound;
        }
        while self.range < RENORMALISE_BELOW {
            self.code = self.code << 8 | self.next_byte();
            self.range <<= 8;
        }
        bit
    }
}

impl Coder for Decoder<'_> {
    fn bit(&mut self, context: usize, _bit: bool) -> bool {
        let one = self.contexts[context].clamped();
        let bit = self.split(one);
        self.contexts[context].learn(bit);
        bit
    }

    fn raw_bit(&mut self, _bit: bool) -> bool {
        self.split(1 << 15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(bits in prop::collection::vec((0..CONTEXTS, any::<bool>(), any::<bool>()), 0..2000)) {
            let mut encoder = Encoder::new(vec![0xAB], false);
            for &(context, bit, raw) in &bits {
                if raw { encoder.raw_bit(bit) } else { encoder.bit(context, bit) };
            }
            let bytes = encoder.finish(1);
            let mut decoder = Decoder::new(&bytes[1..], false);
            for &(context, bit, raw) in &bits {
                let read = if raw { decoder.raw_bit(false) } else { decoder.bit(context, false) };
                prop_assert_eq!(read, bit);
            }
            prop_assert!(decoder.used_all());
            prop_assert_eq!(bytes[0], 0xAB);
        }
    }

    #[test]
    fn format_2_has_a_start_for_each_of_its_contexts() {
        assert_eq!(fresh_contexts(true).len(), CONTEXTS + extra::CONTEXTS_OF_FORMAT_2);
        assert_eq!(fresh_contexts(false), FRESH);
    }

    #[test]
    fn nothing_costs_nothing_and_a_few_sure_bits_cost_a_byte() {
        assert!(Encoder::new(Vec::new(), false).finish(0).len() <= 1);
        let mut encoder = Encoder::new(Vec::new(), false);
        for _ in 0..6 {
            encoder.raw_bit(true);
        }
        assert!(encoder.finish(0).len() <= 1);
    }

    #[test]
    fn a_probability_survives_packing_and_learns_towards_what_it_sees() {
        let mut probability = Probability { one: 0x1234, seen: 3, limit: 60 };
        assert_eq!(Probability::unpack(probability.pack()), probability);
        for _ in 0..1000 {
            probability.learn(true);
        }
        assert!(probability.one > 60_000 && probability.seen == 60);
    }
}
