//! The description of a batch's contents, walked once by the encoder and once by the decoder.
//!
//! A [`Walk`] holds what both sides know so far. [`Walk::row`] codes one fix against it: status first, then time,
//! quality, satellites and HDOP, then speed and course, and from those the position.

use crate::fix::{Decimal, MAX_SCALE, Quality};

use super::coder::Coder;
use super::predict::{self, Reckoning, Velocity};
use super::priors::EXPECTED;
use super::row::{ALTITUDE, COURSE, Cell, HDOP, LATITUDE, LONGITUDE, Profile, Row, SPEED, full_turn};
use super::symbol::{Bucket, DECIMALS, Magnitude, extra, layout, size_of};

/// A decoder met a symbol that no encoder writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    Null,
    #[default]
    Value,
    Escape,
}

fn kind(cell: Cell) -> Kind {
    match cell {
        Cell::Null => Kind::Null,
        Cell::Value(_) => Kind::Value,
        Cell::Escape(_) => Kind::Escape,
    }
}

/// What rarely changes: which columns are there, the verdict, the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    kinds: [Kind; DECIMALS],
    time: bool,
    satellites: bool,
    uptime: bool,
    verdict: u16,
    inputs: Option<u16>,
}

impl Status {
    fn of(row: &Row) -> Self {
        Self {
            kinds: row.cells.map(kind),
            time: row.time.is_some(),
            satellites: row.satellites.is_some(),
            uptime: row.uptime.is_some(),
            verdict: row.verdict,
            inputs: row.inputs,
        }
    }

    fn code<C: Coder>(coder: &mut C, last: &Self, this: &Self) -> Self {
        let mut kinds = [Kind::Null; DECIMALS];
        for (column, kind) in kinds.iter_mut().enumerate() {
            let case = column * 6 + 2 * last.kinds[column] as usize;
            *kind = if layout::KINDS.code(coder, case, this.kinds[column] == last.kinds[column]) {
                last.kinds[column]
            } else {
                let (one, other) = match last.kinds[column] {
                    Kind::Null => (Kind::Value, Kind::Escape),
                    Kind::Value => (Kind::Null, Kind::Escape),
                    Kind::Escape => (Kind::Value, Kind::Null),
                };
                if layout::KINDS.code(coder, case + 1, this.kinds[column] == one) { one } else { other }
            };
        }
        let mut present = |index: usize, last: bool, this: bool| {
            layout::PRESENT.code(coder, 2 * index + usize::from(last), this)
        };
        let time = present(0, last.time, this.time);
        let satellites = present(1, last.satellites, this.satellites);
        let uptime = present(2, last.uptime, this.uptime);
        let has_inputs = present(3, last.inputs.is_some(), this.inputs.is_some());
        let mut verdict = last.verdict;
        if !layout::VERDICT_SAME.code(coder, 0, this.verdict == last.verdict) {
            for bit in 0..16 {
                let case = 2 * bit + usize::from(last.verdict >> bit & 1);
                let set = layout::VERDICT_BITS.code(coder, case, this.verdict >> bit & 1 == 1);
                verdict = verdict & !(1 << bit) | u16::from(set) << bit;
            }
        }
        let inputs = has_inputs.then(|| match last.inputs {
            Some(inputs) if layout::INPUTS_SAME.code(coder, 0, this.inputs == last.inputs) => inputs,
            #[allow(clippy::cast_possible_truncation)] // 16 bits were read
            _ => coder.raw(u64::from(this.inputs.unwrap_or(0)), 16) as u16,
        });
        Self { kinds, time, satellites, uptime, verdict, inputs }
    }
}

/// A column of residuals: its last value, its last step, and the size of residual to expect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) last: Option<i64>,
    pub(super) step: i64,
    residual: i64,
    expected: Magnitude,
}

impl Column {
    pub(super) const fn new(expected: u32) -> Self {
        Self { last: None, step: 0, residual: 0, expected: Magnitude::new(expected) }
    }

    pub(super) fn learn(&mut self, value: i64, step: i64, residual: i64) {
        self.last = Some(value);
        self.step = step;
        self.residual = residual;
        self.expected.learn(residual);
    }

    pub(super) fn zero_case(&self) -> usize {
        usize::from(self.residual != 0)
    }

    pub(super) fn sign_case(&self) -> usize {
        sign_case(self.residual)
    }

