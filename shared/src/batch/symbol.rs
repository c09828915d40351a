//! Numbers as binary decisions, and the numbering of the contexts that predict them.
//!
//! A signed number is: is it zero; its sign; the position of its leading one in unary; the next two bits; the
//! rest as it is. The magnitude expected from recent residuals (a [`Magnitude`], in half octaves) selects the
//! contexts, so the same priors serve a receiver of four decimals and one of seven.

use super::coder::Coder;

/// Half-octaves of expected magnitude that are told apart.
const BUCKETS: usize = 40;
/// Circumstances of the zero flag that a column may tell apart.
const ZERO_CASES: usize = 3;
/// Unary positions told apart: from six octaves below the expected magnitude to seven above.
const EXPONENTS: usize = 14;
const EXPONENT_ORIGIN: usize = 6;
const SIGN_CASES: usize = 3;
const MANTISSA_PLACES: usize = 9;
const MANTISSA_NODES: usize = 3;
const PER_BUCKET: usize = ZERO_CASES + EXPONENTS;
const SIGNED_SIZE: usize = BUCKETS * PER_BUCKET + SIGN_CASES + MANTISSA_PLACES * MANTISSA_NODES;
/// A first value has no history: its contexts are told apart by the position alone.
const FIRST_POSITIONS: usize = 64;
const FIRST_SIZE: usize = 2 + FIRST_POSITIONS + FIRST_POSITIONS * MANTISSA_NODES;
const TREE_SIZE: usize = 16;

/// Contexts of one column's residuals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed(usize);
/// Contexts of one column's first value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First(usize);
/// Contexts of a four-bit symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree(usize);
/// Contexts of single decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags(usize);

/// Decimal columns, in the order of the unit profile.
pub const DECIMALS: usize = 6;

pub(crate) mod layout {
    use super::{DECIMALS, FIRST_SIZE, First, Flags, SIGNED_SIZE, Signed, TREE_SIZE, Tree};

    /// Residuals: one for each decimal column, then satellites, time and uptime.
    pub(crate) const SATELLITES: usize = DECIMALS;
    pub(crate) const TIME: usize = DECIMALS + 1;
    pub(crate) const UPTIME: usize = DECIMALS + 2;
    const SIGNEDS: usize = DECIMALS + 3;

    #[must_use]
    pub(crate) const fn residual(column: usize) -> Signed {
        Signed(column * SIGNED_SIZE)
    }

    const FIRSTS: usize = SIGNEDS * SIGNED_SIZE;
    #[must_use]
    pub(crate) const fn first(column: usize) -> First {
        First(FIRSTS + column * FIRST_SIZE)
    }

    const TREES: usize = FIRSTS + SIGNEDS * FIRST_SIZE;
    const fn tree(index: usize) -> Tree {
        Tree(TREES + index * TREE_SIZE)
    }
    /// Receivers come in families: a column's scale is told by that of another, `of`.
    #[must_use]
    pub(crate) const fn scale(column: usize, of: u8) -> Tree {
        tree(column * SCALES + of as usize)
    }
    const SCALES: usize = 10;
    pub(crate) const QUALITY: Tree = tree(DECIMALS * SCALES);
    pub(crate) const TIME_UNIT: Tree = tree(DECIMALS * SCALES + 1);
    pub(crate) const INTERVAL: Tree = tree(DECIMALS * SCALES + 2);
    pub(crate) const ERA: Tree = tree(DECIMALS * SCALES + 3);
    const TREE_COUNT: usize = DECIMALS * SCALES + 4;

