//! A decimal number with the digits that were printed.

use std::fmt;
use std::str::FromStr;

/// The most decimals a [`Decimal`] keeps. A ten-millionth of an arc-minute is 0.2 mm; no receiver prints beyond 9.
pub const MAX_SCALE: u8 = 9;

const POWERS_OF_TEN: [i64; MAX_SCALE as usize + 1] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// `mantissa × 10^-scale`. Two decimals are equal when their values are: `1.50 == 1.5`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    mantissa: i64,
    scale: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDecimalError {
    #[error("not a decimal number: expected digits with an optional sign and point, such as 12.50")]
    Malformed,
    #[error("more than {MAX_SCALE} decimals, or too many digits to hold exactly")]
    TooLong,
}

impl Decimal {
    /// # Panics
    /// When `scale` exceeds [`MAX_SCALE`]; scales are constants or come from [`Decimal::from_str`].
    #[must_use]
    pub const fn new(mantissa: i64, scale: u8) -> Self {
        assert!(scale <= MAX_SCALE, "scale beyond MAX_SCALE");
        Self { mantissa, scale }
    }

    #[must_use]
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// Decimals behind the point.
    #[must_use]
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// The mantissa at another scale; `None` when digits would be lost or the number does not fit.
    #[must_use]
    pub fn rescaled(self, scale: u8) -> Option<i64> {
        if scale > MAX_SCALE {
            return None;
        }
        if scale >= self.scale {
            return self.mantissa.checked_mul(POWERS_OF_TEN[usize::from(scale - self.scale)]);
        }
        let divisor = POWERS_OF_TEN[usize::from(self.scale - scale)];
        (self.mantissa % divisor == 0).then(|| self.mantissa / divisor)
    }

    /// The same value with no trailing zeros.
    #[must_use]
    pub fn canonical(self) -> Self {
        let Self { mut mantissa, mut scale } = self;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Self { mantissa, scale }
    }

    /// The nearest binary number; exact printing goes through [`fmt::Display`].
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn to_f64(self) -> f64 {
        self.mantissa as f64 / POWERS_OF_TEN[usize::from(self.scale)] as f64
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.canonical(), other.canonical());
        a.mantissa == b.mantissa && a.scale == b.scale
    }
}

impl Eq for Decimal {}

impl FromStr for Decimal {
    type Err = ParseDecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, digits) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (mut mantissa, mut scale, mut point, mut any) = (0_i64, 0_u8, false, false);
        for &byte in digits {
            match byte {
                b'.' if !point => point = true,
                b'0'..=b'9' => {
                    any = true;
                    scale += u8::from(point);
                    if scale > MAX_SCALE {
                        return Err(ParseDecimalError::TooLong);
                    }
                    mantissa = mantissa
                        .checked_mul(10)
                        .and_then(|m| m.checked_add(i64::from(byte - b'0')))
                        .ok_or(ParseDecimalError::TooLong)?;
                }
                _ => return Err(ParseDecimalError::Malformed),
            }
        }
        if !any {
            return Err(ParseDecimalError::Malformed);
        }
        Ok(Self { mantissa: if negative { -mantissa } else { mantissa }, scale })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale == 0 {
            return write!(f, "{}", self.mantissa);
        }
        let power = POWERS_OF_TEN[usize::from(self.scale)].unsigned_abs();
        let magnitude = self.mantissa.unsigned_abs();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        write!(
            f,
            "{sign}{}.{:0width$}",
            magnitude / power,
            magnitude % power,
            width = usize::from(self.scale)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_the_digits_that_were_printed() {
        let printed: Decimal = "012.50".parse().unwrap();
        assert_eq!((printed.mantissa(), printed.scale()), (1250, 2));
        assert_eq!(printed.to_string(), "12.50");
        assert_eq!("-0.05".parse::<Decimal>().unwrap().to_string(), "-0.05");
    }

    #[test]
    fn equality_is_of_value_not_of_digits() {
        assert_eq!("1.50".parse::<Decimal>().unwrap(), "1.5".parse::<Decimal>().unwrap());
        assert_ne!("1.51".parse::<Decimal>().unwrap(), "1.5".parse::<Decimal>().unwrap());
    }

    #[test]
    fn refuses_what_is_not_a_number() {
        for text in ["", "-", ".", "1.2.3", "1e5", "NaN", " 1", "0x1"] {
            assert_eq!(text.parse::<Decimal>(), Err(ParseDecimalError::Malformed), "{text:?}");
        }
        for text in ["0.1234567890", "99999999999999999999"] {
            assert_eq!(text.parse::<Decimal>(), Err(ParseDecimalError::TooLong), "{text:?}");
        }
    }

    #[test]
    fn rescaling_never_loses_a_digit() {
        let value = Decimal::new(1250, 2);
        assert_eq!(value.rescaled(1), Some(125));
        assert_eq!(value.rescaled(0), None);
        assert_eq!(value.rescaled(4), Some(125_000));
        assert_eq!(Decimal::new(i64::MAX, 0).rescaled(1), None);
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(mantissa in -1_000_000_000_000_i64..1_000_000_000_000, scale in 0..=MAX_SCALE) {
            let value = Decimal::new(mantissa, scale);
            let back: Decimal = value.to_string().parse().unwrap();
            prop_assert_eq!(back.mantissa(), value.mantissa());
            prop_assert_eq!(back.scale(), value.scale());
        }
    }
}
