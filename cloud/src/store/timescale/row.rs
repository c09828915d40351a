//! A fix as a row of integers, and back: exact in both directions.

use avl_shared::fix::{Decimal, Fix, FixMode, MAX_SCALE, Quality, UtcMillis, Verdict};
use avl_shared::sequence::Epoch;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::store::{Position, StoreError};

pub(super) const WIDTH: usize = 23;

/// The columns in the order in which rows are written and read, with the bytes that each takes.
const COLUMNS: [(&str, usize); WIDTH] = [
    ("vehicle_id", 4),
    ("time", 8),
    ("epoch", 8),
    ("sequence", 8),
    ("received_at", 8),
    ("gnss_time", 1),
    ("scales", 4),
    ("latitude", 8),
    ("longitude", 8),
    ("altitude", 8),
    ("speed", 8),
    ("course", 8),
    ("hdop", 8),
    ("satellites", 2),
    ("quality", 2),
    ("verdict", 4),
    ("inputs", 4),
    ("uptime", 8),
    ("vdop", 8),
    ("pdop", 8),
    ("in_view", 2),
    ("mode", 2),
    ("odometer", 8),
];

const SCALE_BITS: usize = 4;

/// A row's values, by column. Everything fits 64 bits; a boolean is 0 or 1.
pub(super) type Values = [Option<i64>; WIDTH];

/// `a, b, c`, each with `prefix` before it.
pub(super) fn columns(prefix: &str) -> String {
    COLUMNS.map(|(name, _)| format!("{prefix}{name}")).join(", ")
}

pub(super) fn names() -> [&'static str; WIDTH] {
    COLUMNS.map(|(name, _)| name)
}

pub(super) fn widths() -> [usize; WIDTH] {
    COLUMNS.map(|(_, width)| width)
}

pub(super) fn values(
    vehicle_id: i32,
    epoch: Epoch,
    sequence: u64,
    fix: &Fix,
    received_at: UtcMillis,
) -> Values {
    let mantissa = |number: Option<Decimal>| number.map(Decimal::mantissa);
    let numbers =
        [fix.latitude, fix.longitude, fix.altitude, fix.speed, fix.course, fix.hdop, fix.vdop, fix.pdop];
    [
        Some(vehicle_id.into()),
        Some(fix.time.unwrap_or(received_at)),
        Some(epoch.0.into()),
        Some(sequence.cast_signed()),
        Some(received_at),
        Some(fix.time.is_some().into()),
        Some(scales(numbers).cast_signed().into()),
        mantissa(fix.latitude),
        mantissa(fix.longitude),
        mantissa(fix.altitude),
        mantissa(fix.speed),
        mantissa(fix.course),
        mantissa(fix.hdop),
        fix.satellites.map(i64::from),
        Some(fix.quality.code().into()),
        Some(fix.verdict.bits().into()),
        fix.inputs.map(i64::from),
        // Bit for bit: nothing sorts by it.
        fix.uptime.map(u64::cast_signed),
        mantissa(fix.vdop),
        mantissa(fix.pdop),
        fix.in_view.map(i64::from),
        fix.mode.map(|mode| mode.code().into()),
        fix.odometer.map(u64::cast_signed),
    ]
}

/// The row whose [`columns`] begin at `from`; `None` when they are all null, as an outer join leaves them.
pub(super) fn read(row: &Row, from: usize) -> Result<Option<Position>, StoreError> {
    let mut values: Values = [None; WIDTH];
    for (index, value) in values.iter_mut().enumerate() {
        *value = row.try_get::<_, Option<Whole>>(from + index)?.map(|Whole(number)| number);
    }
    if values[0].is_none() { Ok(None) } else { position(&values).map(Some) }
}

