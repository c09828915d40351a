//! The promise of the thinned track, checked by a second computation of where it runs.

use avl_shared::fix::Decimal;
use proptest::prelude::*;

use super::*;

const LIMITS: ThinLimits = ThinLimits::within(10.0);

/// A fix at `n` seconds, so many metres north and east of a place in the Alps.
fn at(n: i64, north_m: f64, east_m: f64, speed_mps: f64) -> Fix {
    let scaled = |value: f64, scale: u8| {
        #[allow(clippy::cast_possible_truncation)]
        let mantissa = (value * 10_f64.powi(i32::from(scale))).round() as i64;
        Some(Decimal::new(mantissa, scale))
    };
    Fix {
        time: Some(1_700_000_000_000 + n * 1000),
        latitude: scaled(46.0 * 60.0 + north_m / METRES_PER_MINUTE, 5),
        longitude: scaled(8.0 * 60.0 + east_m / METRES_PER_MINUTE / 46_f64.to_radians().cos(), 5),
        speed: scaled(speed_mps * 3600.0 / 1852.0, 2),
        quality: Quality::Gps,
        ..Fix::default()
    }
}

fn straight(count: i64) -> Vec<Fix> {
    #[allow(clippy::cast_precision_loss)]
    (0..count).map(|n| at(n, n as f64 * 20.0, 0.0, 20.0)).collect()
}

#[test]
fn a_straight_road_at_one_speed_needs_its_ends_and_a_fix_in_two_minutes() {
    assert_eq!(needed(&straight(100), LIMITS), [0, 99]);
    assert_eq!(needed(&straight(300), LIMITS), [0, 120, 240, 299]);
}

#[test]
fn a_corner_is_kept_where_it_is() {
    #[allow(clippy::cast_precision_loss)]
    let fixes: Vec<Fix> = (0..60)
        .map(|n| {
            if n < 30 {
                at(n, n as f64 * 15.0, 0.0, 15.0)
            } else {
                at(n, 435.0, (n - 29) as f64 * 15.0, 15.0)
            }
        })
        .collect();
    let kept = needed(&fixes, LIMITS);
    assert!(kept.len() <= 5 && kept.iter().any(|index| (28..=31).contains(index)), "{kept:?}");
}

#[test]
fn a_stop_on_a_straight_road_is_kept_by_its_times() {
    #[allow(clippy::cast_precision_loss)]
    let fixes: Vec<Fix> = (0..90)
        .map(|n| match n {
            0..30 => at(n, n as f64 * 10.0, 0.0, 10.0),
            30..60 => at(n, 290.0, 0.0, 0.0),
            _ => at(n, 290.0 + (n - 59) as f64 * 10.0, 0.0, 10.0),
        })
        .collect();
    let kept = needed(&fixes, LIMITS);
    assert!(kept.iter().any(|index| (28..=31).contains(index)), "where it stopped: {kept:?}");
    assert!(kept.iter().any(|index| (58..=61).contains(index)), "where it started: {kept:?}");
}

#[test]
fn both_sides_of_every_change_are_kept() {
    let mut fixes = straight(50);
    fixes[20..].iter_mut().for_each(|fix| fix.inputs = Some(1));
    fixes[30].verdict = Verdict::TELEPORT;
    fixes[40].latitude = None;
    let kept = needed(&fixes, LIMITS);
    assert_eq!(kept, [0, 19, 20, 29, 30, 31, 39, 40, 41, 49]);
}

#[test]
fn a_clock_that_stands_or_goes_back_hides_nothing() {
    let mut fixes = straight(10);
    fixes[5].time = fixes[4].time;
    fixes[8].time = fixes[2].time;
    let kept = needed(&fixes, LIMITS);
    assert!([4, 5, 7, 8].iter().all(|index| kept.contains(index)), "{kept:?}");
    let timeless = vec![Fix::default(); 4];
    assert_eq!(needed(&timeless, LIMITS), [0, 1, 2, 3], "without any time there is no line to lie on");
}

