//! Format 2: columns that not every vehicle has, coded one after the other behind the fixes, in the same code.
//!
//! VDOP and PDOP change with HDOP, PDOP is the root of the squares of the other two, the odometer is speed over time:
//! each is told from what was decoded before, so a column costs little and an absent one a bit.

use crate::fix::{Decimal, Fix, FixMode, MAX_SCALE};
use crate::odometry::travelled_um;

use super::coder::Coder;
use super::row::{Cell, HDOP, Profile, Row, SPEED};
use super::symbol::{Bucket, extra};
use super::walk::{Column, Malformed, escape, sign_case};

const VDOP: usize = 0;
const PDOP: usize = 1;
const IN_VIEW: usize = 2;
const MODE: usize = 3;
const ODOMETER: usize = 4;
/// Of these the first two are decimals with a scale of their own.
pub(crate) const COLUMNS: usize = 5;
const DECIMALS: usize = 2;

const UM_PER_M: u64 = 1_000_000;

/// The optional columns of one fix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExtraRow {
    pub(crate) decimals: [Cell; DECIMALS],
    pub(crate) in_view: Option<u8>,
    pub(crate) mode: Option<FixMode>,
    pub(crate) odometer: Option<u64>,
}

/// The optional columns of a batch, one row a fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extras {
    pub(crate) scales: [u8; DECIMALS],
    pub(crate) rows: Vec<ExtraRow>,
}

/// Whether any fix has any of them.
#[must_use]
pub(crate) fn any(fixes: &[Fix]) -> bool {
    fixes.iter().any(|fix| {
        fix.vdop.is_some()
            || fix.pdop.is_some()
            || fix.in_view.is_some()
            || fix.mode.is_some()
            || fix.odometer.is_some()
    })
}

impl Extras {
    #[must_use]
    pub(crate) fn of(fixes: &[Fix]) -> Self {
        let mut scales = [0; DECIMALS];
        for fix in fixes {
            for (scale, value) in scales.iter_mut().zip([fix.vdop, fix.pdop]) {
                *scale = value.map_or(*scale, |value| value.scale().max(*scale));
            }
        }
        let cell = |value: Option<Decimal>, scale: u8| match value {
            None => Cell::Null,
            Some(value) => value.rescaled(scale).map_or(Cell::Escape(value), Cell::Value),
        };
        let rows = fixes
            .iter()
            .map(|fix| ExtraRow {
                decimals: [cell(fix.vdop, scales[VDOP]), cell(fix.pdop, scales[PDOP])],
                in_view: fix.in_view,
                mode: fix.mode,
                odometer: fix.odometer,
            })
            .collect();
        Self { scales, rows }
    }

    /// What a decoder hands in: it knows only how many fixes there are.
    #[must_use]
    pub(crate) fn unknown(count: usize) -> Self {
        Self { scales: [0; DECIMALS], rows: vec![ExtraRow::default(); count] }
    }

    pub(crate) fn put(&self, index: usize, fix: &mut Fix) {
        let Some(row) = self.rows.get(index) else { return };
        let decimal = |column: usize| match row.decimals[column] {
            Cell::Null => None,
            Cell::Value(units) => Some(Decimal::new(units, self.scales[column])),
            Cell::Escape(value) => Some(value),
        };
        (fix.vdop, fix.pdop) = (decimal(VDOP), decimal(PDOP));
        (fix.in_view, fix.mode, fix.odometer) = (row.in_view, row.mode, row.odometer);
    }

    /// Codes every column; both directions walk this way. `rows` are the fixes' own columns, decoded before.
    ///
    /// # Errors
    /// [`Malformed`] when a decoder meets what no encoder writes.
    pub(crate) fn code<C: Coder>(
        &self,
        coder: &mut C,
        profile: &Profile,
        rows: &[Row],
    ) -> Result<Self, Malformed> {
        let mut coded = Self::unknown(rows.len());
        let mut some = false;
        for column in 0..COLUMNS {
            if !extra::ANY.code(coder, column, self.rows.iter().any(|row| row.has(column))) {
                continue;
            }
            some = true;
            if column < DECIMALS {
                #[allow(clippy::cast_possible_truncation)] // four bits are read
                let scale = coder.raw(u64::from(self.scales[column]), 4) as u8;
                if scale > MAX_SCALE {
                    return Err(Malformed("a scale above 9"));
                }
                coded.scales[column] = scale;
            }
            match column {
                VDOP => self.vdop(coder, rows, &mut coded)?,
                PDOP => self.pdop(coder, profile, rows, &mut coded)?,
                IN_VIEW => self.in_view(coder, &mut coded)?,
                MODE => self.mode(coder, &mut coded)?,
                _ => self.odometer(coder, profile, rows, &mut coded),
            }
        }
        if some { Ok(coded) } else { Err(Malformed("format 2 without one of its columns")) }
    }

