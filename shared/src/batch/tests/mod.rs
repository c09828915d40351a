mod hostile;
mod vectors;

use super::*;
use crate::fix::{Decimal, FixMode, Quality, Verdict};
use proptest::prelude::*;

fn decimal() -> impl Strategy<Value = Option<Decimal>> {
    let mantissa = prop_oneof![
        any::<i64>(),
        Just(i64::MIN),
        Just(i64::MAX),
        -40_000_i64..40_000,
        (0..19_u32).prop_map(|digits| 10_i64.pow(digits)),
    ];
    prop_oneof![1 => Just(None), 6 => (mantissa, 0..=9_u8).prop_map(|(m, s)| Some(Decimal::new(m, s)))]
}

prop_compose! {
    /// A fix with nothing but optional columns.
    fn any_extras()(
        vdop in decimal(), pdop in decimal(), in_view in any::<Option<u8>>(), mode in 0..=3_u8,
        odometer in prop_oneof![Just(None), any::<u64>().prop_map(Some), (0..1000_u64).prop_map(Some)],
    ) -> Fix {
        Fix { vdop, pdop, in_view, mode: FixMode::from_code(mode), odometer, ..Fix::default() }
    }
}

prop_compose! {
    fn any_fix()(
        time in prop_oneof![Just(None), any::<i64>().prop_map(Some), (0..4_000_000_000_000_i64).prop_map(Some)],
        latitude in decimal(), longitude in decimal(), altitude in decimal(), speed in decimal(), course in decimal(),
        hdop in decimal(), satellites in any::<Option<u8>>(), quality in 0..=8_u8, verdict in any::<u16>(),
        inputs in any::<Option<u16>>(), uptime in any::<Option<u64>>(), extras in prop::option::of(any_extras()),
    ) -> Fix {
        Fix {
            time, latitude, longitude, altitude, speed, course, hdop, satellites, inputs, uptime,
            quality: Quality::from_code(quality).unwrap(),
            verdict: Verdict::from_bits_retain(verdict),
            ..extras.unwrap_or_default()
        }
    }
}

prop_compose! {
    /// A drive: steps of a receiver's size, with now and then a value left out.
    fn drive()(
        scales in prop::array::uniform6(0..=7_u8),
        start in (any::<u32>(), -5400_i64..5400, -10_800_i64..10_800),
        steps in prop::collection::vec((0..20_u8, -300_i64..300, -300_i64..300, 0..3000_i64, -500_i64..500, any::<u16>()), 1..120),
        interval in prop_oneof![Just(1000_i64), Just(100), Just(200), Just(2000), 1..5000_i64],
        columns in prop_oneof![Just(0_u8), 0..32_u8],
    ) -> Vec<Fix> {
        let mut time = i64::from(start.0) * 1000;
        let mut position = [start.1, start.2].map(|minutes| minutes * 10_i64.pow(u32::from(scales[0])));
        let mut course = 0;
        steps.iter().map(|&(odd, north, east, speed, turn, other)| {
            time += if odd == 0 { interval * 7 } else if odd == 1 { -interval } else { interval };
            position[0] += north;
            position[1] += east;
            let full = 360 * 10_i64.pow(u32::from(scales[4]));
            course = (course + turn).rem_euclid(full + 1);
            let kept = |column: u8, units: i64, scale: u8| {
                (odd != 2 + column || other % 2 == 0).then(|| Decimal::new(units, scale))
            };
            Fix {
                time: (odd != 10).then_some(time),
                latitude: kept(0, position[0], scales[0]),
                longitude: kept(1, position[1], scales[0]),
                altitude: kept(2, i64::from(other % 50), scales[2]),
                speed: kept(3, speed, scales[3]),
                course: kept(4, course, scales[4]),
                hdop: kept(5, i64::from(other % 7), scales[5]),
                satellites: (odd != 11).then_some(other.to_le_bytes()[0] % 30),
                quality: if odd == 12 { Quality::NoFix } else { Quality::Gps },
                verdict: if odd == 10 { Verdict::NO_TIME } else { Verdict::empty() },
                inputs: (odd > 17).then_some(other & 3),
                uptime: (odd == 10).then_some(time.unsigned_abs()),
                vdop: (columns & 1 != 0 && odd != 13).then(|| Decimal::new(i64::from(other % 7) + 30, scales[5])),
                pdop: (columns & 2 != 0).then(|| Decimal::new(i64::from(other % 7) + 30, scales[5])),
                in_view: (columns & 4 != 0).then_some(other.to_le_bytes()[0] % 30),
                mode: FixMode::from_code(if columns & 8 == 0 { 0 } else { 1 + odd % 3 }),
                odometer: (columns & 16 != 0 && odd != 14).then_some(time.unsigned_abs() / 100),
            }
        }).collect()
    }
}