    /// Codes a value against a prediction; `None` means that this is the column's first. `expected` is the size of
    /// residual to expect, in sixteenths.
    fn code<C: Coder>(
        &mut self,
        coder: &mut C,
        index: usize,
        predicted: Option<i64>,
        expected: u32,
        value: i64,
    ) -> i64 {
        let (Some(last), Some(predicted)) = (self.last, predicted) else {
            let value = layout::first(index).code(coder, value);
            self.last = Some(value);
            return value;
        };
        let residual = layout::residual(index).code(
            coder,
            Bucket::of(expected),
            self.zero_case(),
            self.sign_case(),
            value.wrapping_sub(predicted),
        );
        let value = predicted.wrapping_add(residual);
        self.learn(value, value.wrapping_sub(last), residual);
        value
    }

    /// Codes a value of format 2 against the last one.
    pub(super) fn code_extra<C: Coder>(&mut self, coder: &mut C, index: usize, value: i64) -> i64 {
        let Some(last) = self.last else {
            let value = extra::first(index).code(coder, value);
            self.last = Some(value);
            return value;
        };
        let (expected, zero, sign) = (Bucket::of(self.expected()), self.zero_case(), self.sign_case());
        let residual = extra::residual(index).code(coder, expected, zero, sign, value.wrapping_sub(last));
        let value = last.wrapping_add(residual);
        self.learn(value, residual, residual);
        value
    }

    pub(super) fn expected(&self) -> u32 {
        self.expected.expected()
    }

    /// A column that is changing fast is harder to predict: `weight` sixteenths of the last step are added.
    fn expected_with_step(&self, weight: u32) -> u32 {
        self.expected() + weight * size_of(self.step)
    }
}

pub(super) fn sign_case(residual: i64) -> usize {
    match residual.signum() {
        0 => 0,
        1 => 1,
        _ => 2,
    }
}

/// Milliseconds in a unit of the time column, by the symbol that stands for it.
pub(crate) const TIME_UNITS: [i64; 4] = [1, 10, 100, 1000];
/// Intervals a receiver is usually set to, in milliseconds; symbol 15 is any other.
const INTERVALS: [i64; 15] =
    [1000, 200, 100, 500, 2000, 5000, 10_000, 50, 250, 30_000, 60_000, 120_000, 0, 40, 20];
/// 2000-01-01T00:00:00Z.
const PLAIN_TIME_FROM: i64 = 946_684_800;
/// Plain seconds are 31 bits: four that the priors know, then 27.
const PLAIN_TIME_BITS: u32 = 31;
const TREND_ABOVE_KNOTS: i64 = 2;
// Shares of the last step that go on, in sixteenths, and weights of the last step in the size of residual to expect.
// Chosen on all logs and simulated drives together; they move sizes by about one per cent.
const MOVING_SPEED_DAMPING: i64 = 14;
const SLOW_SPEED_DAMPING: i64 = 8;
const COURSE_DAMPING: i64 = 13;
const ALTITUDE_DAMPING: i64 = 12;
const POSITION_DAMPING: i64 = 12;
const SPEED_STEP_WEIGHT: u32 = 2;
const COURSE_STEP_WEIGHT: u32 = 4;

pub(crate) struct Walk {
    profile: Profile,
    time_unit: i64,
    full_turn: i64,
    reckoning: Reckoning,
    status: Status,
    time: Column,
    interval: Option<i64>,
    uptime: Column,
    quality: (Option<Quality>, Quality),
    quality_kept: bool,
    satellites: Column,
    columns: [Column; DECIMALS],
    hdop_before: i64,
    velocity: Velocity,
    hdop_mean: HdopMean,
}

impl Walk {
    #[must_use]
    pub(crate) fn new(profile: &Profile, time_unit: i64) -> Self {
        let mut columns = [Column::new(0); DECIMALS];
        for (index, column) in columns.iter_mut().enumerate() {
            *column = Column::new(EXPECTED[index][usize::from(profile[index])]);
        }
        Self {
            profile: *profile,
            time_unit,
            full_turn: full_turn(profile),
            reckoning: Reckoning::new(profile[LATITUDE], profile[LONGITUDE], profile[SPEED]),
            status: Status {
                kinds: [Kind::Value; DECIMALS],
                time: true,
                satellites: true,
                uptime: false,
                verdict: 0,
                inputs: None,
            },
            time: Column::new(0),
            interval: None,
            uptime: Column::new(0),
            quality: (None, Quality::NoFix),
            quality_kept: true,
            satellites: Column::new(2),
            columns,
            hdop_before: 0,
            velocity: Velocity::default(),
            hdop_mean: HdopMean::default(),
        }
    }

