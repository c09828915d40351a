use super::*;
use avl_shared::fix::{Decimal, Verdict};
use proptest::prelude::*;

/// Metres north and east of a place at 52° north.
fn fix(second: i64, north_m: f64, east_m: f64, mps: f64) -> Observed {
    #[allow(clippy::cast_possible_truncation)]
    let decimal = |value: f64| Some(Decimal::new((value * 1e5).round() as i64, 5));
    let fix = Fix {
        time: Some(1_764_931_200_000 + second * 1000),
        latitude: decimal(52.0 * 60.0 + north_m / 1852.0),
        longitude: decimal(east_m / 1852.0 / 52_f64.to_radians().cos()),
        speed: decimal(mps * 3600.0 / 1852.0),
        course: Some(Decimal::new(0, 0)),
        quality: Quality::Gps,
        ..Fix::default()
    };
    Observed { fix, ..Observed::default() }
}

fn terms(interval_s: u64) -> Terms {
    Terms {
        latency: Duration::from_secs(25),
        stay_connected: true,
        interval: Duration::from_secs(interval_s),
        distance_m: 0.0,
        heading_deg: 0.0,
    }
}

fn run(selector: &mut Selector, fixes: &[Observed], terms: &Terms) -> Vec<Choice> {
    let mut out = Vec::new();
    for fix in fixes {
        selector.push(fix.clone(), terms, &mut out);
    }
    selector.flush(&mut out);
    out
}

fn kept_seconds(out: &[Choice]) -> Vec<i64> {
    let time = |fix: &Fix| (fix.time.unwrap() - 1_764_931_200_000) / 1000;
    out.iter()
        .filter_map(|choice| match choice {
            Choice::Keep(observed) => Some(time(&observed.fix)),
            Choice::Withhold(_) => None,
        })
        .collect()
}

fn straight(count: i64) -> Vec<Observed> {
    #[allow(clippy::cast_precision_loss)]
    (0..count).map(|second| fix(second, 10.0 * second as f64, 0.0, 10.0)).collect()
}

#[test]
fn by_default_every_fix_is_kept_and_kept_at_once() {
    let mut selector = Selector::new(None);
    let mut out = Vec::new();
    for (index, observed) in straight(50).into_iter().enumerate() {
        selector.push(observed, &terms(0), &mut out);
        assert_eq!(out.len(), index + 1);
    }
    assert_eq!(kept_seconds(&out).len(), 50);
}

#[test]
fn an_interval_keeps_one_in_so_long_and_the_last() {
    let out = run(&mut Selector::new(None), &straight(26), &terms(10));
    assert_eq!(kept_seconds(&out), [0, 10, 20, 25]);
    assert_eq!(out.len(), 26, "the others are withheld, none is gone");
}

#[test]
fn distance_and_heading_add_to_the_interval() {
    let far = Terms { distance_m: 45.0, ..terms(60) };
    assert_eq!(kept_seconds(&run(&mut Selector::new(None), &straight(12), &far)), [0, 5, 10, 11]);
    let mut turning = straight(6);
    turning[3].fix.course = Some(Decimal::new(330, 0));
    let turn = Terms { heading_deg: 30.0, ..terms(60) };
    assert_eq!(kept_seconds(&run(&mut Selector::new(None), &turning, &turn)), [0, 3, 4, 5]);
}

#[test]
fn what_matters_is_never_left_out() {
    let mut fixes = straight(9);
    fixes[2].fix.verdict = Verdict::TELEPORT;
    fixes[4].fix.inputs = Some(1);
    for later in &mut fixes[5..] {
        later.fix.inputs = Some(1);
    }
    for limits in [None, Some(ThinLimits::within(50.0))] {
        let kept = kept_seconds(&run(&mut Selector::new(limits), &fixes, &terms(60)));
        for second in [0, 1, 2, 3, 4, 8] {
            assert!(kept.contains(&second), "{second} is not in {kept:?}");
        }
    }
}

#[test]
fn thinning_leaves_the_ends_of_a_straight_road_and_a_fix_in_two_minutes() {
    let out = run(&mut Selector::new(Some(ThinLimits::within(5.0))), &straight(300), &terms(0));
    assert_eq!(kept_seconds(&out), [0, 120, 240, 299]);
}

#[test]
fn an_undecided_window_is_bounded_whatever_the_interval() {
    let mut selector = Selector::new(Some(ThinLimits::within(5.0)));
    let mut out = Vec::new();
    for observed in straight(5000) {
        selector.push(observed, &terms(100_000), &mut out);
        assert!(selector.undecided.len() <= MAX_UNDECIDED);
    }
}

proptest! {
    /// What is left out lies within the error of the straight line between its kept neighbours, at its own time; and
    /// every fix comes out once, in order.
    #[test]
    fn the_track_that_is_left_is_within_its_error(
        steps in prop::collection::vec((1..4_i64, -30.0..30.0_f64, -30.0..30.0_f64, 0.0..30.0_f64, 0..40_u8), 2..200),
        error_m in 2.0..60.0_f64, error_mps in 0.5..8.0_f64,
    ) {
        let (mut second, mut north, mut east, mut speed) = (0, 0.0, 0.0, 10.0);
        let fixes: Vec<Observed> = steps.iter().map(|&(dt, dn, de, target, odd)| {
            second += dt;
            // Mostly straight ahead, so that there is something to leave out.
            north += if odd < 30 { 15.0 } else { dn };
            east += if odd < 30 { 0.0 } else { de };
            speed += (target - speed) * if odd < 30 { 0.02 } else { 0.8 };
            let mut observed = fix(second, north, east, speed);
            if odd == 39 {
                observed.fix.verdict = Verdict::FROZEN;
            }
            observed
        }).collect();
        let limits = ThinLimits { position_m: error_m, speed_mps: error_mps, max_gap_ms: 120_000 };
        let out = run(&mut Selector::new(Some(limits)), &fixes, &terms(0));
        let all: Vec<&Fix> = out.iter().map(|choice| match choice {
            Choice::Keep(observed) => &observed.fix,
            Choice::Withhold(fix) => fix,
        }).collect();
        prop_assert_eq!(all, fixes.iter().map(|observed| &observed.fix).collect::<Vec<_>>());
        let kept: Vec<&Fix> = out.iter().filter_map(|choice| match choice {
            Choice::Keep(observed) => Some(&observed.fix),
            Choice::Withhold(_) => None,
        }).collect();
        for choice in &out {
            let Choice::Withhold(skipped) = choice else { continue };
            prop_assert!(skipped.verdict.is_empty());
            let at = skipped.time.unwrap();
            let after = kept.iter().position(|fix| fix.time.unwrap() > at).unwrap();
            let (from, to) = (kept[after - 1], kept[after]);
            let (start, end) = (from.time.unwrap(), to.time.unwrap());
            prop_assert!(end - start <= 120_000);
            #[allow(clippy::cast_precision_loss)]
            let part = (at - start) as f64 / (end - start) as f64;
            let between = |a: f64, b: f64| a + (b - a) * part;
            let (a, b, c) = (Place::of(from).unwrap(), Place::of(to).unwrap(), Place::of(skipped).unwrap());
            let on_line = Place { lat: between(a.lat, b.lat), lon: between(a.lon, b.lon) };
            // A minute of latitude is taken for 1852 m by the one and for 1853 m by the other.
            prop_assert!(distance_m(on_line, c) <= error_m * 1.01);
            let speed = between(from.speed_mps().unwrap(), to.speed_mps().unwrap());
            prop_assert!((speed - skipped.speed_mps().unwrap()).abs() <= error_mps + 1e-6);
        }
    }
}