fn batch(fixes: Vec<Fix>, first: u64) -> Batch {
    let boot_id = fixes.iter().any(|fix| fix.uptime.is_some()).then_some(0xB007_1D00);
    Batch { epoch: Epoch(0x1234_5678), first, boot_id, fixes }
}

fn assert_round_trip(batch: &Batch) {
    let bytes = encode(batch).unwrap();
    assert_eq!(&decode(&bytes).unwrap(), batch);
    let header = peek(&bytes).unwrap();
    assert_eq!((header.epoch, header.range.first()), (batch.epoch, batch.first));
    assert_eq!(header.range.count(), batch.fixes.len() as u64);
}

proptest! {
    #[test]
    fn any_fixes_come_back_equal(fixes in prop::collection::vec(any_fix(), 1..30), first in 0..u64::MAX - 30) {
        assert_round_trip(&batch(fixes, first));
    }

    #[test]
    fn drives_come_back_equal(fixes in drive()) {
        assert_round_trip(&batch(fixes, 7));
    }

    #[test]
    fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }

    /// Behind a valid start, so that the walk itself meets the junk.
    #[test]
    fn random_codes_are_an_error(count in 1..200_u8, format in 1..=2_u8, bytes in prop::collection::vec(any::<u8>(), 4..300)) {
        let mut frame = vec![0xA0 | format, 0, 0, 0, 0, 0, count & 0x7F | 1];
        frame.extend(bytes);
        prop_assert!(decode(&frame).is_err());
    }

    #[test]
    fn a_cut_or_lengthened_batch_is_an_error(fixes in drive(), cut in any::<prop::sample::Index>(), junk in prop::collection::vec(any::<u8>(), 1..9)) {
        let bytes = encode(&batch(fixes, 0)).unwrap();
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(decode(&[&bytes[..], &junk[..]].concat()).is_err());
    }
}

proptest! {
    /// Who has none of the optional columns pays nothing for them, and is understood by every reader.
    #[test]
    fn a_batch_without_optional_columns_is_format_1_and_with_one_format_2(fixes in drive(), odometer in any::<u64>()) {
        let mut fixes = fixes;
        for fix in &mut fixes {
            *fix = Fix { vdop: None, pdop: None, in_view: None, mode: None, odometer: None, ..fix.clone() };
        }
        let plain = encode(&batch(fixes.clone(), 7)).unwrap();
        prop_assert_eq!(format(&plain), Ok(1));
        fixes[0].odometer = Some(odometer);
        let with_one = encode(&batch(fixes, 7)).unwrap();
        prop_assert_eq!(format(&with_one), Ok(2));
        // A reader that knows format 1 alone would fail at the CRC as well, were the first byte wrong.
        let mut mislabelled = with_one;
        mislabelled[0] = 0xA1;
        prop_assert!(decode(&mislabelled).is_err());
    }
}

#[test]
fn a_largest_batch_passes_and_one_more_is_refused() {
    let mut fixes = vec![Fix::default(); MAX_FIXES];
    assert_round_trip(&batch(fixes.clone(), 0));
    fixes.push(Fix::default());
    assert_eq!(encode(&batch(fixes, 0)), Err(EncodeError::Count(MAX_FIXES + 1)));
    assert_eq!(encode(&batch(Vec::new(), 0)), Err(EncodeError::Count(0)));
}
