//! The fields of a sentence, read without loss: a decimal stays the decimal that was printed.

use avl_shared::fix::{Decimal, MAX_SCALE};

use super::calendar::TimeOfDay;

const POWERS_OF_TEN: [i64; MAX_SCALE as usize + 1] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// A latitude may have 90 degrees, a longitude 180.
const MAX_LATITUDE_DEGREES: i64 = 90;
const MAX_LONGITUDE_DEGREES: i64 = 180;

/// A printed value that can mean something, one that cannot, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    #[default]
    Empty,
    Value(T),
    Implausible,
}

impl<T> Field<T> {
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Empty | Self::Implausible => None,
        }
    }

    pub(super) const fn is_implausible(&self) -> bool {
        matches!(self, Self::Implausible)
    }
}

/// Arc-minutes, north and east positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coordinates {
    pub latitude: Decimal,
    pub longitude: Decimal,
}

impl Coordinates {
    /// Decimals printed, both coordinates together: of two sentences, the one with more knows the place better.
    pub(super) const fn decimals(&self) -> u8 {
        self.latitude.scale() + self.longitude.scale()
    }
}

/// A plain decimal; `None` for anything else (`NaN` and `1e5` among it). Decimals beyond the ninth are cut off.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    let kept = match text.find('.') {
        Some(point) => text.get(..point + 1 + usize::from(MAX_SCALE)).unwrap_or(text),
        None => text,
    };
    let rest = &text[kept.len()..];
    rest.bytes().all(|byte| byte.is_ascii_digit()).then(|| kept.parse().ok())?
}

pub(super) fn not_negative(text: &str) -> Option<Decimal> {
    decimal(text).filter(|value| value.mantissa() >= 0)
}

/// Degrees, 0 to 360 inclusive.
pub(super) fn course(text: &str) -> Option<Decimal> {
    not_negative(text).filter(|value| value.mantissa() <= 360 * POWERS_OF_TEN[usize::from(value.scale())])
}

/// Receivers that know no dilution print a number that stands for it: 99.9 or 99.99 (u-blox, Quectel), 500.0
/// (Qualcomm), 9999.0 (Unicore). Others between are meant: a Garmin on a mountain road printed 176.0.
pub(super) fn dilution(text: &str) -> Option<Decimal> {
    not_negative(text).filter(|value| {
        let unit = POWERS_OF_TEN[usize::from(value.scale())];
        let stands_for_unknown =
            (999 * unit / 10..100 * unit).contains(&value.mantissa()) || value.mantissa() >= 500 * unit;
        !stands_for_unknown
    })
}

/// Knots made from kilometres an hour, for receivers that leave the knots empty. One decimal more than was printed,
/// so that the kilometres can be had back.
pub(super) fn knots_from_kmh(text: &str) -> Option<Decimal> {
    let kmh = not_negative(text)?;
    let scale = kmh.scale().checked_add(1).filter(|scale| *scale <= MAX_SCALE)?;
    // 1 knot = 1.852 km/h, so knots = km/h × 1000 / 1852; half is added to round.
    let scaled = kmh.mantissa().checked_mul(10)?.checked_mul(1000)?.checked_add(926)?;
    Some(Decimal::new(scaled / 1852, scale))
}

/// `ddmm.mmmm`, N or S, `dddmm.mmmm`, E or W.
pub(super) fn coordinates(latitude: &str, ns: &str, longitude: &str, ew: &str) -> Field<Coordinates> {
    if latitude.is_empty() && longitude.is_empty() {
        return Field::Empty;
    }
    let latitude = arc_minutes(latitude, ns, ["N", "S"], MAX_LATITUDE_DEGREES);
    let longitude = arc_minutes(longitude, ew, ["E", "W"], MAX_LONGITUDE_DEGREES);
    match latitude.zip(longitude) {
        Some((latitude, longitude)) => Field::Value(Coordinates { latitude, longitude }),
        None => Field::Implausible,
    }
}

fn arc_minutes(
    text: &str,
    hemisphere: &str,
    [positive, negative]: [&str; 2],
    max_degrees: i64,
) -> Option<Decimal> {
    let printed = decimal(text).filter(|_| text.starts_with(|first: char| first.is_ascii_digit()))?;
    let unit = POWERS_OF_TEN[usize::from(printed.scale())];
    let (degrees, minutes) = (printed.mantissa() / (100 * unit), printed.mantissa() % (100 * unit));
    if minutes >= 60 * unit || degrees > max_degrees || (degrees == max_degrees && minutes > 0) {
        return None;
    }
    let magnitude = degrees * 60 * unit + minutes;
    let signed = match hemisphere {
        _ if hemisphere.eq_ignore_ascii_case(positive) => magnitude,
        _ if hemisphere.eq_ignore_ascii_case(negative) => -magnitude,
        _ => return None,
    };
    Some(Decimal::new(signed, printed.scale()))
}

