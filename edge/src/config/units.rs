//! Sizes as people write them.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A number of bytes, written as an integer or as `"256 MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Written")]
pub struct ByteSize(pub u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bytes(u64),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size: write a whole number with B, KiB, MiB or GiB behind it, such as \"256 MiB\"")]
pub struct BadSize(String);

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

impl FromStr for ByteSize {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let (number, factor) = UNITS
            .iter()
            .find_map(|(suffix, factor)| Some((trimmed.strip_suffix(suffix)?, *factor)))
            .unwrap_or((trimmed, 1));
        let size = number.trim_end().parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
        size.map(Self).ok_or_else(|| BadSize(text.to_owned()))
    }
}

impl TryFrom<Written> for ByteSize {
    type Error = BadSize;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit =
            UNITS[..3].iter().rev().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (suffix, factor) = unit.unwrap_or(&UNITS[3]);
        write!(f, "{} {suffix}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("17B", 17), ("64 KiB", 65536), ("256MiB", 256 << 20), (" 2 GiB ", 2 << 30)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "1.5 MiB", "-1", "10 MB", "99999999999 GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_whole_unit() {
        for text in ["0 B", "1023 B", "64 KiB", "256 MiB", "2 GiB", "1025 KiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }
}