    /// What each decimal column's last prediction was off by.
    #[must_use]
    pub(crate) fn residuals(&self) -> [i64; DECIMALS] {
        self.columns.map(|column| column.residual)
    }

    #[must_use]
    pub(crate) const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Codes one row; a decoder passes any row.
    ///
    /// # Errors
    /// [`Malformed`] when a decoder meets what no encoder writes.
    pub(crate) fn row<C: Coder>(&mut self, coder: &mut C, row: &Row) -> Result<Row, Malformed> {
        let status = Status::of(row);
        let changed =
            layout::STATUS.code(coder, usize::from(self.time.last.is_some()), status != self.status);
        let status = if changed { Status::code(coder, &self.status, &status) } else { self.status };
        self.status = status;

        let mut coded = Row { verdict: status.verdict, inputs: status.inputs, ..Row::default() };
        let mut elapsed = self.interval.unwrap_or(INTERVALS[0]);
        if status.time {
            let (time, step) = self.time(coder, row.time.unwrap_or(0));
            coded.time = Some(time);
            elapsed = step.unwrap_or(elapsed);
        }
        if status.uptime {
            coded.uptime = Some(self.uptime(coder, row.uptime.unwrap_or(0), elapsed));
        }
        coded.quality = self.quality(coder, row.quality)?;
        if status.satellites {
            coded.satellites = Some(self.satellites(coder, row.satellites.unwrap_or(0))?);
        }
        let units = |column: usize| match row.cells[column] {
            Cell::Value(units) => units,
            _ => 0,
        };
        if status.kinds[HDOP] == Kind::Value {
            coded.cells[HDOP] = Cell::Value(self.hdop(coder, units(HDOP)));
        }
        if status.kinds[SPEED] == Kind::Value {
            coded.cells[SPEED] = Cell::Value(self.speed(coder, units(SPEED)));
        }
        if status.kinds[COURSE] == Kind::Value {
            coded.cells[COURSE] = Cell::Value(self.course(coder, units(COURSE)));
        }
        let travelled = self.travelled(elapsed);
        for (column, way) in [(LATITUDE, travelled.map(|way| way.0)), (LONGITUDE, travelled.map(|way| way.1))]
        {
            if status.kinds[column] == Kind::Value {
                coded.cells[column] = Cell::Value(self.position(coder, column, way, units(column)));
            }
        }
        if status.kinds[ALTITUDE] == Kind::Value {
            let column = &mut self.columns[ALTITUDE];
            let predicted = column.last.map(|last| predict::damped(last, column.step, ALTITUDE_DAMPING));
            coded.cells[ALTITUDE] =
                Cell::Value(column.code(coder, ALTITUDE, predicted, column.expected(), units(ALTITUDE)));
        }
        for column in 0..DECIMALS {
            if status.kinds[column] == Kind::Escape {
                coded.cells[column] = Cell::Escape(escape(coder, row.cells[column])?);
            }
        }
        Ok(coded)
    }

    /// The time, and the step from the last one in milliseconds.
    fn time<C: Coder>(&mut self, coder: &mut C, time: i64) -> (i64, Option<i64>) {
        let Some(last) = self.time.last else {
            let time = first_time(coder, self.time_unit, time);
            self.time.last = Some(time);
            return (time, None);
        };
        let step = time.wrapping_sub(last);
        let step = match self.interval {
            None => {
                let known = INTERVALS.iter().position(|interval| *interval == step);
                #[allow(clippy::cast_possible_truncation)] // below 15
                let symbol = layout::INTERVAL.code(coder, known.map_or(15, |index| index as u8));
                match INTERVALS.get(usize::from(symbol)) {
                    Some(interval) => *interval,
                    None => layout::first(layout::TIME).code(coder, step),
                }
            }
            Some(interval) => {
                let residual = step.wrapping_sub(interval);
                // In the batch's unit where that is exact, which it always is short of an overflow.
                let exact = layout::TIME_PLAIN.code(coder, 0, residual % self.time_unit == 0);
                let unit = if exact { self.time_unit } else { 1 };
                let case = self.time.zero_case();
                let residual = layout::residual(layout::TIME)
                    .code(coder, Bucket::of(0), case, 0, residual / unit)
                    .wrapping_mul(unit);
                self.time.residual = residual;
                interval.wrapping_add(residual)
            }
        };
        let time = last.wrapping_add(step);
        self.time.last = Some(time);
        // One odd step (a gap, a jump) does not change the receiver's rate; two equal ones do.
        if self.interval.is_none() || step == self.time.step {
            self.interval = Some(step);
        }
        self.time.step = step;
        (time, Some(step))
    }

