//! The clock with hands that the test moves.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::*;
use crate::health::View;

/// A year after the build.
const NOW: UtcMillis = BUILT_MS + 365 * DAY_MS;
const YEAR_1970: UtcMillis = 5_000;

#[derive(Clone, Debug, Default)]
struct Moved(Arc<(AtomicI64, AtomicU64)>);

impl Moved {
    fn pass(&self, ms: u64) {
        self.0.0.fetch_add(i64::try_from(ms).unwrap(), Ordering::SeqCst);
        self.0.1.fetch_add(ms, Ordering::SeqCst);
    }

    fn jump(&self, ms: i64) {
        self.0.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Hands for Moved {
    fn system_ms(&self) -> UtcMillis {
        self.0.0.load(Ordering::SeqCst)
    }

    fn uptime_ms(&self) -> u64 {
        self.0.1.load(Ordering::SeqCst)
    }

    fn set_system(&self, utc_ms: UtcMillis) -> std::io::Result<()> {
        self.0.0.store(utc_ms, Ordering::SeqCst);
        Ok(())
    }
}

fn clock(system_ms: UtcMillis) -> (Clock, Moved) {
    let hands = Moved::default();
    hands.jump(system_ms);
    (Clock::new(&ClockConfig::default(), hands.clone()), hands)
}

fn fix(time: UtcMillis) -> Fix {
    Fix { time: Some(time), quality: Quality::Gps, ..Fix::default() }
}

/// So many seconds of fixes from `time` on; returns the time of the next.
fn fixes(clock: &Clock, hands: &Moved, time: UtcMillis, seconds: i64) -> UtcMillis {
    for second in 0..seconds {
        clock.observe(&fix(time + second * 1000));
        hands.pass(1000);
    }
    time + seconds * 1000
}

#[test]
fn without_any_evidence_no_time_is_made_up() {
    let (clock, _hands) = clock(YEAR_1970);
    assert_eq!((clock.now(), clock.source(), clock.time()), (None, Source::Unknown, None));
}

#[test]
fn a_plausible_system_clock_serves_until_the_receiver_knows_better() {
    let (clock, hands) = clock(NOW - 3_600_000);
    assert_eq!((clock.now(), clock.source()), (Some(NOW - 3_600_000), Source::System));
    let next = fixes(&clock, &hands, NOW, 5);
    assert_eq!((clock.now(), clock.source()), (Some(next), Source::Gnss));
    assert_eq!(clock.offset_of_system(), Some(-3_600_000));
}

#[test]
fn the_system_clock_jumps_and_known_time_does_not() {
    let (clock, hands) = clock(YEAR_1970);
    let next = fixes(&clock, &hands, NOW, 5);
    for jump in [3_600_000, -7_200_000] {
        hands.jump(jump);
        assert_eq!(clock.now(), Some(next));
    }
    // Neither is it lost in a tunnel.
    hands.pass(3_600_000);
    assert_eq!(clock.now(), Some(next + 3_600_000));
}

#[test]
fn times_from_before_the_build_and_doubted_fixes_are_no_evidence() {
    let (clock, hands) = clock(YEAR_1970);
    // A recorded drive on the serial port; a week number that rolled over.
    fixes(&clock, &hands, BUILT_MS - 1024 * 7 * DAY_MS, 100);
    for doubt in
        [Verdict::TIME_JUMP, Verdict::NO_FIX, Verdict::SPOOFING, Verdict::NO_TIME, Verdict::WEEK_ROLLOVER]
    {
        for second in 0..10 {
            clock.observe(&Fix { verdict: doubt, ..fix(NOW + second * 1000) });
            hands.pass(1000);
        }
    }
    assert_eq!(clock.source(), Source::Unknown);
}

#[test]
fn after_the_wait_there_is_a_lower_bound_and_it_is_no_time() {
    let (clock, hands) = clock(YEAR_1970);
    clock.not_before(NOW);
    hands.pass(15 * 60 * 1000 - 1);
    assert_eq!(clock.time(), None);
    hands.pass(1);
    assert_eq!(clock.time(), Some(Time::NotBefore(NOW)));
    assert_eq!(clock.now(), None);
    // The cloud's word over the connection that this allowed.
    clock.hear_cloud(NOW + DAY_MS);
    hands.pass(1000);
    assert_eq!((clock.now(), clock.source()), (Some(NOW + DAY_MS + 1000), Source::Cloud));
    assert_eq!(clock.confirmed_now(), clock.now());
}

#[test]
fn the_clouds_time_is_only_a_check_for_who_knows_the_time() {
    let (clock, hands) = clock(NOW);
    clock.hear_cloud(NOW - 3_600_000);
    assert_eq!(clock.confirmed_now(), None);
    assert_eq!((clock.now(), clock.source()), (Some(NOW), Source::System));
    let next = fixes(&clock, &hands, NOW + 10_000, 5);
    clock.hear_cloud(NOW + 7_200_000);
    assert_eq!(clock.now(), Some(next));
    assert_eq!(clock.view(None).cloud_offset_ms, Some(NOW + 7_200_000 - next));
}

#[test]
fn a_system_clock_behind_what_was_signed_is_not_believed() {
    let (clock, _hands) = clock(NOW);
    clock.not_before(NOW + DAY_MS);
    assert_eq!(clock.source(), Source::Unknown);
    // Nobody signs the far future; a broken evidence must not lock the gateway out.
    clock.not_before(BUILT_MS + 2 * LIFETIME_MS);
    clock.hear_cloud(0);
    assert_eq!(clock.state().floor_ms, NOW + DAY_MS);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_time_learns_it_from_the_receiver() {
    let (clock, hands) = clock(YEAR_1970);
    let waiting = tokio::spawn({
        let clock = clock.clone();
        async move { clock.known().await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!waiting.is_finished());
    fixes(&clock, &hands, NOW, 5);
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_lower_bound_outlives_a_restart_and_the_system_clock_is_set_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (first, hands) = clock(YEAR_1970);
    first.hear_cloud(NOW);
    let view = View::<ClockView>::default();
    let config = ClockConfig { set_system: true, ..ClockConfig::default() };
    let mut seen = view.watch();
    let keeping = keep(first.clone(), config, folder.path(), view.clone());
    let next = fixes(&first, &hands, NOW, 5);
    tokio::select! {
        () = keeping => unreachable!(),
        _ = seen.wait_for(|view| view.source == Source::Gnss && folder.path().join("clock").exists()) => {}
    }
    assert_eq!(hands.system_ms(), next);

    let (second, hands) = clock(YEAR_1970);
    let view = View::<ClockView>::default();
    tokio::select! {
        () = keep(second.clone(), ClockConfig::default(), folder.path(), view) => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    hands.pass(15 * 60 * 1000);
    assert_eq!(second.time(), Some(Time::NotBefore(NOW - SLACK_MS)));
    assert_eq!(hands.system_ms(), YEAR_1970 + 15 * 60 * 1000);
}