    fn vdop<C: Coder>(&self, coder: &mut C, rows: &[Row], coded: &mut Self) -> Result<(), Malformed> {
        let (mut column, mut before) = (Column::new(START), 0);
        let (mut presence, mut hdop) = (Presence::new(coder, self, VDOP), None);
        for (index, row) in rows.iter().enumerate() {
            let (last_hdop, this_hdop) = (hdop, value_of(row.cells[HDOP]));
            hdop = this_hdop.or(hdop);
            let rise = this_hdop.zip(last_hdop).map_or(0, |(now, last)| now.wrapping_sub(last));
            let cell = self.rows[index].decimals[VDOP];
            let kept = presence.code(coder, cell)?;
            coded.rows[index].decimals[VDOP] = kept;
            let Cell::Value(value) = kept else { continue };
            let Some(last) = column.last else {
                let first = extra::first(VDOP).code(coder, value);
                (column.last, before) = (Some(first), first);
                coded.rows[index].decimals[VDOP] = Cell::Value(first);
                continue;
            };
            let expected = Bucket::of(column.expected());
            let activity = expected.coarse();
            let case = 16 * usize::from(rise != 0) + 8 * usize::from(column.step != 0) + activity;
            let value = if extra::VDOP_SAME.code(coder, case, value == last) {
                last
            } else if extra::VDOP_BACK.code(coder, activity, value == before) {
                before
            } else {
                let residual = value.wrapping_sub(last);
                last.wrapping_add(extra::residual(VDOP).code(coder, expected, 2, sign_case(rise), residual))
            };
            if value != last {
                before = last;
            }
            let step = value.wrapping_sub(last);
            column.learn(value, step, step);
            coded.rows[index].decimals[VDOP] = Cell::Value(value);
        }
        Ok(())
    }

    /// The root of the squares of HDOP and VDOP where one of them moved, else the last value.
    fn pdop<C: Coder>(
        &self,
        coder: &mut C,
        profile: &Profile,
        rows: &[Row],
        coded: &mut Self,
    ) -> Result<(), Malformed> {
        let mut column = Column::new(START);
        let (mut presence, mut parts) = (Presence::new(coder, self, PDOP), (None, None));
        for (index, row) in rows.iter().enumerate() {
            let now = (value_of(row.cells[HDOP]), value_of(coded.rows[index].decimals[VDOP]));
            let moved = now != parts;
            parts = now;
            let cell = self.rows[index].decimals[PDOP];
            let kept = presence.code(coder, cell)?;
            coded.rows[index].decimals[PDOP] = kept;
            let Cell::Value(value) = kept else { continue };
            let root = match now {
                (Some(hdop), Some(vdop)) => {
                    root_of_squares((hdop, profile[HDOP]), (vdop, coded.scales[VDOP]), coded.scales[PDOP])
                }
                _ => None,
            };
            let predicted = match (column.last, root) {
                (Some(last), _) if !moved => Some(last),
                (last, root) => root.or(last),
            };
            let value = match predicted {
                None => extra::first(PDOP).code(coder, value),
                Some(predicted) => {
                    let expected = Bucket::of(column.expected());
                    let sign = column.sign_case();
                    let residual = value.wrapping_sub(predicted);
                    let residual =
                        extra::residual(PDOP).code(coder, expected, usize::from(moved), sign, residual);
                    if moved {
                        column.learn(predicted.wrapping_add(residual), 0, residual);
                    }
                    predicted.wrapping_add(residual)
                }
            };
            column.last = Some(value);
            coded.rows[index].decimals[PDOP] = Cell::Value(value);
        }
        Ok(())
    }