    const FLAGS: usize = TREES + TREE_COUNT * TREE_SIZE;
    pub(crate) const BOOT: Flags = Flags(FLAGS);
    pub(crate) const SAME_SCALE: Flags = Flags(FLAGS + 1);
    pub(crate) const STATUS: Flags = Flags(FLAGS + 2);
    pub(crate) const KINDS: Flags = Flags(FLAGS + 4);
    pub(crate) const PRESENT: Flags = Flags(KINDS.0 + DECIMALS * 6);
    pub(crate) const VERDICT_SAME: Flags = Flags(PRESENT.0 + 8);
    pub(crate) const VERDICT_BITS: Flags = Flags(VERDICT_SAME.0 + 1);
    pub(crate) const INPUTS_SAME: Flags = Flags(VERDICT_BITS.0 + 32);
    pub(crate) const TIME_PLAIN: Flags = Flags(INPUTS_SAME.0 + 1);
    pub(crate) const QUALITY_SAME: Flags = Flags(TIME_PLAIN.0 + 2);
    pub(crate) const QUALITY_BACK: Flags = Flags(QUALITY_SAME.0 + 4);
    pub(crate) const HDOP_SAME: Flags = Flags(QUALITY_BACK.0 + 2);
    pub(crate) const HDOP_BACK: Flags = Flags(HDOP_SAME.0 + 32);
    pub(crate) const COURSE_FULL: Flags = Flags(HDOP_BACK.0 + 8);
    pub(crate) const TOTAL: usize = COURSE_FULL.0 + 1;

    /// What a context belongs to.
    #[must_use]
    pub(crate) fn name(context: usize) -> String {
        const COLUMNS: [&str; SIGNEDS] =
            ["latitude", "longitude", "altitude", "speed", "course", "hdop", "satellites", "time", "uptime"];
        let column = |index: usize| COLUMNS.get(index).copied().unwrap_or("flags");
        if context < FIRSTS {
            column(context / SIGNED_SIZE).to_owned()
        } else if context < TREES {
            format!("first {}", column((context - FIRSTS) / FIRST_SIZE))
        } else if context < FLAGS {
            "trees".to_owned()
        } else {
            const NAMES: [(usize, &str); 8] = [
                (STATUS.0, "profile"),
                (TIME_PLAIN.0, "status"),
                (QUALITY_SAME.0, "time flags"),
                (HDOP_SAME.0, "quality"),
                (COURSE_FULL.0, "hdop flags"),
                (TOTAL, "course flags"),
                (TOTAL, ""),
                (TOTAL, ""),
            ];
            NAMES.iter().find(|(end, _)| context < *end).map_or("?", |(_, name)| name).to_owned()
        }
    }
}

/// How many contexts there are; the prior table has one entry for each.
pub const CONTEXTS: usize = layout::TOTAL;

/// The contexts of format 2, behind those of format 1. They start as the trained ones of their kin: a VDOP changes
/// like an HDOP, a count of satellites like another.
pub(crate) mod extra {
    use super::super::coder::Probability;
    use super::{CONTEXTS, FIRST_SIZE, First, Flags, SIGNED_SIZE, Signed, TREE_SIZE, Tree, layout};

    const COLUMNS: usize = 5;
    /// Whose priors each column's residuals start from: VDOP, PDOP, in view, mode (unused), odometer.
    const KIN: [usize; COLUMNS] = [5, 5, layout::SATELLITES, layout::SATELLITES, layout::SATELLITES];

    #[must_use]
    pub(crate) const fn residual(column: usize) -> Signed {
        Signed(CONTEXTS + column * SIGNED_SIZE)
    }

    const FIRSTS: usize = CONTEXTS + COLUMNS * SIGNED_SIZE;
    #[must_use]
    pub(crate) const fn first(column: usize) -> First {
        First(FIRSTS + column * FIRST_SIZE)
    }

    const TREES: usize = FIRSTS + COLUMNS * FIRST_SIZE;
    pub(crate) const MODE: Tree = Tree(TREES);
    const FLAGS: usize = TREES + TREE_SIZE;
    pub(crate) const VDOP_SAME: Flags = Flags(FLAGS);
    pub(crate) const VDOP_BACK: Flags = Flags(VDOP_SAME.0 + 32);
    /// Whether a batch has the column.
    pub(crate) const ANY: Flags = Flags(VDOP_BACK.0 + 8);
    /// Whether a fix has it; case: whether the one before had.
    pub(crate) const PRESENT: Flags = Flags(ANY.0 + COLUMNS);
    /// Whether a decimal column has escapes (0, 1), and which they are (2).
    pub(crate) const ESCAPES: Flags = Flags(PRESENT.0 + 2 * COLUMNS);
    pub(crate) const MODE_SAME: Flags = Flags(ESCAPES.0 + 3);
    const TOTAL: usize = MODE_SAME.0 + 1;

