//! A fix as `avl.v1.Position`, and back.
//!
//! Integrators get degrees and metres per second in binary. The way back finds the decimal that was printed: the shortest
//! one that gives the same binary number.

use avl_shared::fix::{Decimal, Fix, FixMode, MAX_SCALE, Quality, UtcMillis, Verdict};
use avl_shared::identity::VehicleKey;
use avl_shared::record;
use avl_shared::sequence::Epoch;

use crate::store;

/// Binary numbers hold fifteen decimal digits; beyond them several decimals give the same one.
const DIGITS: f64 = 1e15;

#[must_use]
pub fn position_message(
    vehicle: &VehicleKey,
    epoch: Epoch,
    sequence: u64,
    fix: &Fix,
    received_at: UtcMillis,
) -> record::Position {
    record::Position {
        fleet: vehicle.fleet.as_str().to_owned(),
        vehicle: vehicle.vehicle.as_str().to_owned(),
        epoch: epoch.0,
        sequence,
        time_ms: fix.time,
        received_at_ms: received_at,
        latitude_degrees: fix.latitude_degrees(),
        longitude_degrees: fix.longitude_degrees(),
        altitude_metres: fix.altitude_metres(),
        speed_mps: fix.speed_mps(),
        course_degrees: fix.course_degrees(),
        hdop: fix.hdop.map(Decimal::to_f64),
        vdop: fix.vdop.map(Decimal::to_f64),
        pdop: fix.pdop.map(Decimal::to_f64),
        satellites: fix.satellites.map(u32::from),
        satellites_in_view: fix.in_view.map(u32::from),
        quality: fix.quality.code().into(),
        mode: fix.mode.map_or(0, |mode| mode.code().into()),
        doubts: doubts(fix.verdict).collect(),
        inputs: fix.inputs.map(u32::from),
        odometer_metres: fix.odometer,
        uptime_ms: fix.uptime,
    }
}

/// `None` when it names no vehicle, or says something that no fix can.
#[must_use]
pub fn position_of(message: &record::Position) -> Option<(VehicleKey, store::Position)> {
    let vehicle = VehicleKey { fleet: message.fleet.parse().ok()?, vehicle: message.vehicle.parse().ok()? };
    let narrow = |number: Option<u32>| number.map(u8::try_from).transpose();
    let printed = |number: Option<f64>, unit: fn(Decimal) -> Option<f64>| {
        number.and_then(|number| shortest(number, unit))
    };
    let plain = |decimal: Decimal| Some(decimal.to_f64());
    let fix = Fix {
        time: message.time_ms,
        latitude: printed(message.latitude_degrees, |minutes| {
            Fix { latitude: Some(minutes), ..Fix::default() }.latitude_degrees()
        }),
        longitude: printed(message.longitude_degrees, |minutes| {
            Fix { longitude: Some(minutes), ..Fix::default() }.longitude_degrees()
        }),
        altitude: printed(message.altitude_metres, plain),
        speed: printed(message.speed_mps, |knots| Fix { speed: Some(knots), ..Fix::default() }.speed_mps()),
        course: printed(message.course_degrees, plain),
        hdop: printed(message.hdop, plain),
        vdop: printed(message.vdop, plain),
        pdop: printed(message.pdop, plain),
        satellites: narrow(message.satellites).ok()?,
        in_view: narrow(message.satellites_in_view).ok()?,
        quality: Quality::from_code(u8::try_from(message.quality).ok()?)?,
        mode: FixMode::from_code(u8::try_from(message.mode).ok()?),
        verdict: verdict(&message.doubts),
        inputs: message.inputs.map(u16::try_from).transpose().ok()?,
        odometer: message.odometer_metres,
        uptime: message.uptime_ms,
    };
    let (epoch, sequence) = (Epoch(message.epoch), message.sequence);
    Some((vehicle, store::Position { epoch, sequence, fix, received_at: message.received_at_ms }))
}