    fn in_view<C: Coder>(&self, coder: &mut C, coded: &mut Self) -> Result<(), Malformed> {
        let (mut column, mut present) = (Column::new(START), true);
        for (row, coded) in self.rows.iter().zip(&mut coded.rows) {
            present = extra::PRESENT.code(coder, 2 * IN_VIEW + usize::from(present), row.in_view.is_some());
            if present {
                let value = column.code_extra(coder, IN_VIEW, i64::from(row.in_view.unwrap_or(0)));
                let value = u8::try_from(value).map_err(|_| Malformed("more than 255 satellites in view"))?;
                coded.in_view = Some(value);
            }
        }
        Ok(())
    }

    fn mode<C: Coder>(&self, coder: &mut C, coded: &mut Self) -> Result<(), Malformed> {
        let (mut last, mut present) = (FixMode::ThreeD, true);
        for (row, coded) in self.rows.iter().zip(&mut coded.rows) {
            present = extra::PRESENT.code(coder, 2 * MODE + usize::from(present), row.mode.is_some());
            if present {
                let mode = row.mode.unwrap_or(last);
                if !extra::MODE_SAME.code(coder, 0, mode == last) {
                    last = FixMode::from_code(extra::MODE.code(coder, mode.code()))
                        .ok_or(Malformed("a fix mode other than 1 to 3"))?;
                }
                coded.mode = Some(last);
            }
        }
        Ok(())
    }

    fn odometer<C: Coder>(&self, coder: &mut C, profile: &Profile, rows: &[Row], coded: &mut Self) {
        let (mut column, mut present, mut way) = (Column::new(START), true, Way::default());
        for ((row, extra_row), coded) in rows.iter().zip(&self.rows).zip(&mut coded.rows) {
            way.pass(row, profile[SPEED]);
            let here = extra_row.odometer;
            present = extra::PRESENT.code(coder, 2 * ODOMETER + usize::from(present), here.is_some());
            if !present {
                continue;
            }
            let value = here.unwrap_or(0);
            let value = if column.last.is_none() {
                let first = extra::first(ODOMETER).code(coder, value.cast_signed());
                column.last = Some(first);
                first.cast_unsigned()
            } else {
                let residual = value.wrapping_sub(way.metres).cast_signed();
                let expected = Bucket::of(column.expected());
                let (zero, sign) = (column.zero_case(), column.sign_case());
                let residual = extra::residual(ODOMETER).code(coder, expected, zero, sign, residual);
                let value = way.metres.wrapping_add_signed(residual);
                column.learn(value.cast_signed(), 0, residual);
                value
            };
            way.arrive(value);
            coded.odometer = Some(value);
        }
    }
}

/// Sixteenths: a residual of nothing or one is expected at first.
const START: u32 = 4;

impl ExtraRow {
    fn has(&self, column: usize) -> bool {
        match column {
            VDOP | PDOP => self.decimals[column] != Cell::Null,
            IN_VIEW => self.in_view.is_some(),
            MODE => self.mode.is_some(),
            _ => self.odometer.is_some(),
        }
    }
}

fn value_of(cell: Cell) -> Option<i64> {
    match cell {
        Cell::Value(units) => Some(units),
        Cell::Null | Cell::Escape(_) => None,
    }
}

/// Which rows of a decimal column have a value; escapes are coded on the spot.
struct Presence {
    column: usize,
    present: bool,
    /// The batch has escapes in this column at all.
    escapes: bool,
}

impl Presence {
    fn new<C: Coder>(coder: &mut C, extras: &Extras, column: usize) -> Self {
        let is_escape = |row: &ExtraRow| matches!(row.decimals[column], Cell::Escape(_));
        let escapes = extra::ESCAPES.code(coder, column, extras.rows.iter().any(is_escape));
        Self { column, present: true, escapes }
    }

    /// Null, an escape, or that there is a value (which is still to be coded).
    fn code<C: Coder>(&mut self, coder: &mut C, cell: Cell) -> Result<Cell, Malformed> {
        let case = 2 * self.column + usize::from(self.present);
        self.present = extra::PRESENT.code(coder, case, cell != Cell::Null);
        if !self.present {
            return Ok(Cell::Null);
        }
        if self.escapes && extra::ESCAPES.code(coder, DECIMALS, matches!(cell, Cell::Escape(_))) {
            return Ok(Cell::Escape(escape(coder, cell)?));
        }
        Ok(Cell::Value(value_of(cell).unwrap_or(0)))
    }
}

/// Where the odometer should be by the speeds since its last value.
#[derive(Default)]
struct Way {
    metres: u64,
    /// Micrometres beyond them, as far as is known.
    rest_um: u64,
    last: Option<(i64, i64)>,
}