fn position(values: &Values) -> Result<Position, StoreError> {
    let &[
        _,
        time,
        epoch,
        sequence,
        received_at,
        gnss_time,
        packed,
        latitude,
        longitude,
        altitude,
        speed,
        course,
        hdop,
        ..,
    ] = values;
    let &[.., satellites, quality, verdict, inputs, uptime, vdop, pdop, in_view, mode, odometer] = values;
    let (Some(time), Some(epoch), Some(sequence), Some(received_at)) = (time, epoch, sequence, received_at)
    else {
        return Err(StoreError::Corrupt("a position without its name".to_owned()));
    };
    let place = Place { epoch, sequence };
    let packed = place.narrow::<i32>("scales", packed)?.unwrap_or_default().cast_unsigned();
    let number = |index: usize, mantissa: Option<i64>| match (mantissa, scale(packed, index)) {
        (Some(_), scale) if scale > MAX_SCALE => Err(place.corrupt("scales", packed.into())),
        (Some(mantissa), scale) => Ok(Some(Decimal::new(mantissa, scale))),
        (None, _) => Ok(None),
    };
    let quality: u8 = place.narrow("quality", quality)?.unwrap_or_default();
    let mode: Option<u8> = place.narrow("mode", mode)?;
    let fix = Fix {
        time: (gnss_time == Some(1)).then_some(time),
        latitude: number(0, latitude)?,
        longitude: number(1, longitude)?,
        altitude: number(2, altitude)?,
        speed: number(3, speed)?,
        course: number(4, course)?,
        hdop: number(5, hdop)?,
        satellites: place.narrow("satellites", satellites)?,
        quality: Quality::from_code(quality).ok_or_else(|| place.corrupt("quality", quality.into()))?,
        // A newer release may know more reasons; keep their bits.
        verdict: Verdict::from_bits_retain(place.narrow("verdict", verdict)?.unwrap_or_default()),
        inputs: place.narrow("inputs", inputs)?,
        uptime: uptime.map(i64::cast_unsigned),
        vdop: number(6, vdop)?,
        pdop: number(7, pdop)?,
        in_view: place.narrow("in_view", in_view)?,
        mode: mode
            .map(|code| FixMode::from_code(code).ok_or_else(|| place.corrupt("mode", code.into())))
            .transpose()?,
        odometer: odometer.map(i64::cast_unsigned),
    };
    let epoch = Epoch(place.narrow("epoch", Some(epoch))?.unwrap_or_default());
    Ok(Position { epoch, sequence: sequence.cast_unsigned(), fix, received_at })
}

fn scales(numbers: [Option<Decimal>; 8]) -> u32 {
    let bits = |(index, number): (usize, Option<Decimal>)| {
        u32::from(number.map_or(0, Decimal::scale)) << (index * SCALE_BITS)
    };
    numbers.into_iter().enumerate().map(bits).sum()
}

fn scale(packed: u32, index: usize) -> u8 {
    u8::try_from((packed >> (index * SCALE_BITS)) & 0xf).unwrap_or(u8::MAX)
}

/// Names a row in errors.
#[derive(Clone, Copy)]
struct Place {
    epoch: i64,
    sequence: i64,
}

impl Place {
    fn narrow<T: TryFrom<i64>>(self, column: &str, value: Option<i64>) -> Result<Option<T>, StoreError> {
        value.map(|value| T::try_from(value).map_err(|_| self.corrupt(column, value))).transpose()
    }

    fn corrupt(self, column: &str, value: i64) -> StoreError {
        StoreError::Corrupt(format!(
            "position {:08x}/{}: {column} holds {value}; empty the database and derive it again from the journal",
            self.epoch, self.sequence
        ))
    }
}

/// A whole number of any width, or a boolean.
struct Whole(i64);

impl<'a> FromSql<'a> for Whole {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let number = match *kind {
            Type::BOOL => bool::from_sql(kind, raw)?.into(),
            Type::INT2 => i16::from_sql(kind, raw)?.into(),
            Type::INT4 => i32::from_sql(kind, raw)?.into(),
            _ => i64::from_sql(kind, raw)?,
        };
        Ok(Self(number))
    }

    fn accepts(kind: &Type) -> bool {
        [Type::BOOL, Type::INT2, Type::INT4, Type::INT8].contains(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::fix;

    #[test]
    fn a_row_says_what_the_fix_said() {
        let fix = Fix {
            pdop: Some(Decimal::new(i64::MIN, MAX_SCALE)),
            uptime: Some(u64::MAX),
            verdict: Verdict::from_bits_retain(u16::MAX),
            ..fix(3)
        };
        let row = values(1, Epoch(u32::MAX), 3, &fix, 5);
        let expected = Position { epoch: Epoch(u32::MAX), sequence: 3, fix, received_at: 5 };
        assert_eq!(position(&row).unwrap(), expected);
    }

    #[test]
    fn what_no_fix_can_say_is_named_with_its_place() {
        for (column, value) in [("scales", 0xf), ("quality", 99), ("mode", 0), ("satellites", 256)] {
            let mut row = values(1, Epoch(0xfeed), 3, &fix(3), 5);
            row[names().iter().position(|name| *name == column).unwrap()] = Some(value);
            let error = position(&row).unwrap_err().to_string();
            assert!(error.contains(column) && error.contains("0000feed/3"), "{error}");
        }
    }
}
