use super::*;
use avl_shared::fix::Verdict;
use proptest::prelude::*;

fn fix(seconds: i64, north_m: f64, knots_tenths: Option<i64>) -> Fix {
    // 1852 m to an arc-minute of latitude, near enough for metres.
    #[allow(clippy::cast_possible_truncation)]
    let minutes = (north_m / 1852.0 * 1e5) as i64;
    Fix {
        time: Some(1_764_931_200_000 + seconds * 1000),
        latitude: Some(Decimal::new(minutes, 5)),
        longitude: Some(Decimal::new(0, 5)),
        speed: knots_tenths.map(|tenths| Decimal::new(tenths, 1)),
        quality: Quality::Gps,
        ..Fix::default()
    }
}

#[test]
fn an_hour_at_a_steady_speed_is_that_speed() {
    let mut odometer = Odometer::gnss(1000);
    for second in 0..=3600 {
        odometer.fix(&fix(second, 0.0, Some(100)));
    }
    assert_eq!(odometer.metres(), 1000 + 18_519);
}

#[test]
fn a_parked_receivers_noise_adds_nothing() {
    let mut odometer = Odometer::gnss(0);
    for second in 0..100_000 {
        odometer.fix(&fix(second, [0.0, 12.0, -9.0][usize::try_from(second % 3).unwrap()], Some(second % 9)));
    }
    assert_eq!(odometer.metres(), 0);
}

#[test]
fn a_gap_is_bridged_by_the_straight_line_unless_nobody_drove_it() {
    let mut odometer = Odometer::gnss(0);
    odometer.fix(&fix(0, 0.0, Some(0)));
    odometer.fix(&fix(600, 30.0, Some(0)));
    assert_eq!(odometer.metres(), 0, "drift");
    odometer.fix(&fix(1200, 5030.0, Some(0)));
    assert!((4990..5010).contains(&odometer.metres()), "{}", odometer.metres());
    let before = odometer.metres();
    odometer.fix(&fix(1220, 900_000.0, Some(0)));
    assert_eq!(odometer.metres(), before, "900 km in 20 s");
}

#[test]
fn a_receiver_without_speed_counts_by_position() {
    let mut odometer = Odometer::gnss(0);
    for second in 0..1000 {
        odometer.fix(&fix(second, 10.0 * f64::from(i32::try_from(second).unwrap()), None));
    }
    assert!((9900..=10_010).contains(&odometer.metres()), "{}", odometer.metres());
}

#[test]
fn a_doubted_fix_neither_counts_nor_moves_the_anchor() {
    let mut odometer = Odometer::gnss(0);
    odometer.fix(&fix(0, 0.0, Some(100)));
    odometer.fix(&Fix { verdict: Verdict::TELEPORT, ..fix(1, 5000.0, Some(9000)) });
    odometer.fix(&fix(2, 10.0, Some(100)));
    assert_eq!(odometer.metres(), 10);
}

#[test]
fn pulses_add_up_without_rounding_away() {
    let mut odometer = Odometer::wheel(5, 7);
    for count in 1..=70_000 {
        odometer.pulses(count);
    }
    assert_eq!(odometer.metres(), 5 + 10_000_000);
    odometer.pulses(3);
    assert_eq!(odometer.metres(), 5 + 10_000_000, "a count that goes back adds nothing");
}

#[test]
fn the_file_keeps_the_larger_of_what_is_known_and_follows_a_raised_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, start) = OdometerFile::open(folder.path(), 120_000, None, false);
    assert_eq!(start, 120_000);
    assert!(file.due(start));
    file.save(120_700).unwrap();
    assert!(!file.due(121_199) && file.due(121_200));
    assert_eq!(OdometerFile::open(folder.path(), 120_000, Some(120_690), false).1, 120_700);
    assert_eq!(OdometerFile::open(folder.path(), 120_000, Some(121_300), false).1, 121_300);
    assert_eq!(OdometerFile::open(folder.path(), 130_000, None, false).1, 130_700);
    assert_eq!(OdometerFile::open(folder.path(), 10, None, false).1, 130_700);
    // A raise counts once, however the agent ends after it.
    assert_eq!(OdometerFile::open(folder.path(), 130_000, Some(130_700), false).1, 130_700);
    // A log that goes on behind its newest recorded fix drives the rest again.
    assert_eq!(OdometerFile::open(folder.path(), 130_000, Some(130_400), true).1, 130_400);
    assert_eq!(OdometerFile::open(folder.path(), 130_000, None, true).1, 130_700);
    std::fs::write(folder.path().join("odometer"), "torn").unwrap();
    assert_eq!(OdometerFile::open(folder.path(), 120_000, Some(120_800), false).1, 120_800);
}

proptest! {
    /// Whatever the receiver prints, and whenever the power goes.
    #[test]
    fn it_never_decreases(
        steps in prop::collection::vec((-3..100_i64, -2e6..2e6_f64, prop::option::of(-5..3000_i64), any::<bool>(), any::<bool>()), 1..80),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, start) = OdometerFile::open(folder.path(), 0, None, false);
        let (mut odometer, mut time, mut recorded) = (Odometer::gnss(start), 0, 0);
        for (step, north, speed, doubted, cut) in steps {
            time += step;
            let verdict = if doubted { Verdict::TIME_JUMP } else { Verdict::empty() };
            odometer.fix(&Fix { verdict, ..fix(time, north, speed) });
            prop_assert!(odometer.metres() >= recorded);
            recorded = odometer.metres();
            if file.due(recorded) {
                file.save(recorded).unwrap();
            }
            if cut {
                let start;
                (file, start) = OdometerFile::open(folder.path(), 0, Some(recorded), false);
                prop_assert!(start >= recorded);
                odometer = Odometer::gnss(start);
            }
        }
    }
}