impl Way {
    /// A doubted fix neither counts nor ends a step, as for the odometer itself.
    fn pass(&mut self, row: &Row, scale: u8) {
        let (Some(time), Some(speed), 0) = (row.time, value_of(row.cells[SPEED]), row.verdict) else {
            return;
        };
        if let Some((last_time, last_speed)) = self.last.replace((time, speed)) {
            let um = travelled_um(last_speed, speed, scale, time.wrapping_sub(last_time));
            let total = self.rest_um + um.max(0).cast_unsigned();
            self.metres = self.metres.wrapping_add(total / UM_PER_M);
            self.rest_um = total % UM_PER_M;
        }
    }

    /// The true value: where it differs, what is beyond it is as near to the guess as it can be.
    fn arrive(&mut self, metres: u64) {
        match metres.wrapping_sub(self.metres).cast_signed() {
            0 => {}
            ahead => self.rest_um = if ahead > 0 { 0 } else { UM_PER_M - 1 },
        }
        self.metres = metres;
    }
}

/// The root of the squares of two values, each with its scale, rounded to `scale`. `None` for values that are no
/// dilution of precision.
fn root_of_squares(a: (i64, u8), b: (i64, u8), scale: u8) -> Option<i64> {
    /// Ten thousand, in units of the finest scale; receivers print 99.99 for "useless".
    const LARGEST: i128 = 10_000 * 1_000_000_000;
    let finest = |(value, scale): (i64, u8)| {
        let value = i128::from(value).checked_mul(10_i128.pow(u32::from(MAX_SCALE - scale)))?;
        (0..=LARGEST).contains(&value).then_some(value.cast_unsigned())
    };
    let (a, b) = (finest(a)?, finest(b)?);
    let root = (a * a + b * b).isqrt();
    let unit = 10_u128.pow(u32::from(MAX_SCALE - scale));
    i64::try_from((root + unit / 2) / unit).ok()
}

/// The bytes of one row that the CRC is made over.
pub(crate) const EXTRA_BYTES: usize = 1 + 2 * 9 + 2 + 8;

impl ExtraRow {
    #[must_use]
    pub(crate) fn to_bytes(self) -> [u8; EXTRA_BYTES] {
        let mut bytes = [0; EXTRA_BYTES];
        let mut marks = u8::from(self.in_view.is_some()) << 4
            | u8::from(self.mode.is_some()) << 5
            | u8::from(self.odometer.is_some()) << 6;
        for (column, cell) in self.decimals.iter().enumerate() {
            let (kind, mantissa, scale) = match cell {
                Cell::Null => (0, 0, 0),
                Cell::Value(units) => (1, *units, 0),
                Cell::Escape(value) => (2, value.mantissa(), value.scale()),
            };
            marks |= kind << (2 * column);
            let at = 1 + 9 * column;
            bytes[at..at + 8].copy_from_slice(&mantissa.to_le_bytes());
            bytes[at + 8] = scale;
        }
        bytes[0] = marks;
        bytes[19] = self.in_view.unwrap_or(0);
        bytes[20] = self.mode.map_or(0, FixMode::code);
        bytes[21..].copy_from_slice(&self.odometer.unwrap_or(0).to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pdop_is_the_root_of_the_squares_at_any_scale() {
        assert_eq!(root_of_squares((80, 2), (12, 1), 2), Some(144));
        assert_eq!(root_of_squares((3, 0), (4, 0), 0), Some(5));
        assert_eq!(root_of_squares((-1, 0), (4, 0), 0), None);
        assert_eq!(root_of_squares((i64::MAX, 0), (i64::MAX, 9), 9), None);
    }

    #[test]
    fn the_way_follows_the_speed_and_learns_what_is_beyond_the_metre() {
        let row = |ms: i64| Row {
            time: Some(ms),
            cells: [Cell::Null, Cell::Null, Cell::Null, Cell::Value(10), Cell::Null, Cell::Null],
            ..Row::default()
        };
        let mut way = Way::default();
        way.pass(&row(0), 0);
        way.arrive(100);
        way.pass(&row(1000), 0);
        assert_eq!((way.metres, way.rest_um), (105, 144_444));
        way.arrive(106);
        assert_eq!((way.metres, way.rest_um), (106, 0));
        way.arrive(105);
        assert_eq!(way.rest_um, 999_999);
    }
}
