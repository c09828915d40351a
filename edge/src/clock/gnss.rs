//! When the receiver's time is believed.
//!
//! A single fix proves nothing: receivers print the time of their own clock before they have a fix, an hour ago, or
//! 1024 weeks ago. A time is believed when several fixes in a row agree with each other and with a clock that never
//! jumps. A log printed faster than it was recorded, or a time that leaps, never does. Once believed, it gives way
//! only to a much longer run of fixes that agree on another time.

use avl_shared::fix::UtcMillis;

/// How far a fix may be from where the run of fixes says it should be. A fix arrives up to a second after its instant,
/// by however long the receiver computes and the line takes.
const TOLERANCE_MS: i64 = 2_000;

/// To be believed at first: enough that a receiver's guesses before its first fix do not suffice.
const FIRST: Demand = Demand { fixes: 5, span_ms: 3_000 };
/// To take the place of a time that was believed: a minute, longer than the leaps of a receiver that finds itself.
const SWITCH: Demand = Demand { fixes: 20, span_ms: 60_000 };

struct Demand {
    fixes: u32,
    span_ms: u64,
}

/// An instant, and the uptime at which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) utc_ms: UtcMillis,
    pub(super) uptime_ms: u64,
}

impl Anchor {
    pub(super) fn at(self, uptime_ms: u64) -> UtcMillis {
        let passed = i128::from(uptime_ms) - i128::from(self.uptime_ms);
        self.utc_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    fn agrees(self, seen: Self) -> bool {
        self.at(seen.uptime_ms).abs_diff(seen.utc_ms) <= TOLERANCE_MS.unsigned_abs()
    }
}

/// Fixes that agree with the first of them.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: Anchor,
    fixes: u32,
}

/// What became of a time that a fix carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It agrees with what is believed.
    Agrees,
    /// Believed from now on; the earlier belief, if there was one, was wrong by so many milliseconds.
    Believed { moved_by_ms: Option<i64> },
    /// Not believed yet.
    Doubted,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GnssTime {
    believed: Option<Anchor>,
    rival: Option<Run>,
}

impl GnssTime {
    pub(super) fn now(&self, uptime_ms: u64) -> Option<UtcMillis> {
        self.believed.map(|anchor| anchor.at(uptime_ms))
    }

    pub(super) fn observe(&mut self, seen: Anchor) -> Heard {
        if self.believed.is_some_and(|believed| believed.agrees(seen)) {
            (self.believed, self.rival) = (Some(seen), None);
            return Heard::Agrees;
        }
        let run = match self.rival {
            Some(run) if run.first.agrees(seen) => Run { fixes: run.fixes.saturating_add(1), ..run },
            _ => Run { first: seen, fixes: 1 },
        };
        let demand = if self.believed.is_some() { SWITCH } else { FIRST };
        let span_ms = seen.uptime_ms.saturating_sub(run.first.uptime_ms);
        if run.fixes < demand.fixes || span_ms < demand.span_ms {
            self.rival = Some(run);
            return Heard::Doubted;
        }
        let moved_by_ms = self.believed.map(|old| seen.utc_ms.saturating_sub(old.at(seen.uptime_ms)));
        *self = Self { believed: Some(seen), rival: None };
        Heard::Believed { moved_by_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T: UtcMillis = 1_800_000_000_000;

    fn run(time: &mut GnssTime, utc_ms: UtcMillis, from_ms: u64, seconds: u64) -> Vec<Heard> {
        (0..seconds)
            .map(|s| {
                let passed = i64::try_from(s * 1000).unwrap();
                time.observe(Anchor { utc_ms: utc_ms + passed, uptime_ms: from_ms + s * 1000 })
            })
            .collect()
    }

    #[test]
    fn five_fixes_that_agree_are_believed() {
        let mut time = GnssTime::default();
        let heard = run(&mut time, T, 10_000, 5);
        assert_eq!(heard[3], Heard::Doubted);
        assert_eq!(heard[4], Heard::Believed { moved_by_ms: None });
        assert_eq!(time.now(20_000), Some(T + 10_000));
    }

    #[test]
    fn a_log_printed_faster_than_it_was_recorded_is_never_believed() {
        let mut time = GnssTime::default();
        for n in 0..10_000 {
            let seen = Anchor { utc_ms: T + n * 1000, uptime_ms: u64::try_from(n).unwrap() * 20 };
            assert_eq!(time.observe(seen), Heard::Doubted, "fix {n}");
        }
    }

    #[test]
    fn an_hours_leap_is_doubted_and_forgotten_when_it_is_over() {
        let mut time = GnssTime::default();
        run(&mut time, T, 0, 10);
        let leap = run(&mut time, T + 3_600_000 + 10_000, 10_000, 30);
        assert!(leap.iter().all(|heard| *heard == Heard::Doubted));
        assert_eq!(time.now(40_000), Some(T + 40_000));
        assert!(run(&mut time, T + 40_000, 40_000, 5).iter().all(|heard| *heard == Heard::Agrees));
    }

    #[test]
    fn a_receiver_that_insists_is_believed_in_the_end() {
        let mut time = GnssTime::default();
        run(&mut time, T, 0, 10);
        let heard = run(&mut time, T - 3_600_000, 10_000, 62);
        let believed = heard.iter().position(|heard| *heard != Heard::Doubted).unwrap();
        assert!(believed >= 60, "after {believed} s");
        assert_eq!(heard[believed], Heard::Believed { moved_by_ms: Some(-3_610_000) });
    }

    proptest! {
        #[test]
        fn any_times_in_any_order_never_panic(seen in prop::collection::vec((any::<i64>(), any::<u64>()), 0..50)) {
            let mut time = GnssTime::default();
            for (utc_ms, uptime_ms) in seen {
                time.observe(Anchor { utc_ms, uptime_ms });
                let _ = time.now(uptime_ms);
            }
        }
    }
}
