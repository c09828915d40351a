//! Fixes as rows of whole numbers: each decimal column at one scale, the finest its values were printed with.

use crate::fix::{Decimal, Fix, Quality, Verdict};

use super::symbol::DECIMALS;

/// Columns of decimals, in the order of the unit profile.
pub(crate) const LATITUDE: usize = 0;
pub(crate) const LONGITUDE: usize = 1;
pub(crate) const ALTITUDE: usize = 2;
pub(crate) const SPEED: usize = 3;
pub(crate) const COURSE: usize = 4;
pub(crate) const HDOP: usize = 5;

/// The unit profile: decimals behind the point in each decimal column.
pub(crate) type Profile = [u8; DECIMALS];

/// One value of a decimal column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cell {
    #[default]
    Null,
    /// In units of the column.
    Value(i64),
    /// A value that the column's unit or range cannot hold, as it was.
    Escape(Decimal),
}

/// A fix in the units of its batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) time: Option<i64>,
    pub(crate) cells: [Cell; DECIMALS],
    pub(crate) satellites: Option<u8>,
    pub(crate) quality: Quality,
    pub(crate) verdict: u16,
    pub(crate) inputs: Option<u16>,
    pub(crate) uptime: Option<u64>,
}

fn decimals(fix: &Fix) -> [Option<Decimal>; DECIMALS] {
    [fix.latitude, fix.longitude, fix.altitude, fix.speed, fix.course, fix.hdop]
}

/// A full turn of the course column.
#[must_use]
pub(crate) fn full_turn(profile: &Profile) -> i64 {
    360 * 10_i64.pow(u32::from(profile[COURSE]))
}

/// The finest scale of each column. A column without values takes that of its neighbour in kind, or none.
#[must_use]
pub(crate) fn profile_of(fixes: &[Fix]) -> Profile {
    let mut profile = [0; DECIMALS];
    for fix in fixes {
        for (scale, value) in profile.iter_mut().zip(decimals(fix)) {
            *scale = value.map_or(*scale, |value| value.scale().max(*scale));
        }
    }
    profile
}

impl Row {
    #[must_use]
    pub(crate) fn of(fix: &Fix, profile: &Profile) -> Self {
        let mut cells = [Cell::Null; DECIMALS];
        for (column, value) in decimals(fix).into_iter().enumerate() {
            let Some(value) = value else { continue };
            // A course outside the circle has no place in wrapped residuals.
            let fits = |units: &i64| column != COURSE || (0..=full_turn(profile)).contains(units);
            cells[column] = match value.rescaled(profile[column]).filter(fits) {
                Some(units) => Cell::Value(units),
                None => Cell::Escape(value),
            };
        }
        Self {
            time: fix.time,
            cells,
            satellites: fix.satellites,
            quality: fix.quality,
            verdict: fix.verdict.bits(),
            inputs: fix.inputs,
            uptime: fix.uptime,
        }
    }

    #[must_use]
    pub(crate) fn to_fix(self, profile: &Profile) -> Fix {
        let decimal = |column: usize| match self.cells[column] {
            Cell::Null => None,
            Cell::Value(units) => Some(Decimal::new(units, profile[column])),
            Cell::Escape(value) => Some(value),
        };
        Fix {
            time: self.time,
            latitude: decimal(LATITUDE),
            longitude: decimal(LONGITUDE),
            altitude: decimal(ALTITUDE),
            speed: decimal(SPEED),
            course: decimal(COURSE),
            hdop: decimal(HDOP),
            satellites: self.satellites,
            quality: self.quality,
            verdict: Verdict::from_bits_retain(self.verdict),
            inputs: self.inputs,
            uptime: self.uptime,
            ..Fix::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_takes_its_finest_scale_and_values_stay_equal() {
        let coarse = Fix { speed: Some(Decimal::new(5, 0)), ..Fix::default() };
        let fine = Fix { speed: Some(Decimal::new(1234, 3)), ..Fix::default() };
        let profile = profile_of(&[coarse.clone(), fine]);
        assert_eq!(profile[SPEED], 3);
        let row = Row::of(&coarse, &profile);
        assert_eq!(row.cells[SPEED], Cell::Value(5000));
        assert_eq!(row.to_fix(&profile), coarse);
    }

    #[test]
    fn what_the_column_cannot_hold_escapes() {
        let profile = [0, 0, 9, 0, 1, 0];
        let huge = Decimal::new(i64::MAX, 0);
        let fix = Fix { altitude: Some(huge), course: Some(Decimal::new(3601, 1)), ..Fix::default() };
        let row = Row::of(&fix, &profile);
        assert_eq!(row.cells[ALTITUDE], Cell::Escape(huge));
        assert_eq!(row.cells[COURSE], Cell::Escape(Decimal::new(3601, 1)));
        assert_eq!(row.to_fix(&profile), fix);
        let full = Fix { course: Some(Decimal::new(3600, 1)), ..Fix::default() };
        assert_eq!(Row::of(&full, &profile).cells[COURSE], Cell::Value(3600));
    }
}