/// A doubt's number is that of its bit, counted from 1.
fn doubts(verdict: Verdict) -> impl Iterator<Item = i32> {
    (0..16).filter(move |bit| verdict.bits() & (1 << bit) != 0).map(|bit| bit + 1)
}

fn verdict(doubts: &[i32]) -> Verdict {
    let bits = doubts.iter().filter(|doubt| (1..=16).contains(*doubt)).map(|doubt| 1 << (doubt - 1));
    Verdict::from_bits_retain(bits.fold(0, std::ops::BitOr::bitor))
}

/// The decimal with the fewest places that `unit` makes into `number`; the nearest with the most places where there is none.
fn shortest(number: f64, unit: fn(Decimal) -> Option<f64>) -> Option<Decimal> {
    // All units are proportional, so the unit of one says how many there are.
    let count = number / unit(Decimal::new(1, 0))?;
    let mut nearest = None;
    for scale in 0..=MAX_SCALE {
        let mantissa = (count * 10_f64.powi(scale.into())).round();
        if !mantissa.is_finite() || mantissa.abs() >= DIGITS {
            break;
        }
        #[allow(clippy::cast_possible_truncation)] // Whole, and far below 2^63.
        let decimal = Decimal::new(mantissa as i64, scale);
        nearest = Some(decimal);
        #[allow(clippy::float_cmp)] // The same computation gives the same bits.
        if unit(decimal) == Some(number) {
            break;
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(digits: i64) -> impl Strategy<Value = Option<Decimal>> {
        prop::option::of(
            (-digits..digits, 0..=7_u8).prop_map(|(mantissa, scale)| Decimal::new(mantissa, scale)),
        )
    }

    fn fixes() -> impl Strategy<Value = Fix> {
        let numbers = (
            decimal(54_000_000_000),
            decimal(108_000_000_000),
            decimal(10_000_000),
            decimal(1_000_000),
            decimal(400_000),
        );
        let small = (decimal(10_000), decimal(10_000), decimal(10_000), any::<u16>(), 0..=8_u8, 0..=3_u8);
        let rest = (any::<Option<i64>>(), any::<Option<u16>>(), any::<Option<u8>>(), any::<Option<u64>>());
        (numbers, small, rest).prop_map(|(numbers, small, (time, inputs, satellites, odometer))| {
            let (latitude, longitude, altitude, speed, course) = numbers;
            let (hdop, vdop, pdop, verdict, quality, mode) = small;
            Fix {
                time,
                latitude,
                longitude,
                altitude,
                speed,
                course,
                hdop,
                satellites,
                quality: Quality::from_code(quality).unwrap(),
                verdict: Verdict::from_bits_retain(verdict),
                inputs,
                uptime: odometer,
                vdop,
                pdop,
                in_view: satellites,
                mode: FixMode::from_code(mode),
                odometer,
            }
        })
    }

    proptest! {
        #[test]
        fn a_fix_comes_back_with_the_digits_that_were_printed(fix in fixes(), sequence: u64, epoch: u32, at: i64) {
            let vehicle: VehicleKey = "acme/truck-7".parse().unwrap();
            let message = position_message(&vehicle, Epoch(epoch), sequence, &fix, at);
            let position = store::Position { epoch: Epoch(epoch), sequence, fix, received_at: at };
            prop_assert_eq!(position_of(&message), Some((vehicle, position)));
        }
    }

    #[test]
    fn what_no_fix_can_say_is_nothing() {
        let good = position_message(&"a/b".parse().unwrap(), Epoch(1), 2, &Fix::default(), 3);
        assert!(position_of(&good).is_some());
        for bad in [
            record::Position { fleet: "a b".to_owned(), ..good.clone() },
            record::Position { quality: 77, ..good.clone() },
            record::Position { satellites: Some(256), ..good.clone() },
        ] {
            assert_eq!(position_of(&bad), None);
        }
        let strange = record::Position { hdop: Some(f64::NAN), altitude_metres: Some(1e300), ..good };
        let (_, position) = position_of(&strange).unwrap();
        assert_eq!((position.fix.hdop, position.fix.altitude), (None, None));
    }
}