#[test]
fn a_tunnel_is_its_ends_and_a_fix_in_two_minutes() {
    let lost = Fix { quality: Quality::NoFix, verdict: Verdict::NO_FIX, ..Fix::default() };
    let fixes: Vec<Fix> = (0..200_i64).map(|n| Fix { time: Some(n * 1000), ..lost.clone() }).collect();
    assert_eq!(needed(&fixes, LIMITS), [0, 120, 199]);
}

#[test]
fn a_stream_and_a_batch_choose_the_same_and_the_date_line_is_no_leap() {
    #[allow(clippy::cast_precision_loss)]
    let fixes: Vec<Fix> = (0..60_i64)
        .map(|n| {
            let minutes = 10_799_900 + n * 10;
            let wrapped = if minutes >= 10_800_000 { minutes - 21_600_000 } else { minutes };
            Fix {
                time: Some(n * 1000),
                latitude: Some(Decimal::new(0, 3)),
                longitude: Some(Decimal::new(wrapped, 3)),
                ..Fix::default()
            }
        })
        .collect();
    assert_eq!(needed(&fixes, LIMITS), [0, 59]);
}

#[test]
fn memory_is_bounded_whatever_the_receiver_prints() {
    let fixes: Vec<Fix> = (0..5000_i64).map(|n| Fix { time: Some(n), ..at(0, 0.0, 0.0, 0.0) }).collect();
    let mut thinner = Thinner::new(LIMITS);
    let mut kept = 0;
    for fix in &fixes {
        kept += thinner.push(fix, ()).into_iter().count();
        assert!(thinner.skipped.len() <= MAX_WINDOW);
    }
    assert!(kept >= 8, "{kept}");
}

proptest! {
    /// Whatever was driven: order and ends stay, no gap is too long, and every skipped fix is within the limits of
    /// the line between its kept neighbours at its time.
    #[test]
    fn nothing_skipped_is_farther_off_than_promised(
        steps in prop::collection::vec((1_i64..40, -60.0_f64..60.0, -60.0_f64..60.0, 0.0_f64..30.0, 0_u8..20), 2..150),
        limit in 1.0_f64..60.0,
    ) {
        let limits = ThinLimits { position_m: limit, ..LIMITS };
        let (mut time, mut north, mut east) = (0, 0.0, 0.0);
        let fixes: Vec<Fix> = steps
            .iter()
            .map(|&(seconds, up, right, speed, event)| {
                (time, north, east) = (time + seconds, north + up, east + right);
                let verdict = if event == 0 { Verdict::FROZEN } else { Verdict::empty() };
                Fix { verdict, ..at(time, north, east, speed) }
            })
            .collect();
        let kept = needed(&fixes, limits);
        prop_assert_eq!(kept.first(), Some(&0));
        prop_assert_eq!(kept.last(), Some(&(fixes.len() - 1)));
        for pair in kept.windows(2) {
            let (first, last) = (&fixes[pair[0]], &fixes[pair[1]]);
            prop_assert!(pair[0] < pair[1]);
            let (from, to) = (first.time.unwrap(), last.time.unwrap());
            prop_assert!(pair[1] == pair[0] + 1 || to - from <= limits.max_gap_ms);
            for skipped in &fixes[pair[0] + 1..pair[1]] {
                prop_assert_eq!(skipped.verdict, first.verdict);
                prop_assert_eq!(skipped.verdict, last.verdict);
                #[allow(clippy::cast_precision_loss)]
                let part = (skipped.time.unwrap() - from) as f64 / (to - from) as f64;
                let between = |value: fn(&Fix) -> Option<f64>| {
                    let (a, b) = (value(first).unwrap(), value(last).unwrap());
                    a + (b - a) * part
                };
                let north = (between(Fix::latitude_degrees) - skipped.latitude_degrees().unwrap()) * 111_120.0;
                let east = (between(Fix::longitude_degrees) - skipped.longitude_degrees().unwrap())
                    * 111_120.0 * first.latitude_degrees().unwrap().to_radians().cos();
                prop_assert!(north.hypot(east) <= limit + 0.01, "{} m", north.hypot(east));
                let speed = between(Fix::speed_mps) - skipped.speed_mps().unwrap();
                prop_assert!(speed.abs() <= limits.speed_mps + 1e-6);
            }
        }
    }
}
