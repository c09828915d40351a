//! A fix as a row, and back: exact in both directions.

use avl_shared::fix::{Decimal, Fix, FixMode, MAX_SCALE, Quality, UtcMillis, Verdict};
use avl_shared::sequence::Epoch;
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Row, params};

use crate::store::{Position, StoreError};

pub(super) const INSERT: &str = "INSERT INTO positions (vehicle_id, time, epoch, sequence, received_at, gnss_time, scales, \
    latitude, longitude, altitude, speed, course, hdop, satellites, quality, verdict, inputs, uptime, \
    vdop, pdop, in_view, mode, odometer) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// What [`read`] expects, in this order.
pub(super) const COLUMNS: &str = "time, epoch, sequence, received_at, gnss_time, scales, \
    latitude, longitude, altitude, speed, course, hdop, satellites, quality, verdict, inputs, uptime, \
    vdop, pdop, in_view, mode, odometer";

const SCALE_BITS: usize = 4;

pub(super) fn insert(
    statement: &mut CachedStatement<'_>,
    vehicle_id: i64,
    epoch: Epoch,
    sequence: i64,
    fix: &Fix,
    received_at: UtcMillis,
) -> rusqlite::Result<()> {
    let mantissa = |number: Option<Decimal>| number.map(Decimal::mantissa);
    statement.execute(params![
        vehicle_id,
        fix.time.unwrap_or(received_at),
        epoch.0,
        sequence,
        received_at,
        fix.time.is_some(),
        scales([
            fix.latitude,
            fix.longitude,
            fix.altitude,
            fix.speed,
            fix.course,
            fix.hdop,
            fix.vdop,
            fix.pdop,
        ]),
        mantissa(fix.latitude),
        mantissa(fix.longitude),
        mantissa(fix.altitude),
        mantissa(fix.speed),
        mantissa(fix.course),
        mantissa(fix.hdop),
        fix.satellites,
        fix.quality.code(),
        fix.verdict.bits(),
        fix.inputs,
        // Bit for bit: nothing sorts by it.
        fix.uptime.map(u64::cast_signed),
        mantissa(fix.vdop),
        mantissa(fix.pdop),
        fix.in_view,
        fix.mode.map(FixMode::code),
        fix.odometer.map(u64::cast_signed),
    ])?;
    Ok(())
}

pub(super) fn read(row: &Row<'_>) -> Result<Position, StoreError> {
    let (epoch, sequence): (u32, i64) = (row.get(1)?, row.get(2)?);
    let scales: i64 = row.get(5)?;
    // The optional two have their scales behind those of the six, and stand at the end of the row.
    let number = |index: usize| -> Result<Option<Decimal>, StoreError> {
        let mantissa: Option<i64> = row.get(if index < 6 { 6 + index } else { 17 + index - 6 })?;
        let scale = u8::try_from((scales >> (index * SCALE_BITS)) & 0xf).unwrap_or(u8::MAX);
        match mantissa {
            Some(_) if scale > MAX_SCALE => Err(corrupt(epoch, sequence, "scales", scales)),
            Some(mantissa) => Ok(Some(Decimal::new(mantissa, scale))),
            None => Ok(None),
        }
    };
    let quality: u8 = row.get(13)?;
    let verdict: u16 = row.get(14)?;
    let fix = Fix {
        time: if row.get(4)? { Some(row.get(0)?) } else { None },
        latitude: number(0)?,
        longitude: number(1)?,
        altitude: number(2)?,
        speed: number(3)?,
        course: number(4)?,
        hdop: number(5)?,
        satellites: row.get(12)?,
        quality: Quality::from_code(quality).ok_or_else(|| corrupt(epoch, sequence, "quality", quality))?,
        // A newer release may know more reasons; keep their bits.
        verdict: Verdict::from_bits_retain(verdict),
        inputs: row.get(15)?,
        uptime: row.get::<_, Option<i64>>(16)?.map(i64::cast_unsigned),
        vdop: number(6)?,
        pdop: number(7)?,
        in_view: row.get(19)?,
        mode: match row.get(20)? {
            Some(code) => {
                Some(FixMode::from_code(code).ok_or_else(|| corrupt(epoch, sequence, "mode", code))?)
            }
            None => None,
        },
        odometer: row.get::<_, Option<i64>>(21)?.map(i64::cast_unsigned),
    };
    Ok(Position { epoch: Epoch(epoch), sequence: sequence.cast_unsigned(), fix, received_at: row.get(3)? })
}

fn scales(numbers: [Option<Decimal>; 8]) -> i64 {
    let bits = |(index, number): (usize, Option<Decimal>)| {
        i64::from(number.map_or(0, Decimal::scale)) << (index * SCALE_BITS)
    };
    numbers.into_iter().enumerate().map(bits).sum()
}

fn corrupt(epoch: u32, sequence: i64, column: &str, value: impl Into<Value>) -> StoreError {
    let value = value.into();
    StoreError::Corrupt(format!(
        "position {}/{sequence}: {column} holds {value:?}; delete the store and derive it again from the journal",
        Epoch(epoch)
    ))
}