    fn uptime<C: Coder>(&mut self, coder: &mut C, uptime: u64, elapsed: i64) -> u64 {
        let predicted = self.uptime.last.map(|last| last.wrapping_add(elapsed));
        self.uptime
            .code(coder, layout::UPTIME, predicted, self.uptime.expected(), uptime.cast_signed())
            .cast_unsigned()
    }

    fn quality<C: Coder>(&mut self, coder: &mut C, quality: Quality) -> Result<Quality, Malformed> {
        let (last, before) = self.quality;
        let case = usize::from(last.is_some()) * (1 + usize::from(self.quality_kept));
        self.quality_kept = last.is_some() && layout::QUALITY_SAME.code(coder, case, Some(quality) == last);
        let coded = match last {
            Some(last) if self.quality_kept => return Ok(last),
            Some(_) if layout::QUALITY_BACK.code(coder, 0, quality == before) => before,
            _ => Quality::from_code(layout::QUALITY.code(coder, quality.code()))
                .ok_or(Malformed("a quality code above 8"))?,
        };
        self.quality = (Some(coded), last.unwrap_or(coded));
        Ok(coded)
    }

    fn satellites<C: Coder>(&mut self, coder: &mut C, satellites: u8) -> Result<u8, Malformed> {
        let predicted = self.satellites.last;
        let value = self.satellites.code(
            coder,
            layout::SATELLITES,
            predicted,
            self.satellites.expected(),
            i64::from(satellites),
        );
        u8::try_from(value).map_err(|_| Malformed("more than 255 satellites"))
    }

    /// HDOP changes with the satellites, often returns to the value before, and tends to its mean.
    fn hdop<C: Coder>(&mut self, coder: &mut C, hdop: i64) -> i64 {
        let satellites_changed = usize::from(self.satellites.residual != 0);
        let column = &mut self.columns[HDOP];
        let Some(last) = column.last else {
            let first = column.code(coder, HDOP, None, 0, hdop);
            self.hdop_before = first;
            self.hdop_mean = HdopMean::new(first);
            return first;
        };
        let expected = Bucket::of(column.expected());
        let activity = expected.coarse();
        let case = 16 * satellites_changed + 8 * usize::from(column.step != 0) + activity;
        let value = if layout::HDOP_SAME.code(coder, case, hdop == last) {
            last
        } else if layout::HDOP_BACK.code(coder, activity, hdop == self.hdop_before) {
            self.hdop_before
        } else {
            let residual = hdop.wrapping_sub(last);
            let sign_case = sign_case(self.hdop_mean.above(last));
            last.wrapping_add(layout::residual(HDOP).code(coder, expected, 2, sign_case, residual))
        };
        if value != last {
            self.hdop_before = last;
        }
        let step = value.wrapping_sub(last);
        self.hdop_mean.learn(value);
        column.learn(value, step, step);
        value
    }

    /// Below this speed, speed and course are mostly noise and their trends mean little.
    fn moving(&self) -> bool {
        let threshold = TREND_ABOVE_KNOTS * 10_i64.pow(u32::from(self.profile[SPEED]));
        self.columns[SPEED].last.is_some_and(|speed| speed > threshold)
    }

    fn speed<C: Coder>(&mut self, coder: &mut C, speed: i64) -> i64 {
        let damping = if self.moving() { MOVING_SPEED_DAMPING } else { SLOW_SPEED_DAMPING };
        let column = &mut self.columns[SPEED];
        let predicted = column.last.map(|last| predict::damped(last, column.step, damping).max(0));
        column.code(coder, SPEED, predicted, column.expected_with_step(SPEED_STEP_WEIGHT), speed)
    }