    const EVEN: Probability = Probability { one: 1 << 15, seen: 2, limit: 60 };
    const RARE: Probability = Probability { one: 600, seen: 30, limit: 255 };
    const USUAL: Probability = Probability { one: 65_000, seen: 30, limit: 255 };

    /// Where the contexts of format 2 start from; `trained` are those of format 1.
    pub(crate) fn fresh(trained: &[Probability]) -> impl Iterator<Item = Probability> {
        let part = |from: usize, count: usize| trained[from..from + count].iter().copied();
        let residuals = KIN.into_iter().flat_map(move |kin| part(layout::residual(kin).0, SIGNED_SIZE));
        let firsts = KIN.into_iter().flat_map(move |kin| part(layout::first(kin).0, FIRST_SIZE));
        residuals
            .chain(firsts)
            .chain(std::iter::repeat_n(EVEN, TREE_SIZE))
            .chain(part(layout::HDOP_SAME.0, 32))
            .chain(part(layout::HDOP_BACK.0, 8))
            .chain(std::iter::repeat_n(EVEN, COLUMNS))
            .chain([RARE, USUAL].into_iter().cycle().take(2 * COLUMNS))
            .chain([RARE, RARE, EVEN, USUAL])
    }

    /// How many there are.
    pub(crate) const CONTEXTS_OF_FORMAT_2: usize = TOTAL - CONTEXTS;
}

impl Flags {
    pub(crate) fn code<C: Coder>(self, coder: &mut C, case: usize, bit: bool) -> bool {
        coder.bit(self.0 + case, bit)
    }
}

impl Tree {
    /// A symbol below 16.
    pub(crate) fn code<C: Coder>(self, coder: &mut C, symbol: u8) -> u8 {
        let mut node = 1_u8;
        for shift in (0..4).rev() {
            node = node << 1 | u8::from(coder.bit(self.0 + usize::from(node), symbol >> shift & 1 == 1));
        }
        node & 0x0F
    }
}

/// The two modelled bits behind the leading one, then the rest.
fn mantissa<C: Coder>(coder: &mut C, contexts: usize, exponent: u32, magnitude: u64) -> u64 {
    let mut value = 1_u64;
    let modelled = exponent.min(2);
    for depth in 0..modelled {
        let bit = magnitude >> (exponent - 1 - depth) & 1 == 1;
        let node = if depth == 0 { 0 } else { 1 + usize::from(value & 1 == 1) };
        value = value << 1 | u64::from(coder.bit(contexts + node, bit));
    }
    let rest = exponent - modelled;
    value << rest | coder.raw(magnitude, rest)
}

fn with_sign(magnitude: u64, negative: bool) -> i64 {
    let value = magnitude.cast_signed();
    if negative { value.wrapping_neg() } else { value }
}

fn exponent_of(magnitude: u64) -> u32 {
    63 - (magnitude | 1).leading_zeros()
}

impl Signed {
    /// `zero_case` and `sign_case` tell circumstances apart (below [`ZERO_CASES`] and [`SIGN_CASES`]).
    pub(crate) fn code<C: Coder>(
        self,
        coder: &mut C,
        expected: Bucket,
        zero_case: usize,
        sign_case: usize,
        value: i64,
    ) -> i64 {
        let bucket = self.0 + expected.0 * PER_BUCKET;
        if coder.bit(bucket + zero_case, value == 0) {
            return 0;
        }
        let signs = self.0 + BUCKETS * PER_BUCKET;
        let negative = coder.bit(signs + sign_case, value < 0);
        let magnitude = value.unsigned_abs();
        let target = exponent_of(magnitude);
        let octave = expected.octave();
        let mut exponent = 0;
        while exponent < 63 {
            let place = (exponent as usize + EXPONENT_ORIGIN).saturating_sub(octave).min(EXPONENTS - 1);
            if !coder.bit(bucket + ZERO_CASES + place, exponent < target) {
                break;
            }
            exponent += 1;
        }
        let place = (exponent as usize + 5).saturating_sub(octave).min(MANTISSA_PLACES - 1);
        let contexts = signs + SIGN_CASES + place * MANTISSA_NODES;
        with_sign(mantissa(coder, contexts, exponent, magnitude), negative)
    }
}