/// `hhmmss`, `hhmmss.s` and any more decimals; milliseconds are kept. Second 60 is a leap second.
pub(super) fn time_of_day(text: &str) -> Field<TimeOfDay> {
    if text.is_empty() {
        return Field::Empty;
    }
    parse_time(text).map_or(Field::Implausible, Field::Value)
}

fn parse_time(text: &str) -> Option<TimeOfDay> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: &[u8; 6] = whole.as_bytes().try_into().ok()?;
    if !digits.iter().chain(fraction.as_bytes()).all(u8::is_ascii_digit) {
        return None;
    }
    let two = |at: usize| u32::from(digits[at] - b'0') * 10 + u32::from(digits[at + 1] - b'0');
    let millis = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(3)
        .fold(0, |millis, digit| millis * 10 + u32::from(digit - b'0'));
    TimeOfDay::new(two(0), two(2), two(4), millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Option<Decimal>) -> Option<String> {
        value.map(|value| value.to_string())
    }

    fn place(latitude: &str, ns: &str, longitude: &str, ew: &str) -> Option<(String, String)> {
        let at = coordinates(latitude, ns, longitude, ew).value()?;
        Some((at.latitude.to_string(), at.longitude.to_string()))
    }

    #[test]
    fn coordinates_become_arc_minutes_with_the_digits_that_were_printed() {
        let got = place("3725.58362", "N", "12205.61915", "W").unwrap();
        assert_eq!((got.0.as_str(), got.1.as_str()), ("2245.58362", "-7325.61915"));
        assert_eq!(place("9000.0000", "S", "18000.00", "E").unwrap().0, "-5400.0000");
        assert_eq!(place("0000.0010", "S", "00000.0", "W").unwrap().0, "-0.0010");
    }

    #[test]
    fn coordinates_off_the_globe_or_unreadable_are_implausible() {
        for (latitude, ns, longitude, ew) in [
            ("9000.0001", "N", "00000.0", "E"),
            ("10042.0", "N", "00000.0", "E"),
            ("3760.0", "N", "00000.0", "E"),
            ("3725.5", "N", "18000.1", "W"),
            ("3725.5", "N", "19000.0", "W"),
            ("3725.5", "", "00000.0", "E"),
            ("3725.5", "E", "00000.0", "E"),
            ("-3725.5", "N", "00000.0", "E"),
            ("NaN", "N", "00000.0", "E"),
            ("3725.5", "N", "", "E"),
            ("37 25.5", "N", "00000.0", "E"),
        ] {
            assert_eq!(
                coordinates(latitude, ns, longitude, ew),
                Field::Implausible,
                "{latitude} {longitude}"
            );
        }
        assert_eq!(coordinates("", "", "", ""), Field::Empty);
    }

    #[test]
    fn numbers_that_mean_nothing_are_left_out() {
        assert_eq!(not_negative("-0.1"), None);
        assert_eq!(decimal("NaN"), None);
        assert_eq!(course("360.01"), None);
        assert_eq!(text(course("360.00")).as_deref(), Some("360.00"));
        for unknown in ["99.9", "99.99", "500.0", "9999.0", "-1.0", ""] {
            assert_eq!(dilution(unknown), None, "{unknown}");
        }
        for meant in ["99.89", "100.0", "176.0"] {
            assert_eq!(text(dilution(meant)).as_deref(), Some(meant));
        }
    }

    #[test]
    fn the_tenth_decimal_is_cut_off_and_nothing_else_is() {
        assert_eq!(text(decimal("1.12345678901")).as_deref(), Some("1.123456789"));
        assert_eq!(decimal("1.123456789x1"), None);
        assert_eq!(text(decimal("1.")).as_deref(), Some("1"));
        assert_eq!(text(decimal("-.5")).as_deref(), Some("-0.5"));
    }

    #[test]
    fn knots_are_made_so_that_the_kilometres_can_be_had_back() {
        for tenths in 0_i64..4000 {
            let printed = format!("{}.{}", tenths / 10, tenths % 10);
            let knots = knots_from_kmh(&printed).unwrap();
            assert_eq!((knots.to_f64() * 18.52).round() as i64, tenths, "{printed}");
        }
    }

    #[test]
    fn time_keeps_milliseconds_and_second_sixty() {
        let millis = |text| time_of_day(text).value().map(TimeOfDay::millis);
        assert_eq!(millis("021417.00"), Some(8_057_000));
        assert_eq!(millis("235234"), Some(85_954_000));
        assert_eq!(millis("000000.0509"), Some(50));
        assert_eq!(millis("235960.5"), Some(86_400_500));
        for bad in ["240000", "126000", "120061", "12000", "1200000", "12-000", "120000.x", "120000.1.2"] {
            assert_eq!(time_of_day(bad), Field::Implausible, "{bad}");
        }
        assert_eq!(time_of_day(""), Field::Empty);
    }
}