    fn course<C: Coder>(&mut self, coder: &mut C, course: i64) -> i64 {
        let full = self.full_turn;
        let moving = self.moving();
        let column = &mut self.columns[COURSE];
        // Both 0.0 and 360.0 are printed; on the circle they are one, told apart afterwards.
        let on_circle = if course == full { 0 } else { course };
        let coded = match column.last {
            None => {
                let coded = layout::first(COURSE).code(coder, on_circle).rem_euclid(full);
                column.last = Some(coded);
                coded
            }
            Some(last) => {
                let trend = if moving { predict::damped(last, column.step, COURSE_DAMPING) } else { last };
                let predicted = trend.rem_euclid(full);
                let residual = layout::residual(COURSE).code(
                    coder,
                    Bucket::of(column.expected_with_step(COURSE_STEP_WEIGHT)),
                    column.zero_case(),
                    column.sign_case(),
                    predict::turn(predicted, on_circle, full),
                );
                let coded = predicted.wrapping_add(residual).rem_euclid(full);
                column.learn(coded, predict::turn(last, coded, full), residual);
                coded
            }
        };
        let as_full = coded == 0 && layout::COURSE_FULL.code(coder, 0, course == full);
        if as_full { full } else { coded }
    }

    /// The way in units of latitude and longitude since the last row, when speed and course tell it.
    fn travelled(&mut self, elapsed: i64) -> Option<(i64, i64)> {
        let speed = self.columns[SPEED].last?;
        let course = self.columns[COURSE].last?;
        let now = Velocity::of(speed, course, self.full_turn);
        let before = std::mem::replace(&mut self.velocity, now);
        let latitude = self.columns[LATITUDE].last?;
        Some(self.reckoning.travelled(before, now, elapsed, latitude))
    }

    fn position<C: Coder>(&mut self, coder: &mut C, index: usize, way: Option<i64>, value: i64) -> i64 {
        let latitude_residual = self.columns[LATITUDE].residual;
        let column = &mut self.columns[index];
        let predicted = column.last.map(|last| match way {
            Some(way) => predict::reckoned(last, way, column.residual),
            None => predict::damped(last, column.step, POSITION_DAMPING),
        });
        // A latitude that was just off by much foretells the same of its longitude.
        let expected = match index {
            LONGITUDE => (10 * column.expected() + 6 * 16 * size_of(latitude_residual)) / 16,
            _ => column.expected(),
        };
        column.code(coder, index, predicted, expected, value)
    }
}

/// Where HDOP has been lately, in sixteenths.
#[derive(Clone, Copy, Debug, Default)]
struct HdopMean(i64);

impl HdopMean {
    fn sixteenths(hdop: i64) -> i64 {
        hdop.clamp(-1 << 40, 1 << 40) << 4
    }

    fn new(hdop: i64) -> Self {
        Self(Self::sixteenths(hdop))
    }

    fn learn(&mut self, hdop: i64) {
        self.0 += (Self::sixteenths(hdop) - self.0) >> 3;
    }

    /// Positive when the mean is above `hdop`.
    fn above(self, hdop: i64) -> i64 {
        (self.0 >> 4) - (Self::sixteenths(hdop) >> 4)
    }
}

/// The first time: a flag and 31 bits of seconds from 2000 on (to 2068) with the part of a second, or all 64 bits.
fn first_time<C: Coder>(coder: &mut C, unit: i64, time: i64) -> i64 {
    let seconds = time.div_euclid(1000).wrapping_sub(PLAIN_TIME_FROM);
    let plain = (0..1 << PLAIN_TIME_BITS).contains(&seconds);
    if !layout::TIME_PLAIN.code(coder, 1, plain) {
        return coder.raw(time.cast_unsigned(), 64).cast_signed();
    }
    let bits = seconds.cast_unsigned();
    #[allow(clippy::cast_possible_truncation)] // four bits
    let era = layout::ERA.code(coder, (bits >> 27 & 15) as u8);
    let seconds = (u64::from(era) << 27 | coder.raw(bits & 0x7FF_FFFF, 27)).cast_signed();
    let parts = 1000 / unit;
    let width = 64 - (parts - 1).cast_unsigned().leading_zeros();
    let part = coder.raw((time.rem_euclid(1000) / unit).cast_unsigned(), width).cast_signed();
    (seconds + PLAIN_TIME_FROM) * 1000 + part * unit
}

pub(super) fn escape<C: Coder>(coder: &mut C, cell: Cell) -> Result<Decimal, Malformed> {
    let value = match cell {
        Cell::Escape(value) => value,
        _ => Decimal::new(0, 0),
    };
    #[allow(clippy::cast_possible_truncation)] // four bits were read
    let scale = coder.raw(u64::from(value.scale()), 4) as u8;
    let mantissa = coder.raw(value.mantissa().cast_unsigned(), 64).cast_signed();
    if scale > MAX_SCALE { Err(Malformed("a scale above 9")) } else { Ok(Decimal::new(mantissa, scale)) }
}