impl First {
    pub(crate) fn code<C: Coder>(self, coder: &mut C, value: i64) -> i64 {
        if coder.bit(self.0, value == 0) {
            return 0;
        }
        let negative = coder.bit(self.0 + 1, value < 0);
        let magnitude = value.unsigned_abs();
        let target = exponent_of(magnitude);
        let positions = self.0 + 2;
        let mut exponent = 0;
        while exponent < 63 && coder.bit(positions + exponent as usize, exponent < target) {
            exponent += 1;
        }
        let contexts = positions + FIRST_POSITIONS + exponent as usize * MANTISSA_NODES;
        with_sign(mantissa(coder, contexts, exponent, magnitude), negative)
    }
}

/// A half-octave of expected magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket(usize);

impl Bucket {
    /// Of a magnitude in sixteenths.
    #[must_use]
    pub(crate) fn of(sixteenths: u32) -> Self {
        if sixteenths < 2 {
            return Self(sixteenths as usize);
        }
        let octave = 31 - sixteenths.leading_zeros();
        let half = sixteenths >> (octave - 1) & 1;
        Self(((2 * octave + half) as usize).min(BUCKETS - 1))
    }

    /// One of eight: none, then by two octaves.
    #[must_use]
    pub(crate) fn coarse(self) -> usize {
        self.0.div_ceil(4).min(7)
    }

    /// Octave of the magnitude itself, 0 for anything below 2.
    fn octave(self) -> usize {
        (self.0 / 2).saturating_sub(4)
    }
}

/// Residuals beyond this count as this: the expectation must recover from one wild value.
const LARGEST: u32 = 1 << 20;

/// How large a residual or a step is, at most [`LARGEST`].
#[must_use]
pub(crate) fn size_of(residual: i64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // at most LARGEST
    let size = residual.unsigned_abs().min(u64::from(LARGEST)) as u32;
    size
}

/// What size of residual to expect: the mean of a fast and a slow running average, in sixteenths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Magnitude {
    fast: u32,
    slow: u32,
}

impl Magnitude {
    #[must_use]
    pub(crate) const fn new(sixteenths: u32) -> Self {
        Self { fast: sixteenths, slow: sixteenths }
    }

    #[must_use]
    pub(crate) const fn expected(self) -> u32 {
        self.fast.midpoint(self.slow)
    }

    pub(crate) fn learn(&mut self, residual: i64) {
        let size = 16 * size_of(residual);
        // Rounded up on the way up and down on the way down, so that zero is reached.
        self.fast = self.fast - self.fast.div_ceil(2) + size / 2;
        self.slow = self.slow - self.slow.div_ceil(8) + size / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::super::coder::{Decoder, Encoder};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_number_round_trips(values in prop::collection::vec((prop_oneof![any::<i64>(), -300_i64..300], any::<u32>()), 1..40)) {
            let mut encoder = Encoder::new(Vec::new(), false);
            for &(value, expected) in &values {
                layout::residual(0).code(&mut encoder, Bucket::of(expected), 1, 2, value);
                layout::first(1).code(&mut encoder, value);
            }
            let bytes = encoder.finish(0);
            let mut decoder = Decoder::new(&bytes, false);
            for &(value, expected) in &values {
                prop_assert_eq!(layout::residual(0).code(&mut decoder, Bucket::of(expected), 1, 2, 0), value);
                prop_assert_eq!(layout::first(1).code(&mut decoder, 0), value);
            }
        }
    }

    #[test]
    fn expectation_falls_back_to_zero() {
        let mut magnitude = Magnitude::new(0);
        magnitude.learn(i64::MIN);
        assert_eq!(magnitude.expected(), 16 * LARGEST * 5 / 16);
        for _ in 0..300 {
            magnitude.learn(0);
        }
        assert_eq!(magnitude.expected(), 0);
    }

    #[test]
    fn buckets_are_half_octaves() {
        let buckets: Vec<usize> = [0, 1, 2, 3, 4, 5, 6, 8, 12, 16].iter().map(|m| Bucket::of(*m).0).collect();
        assert_eq!(buckets, [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]);
        assert_eq!(Bucket::of(u32::MAX).0, BUCKETS - 1);
    }
}
