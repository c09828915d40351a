//! The decision: does every part make progress? No I/O; the time comes from outside.

use std::time::Duration;

use tokio::time::Instant;

/// Cheap flash may hold one write back for seconds while it erases; a minute is a drive that has stopped.
const BUFFER_LIMIT: Duration = Duration::from_secs(60);
/// The recorder takes fixes at least once in a durability period, and a slow flash makes it wait as long as itself.
const QUEUE_LIMIT: Duration = Duration::from_secs(90);
/// Lookup, handshake and welcome have limits of their own, for each address and each transport; several of them in a row
/// stay far below this.
const CONNECT_LIMIT: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    pub buffer_answered: bool,
    pub queue_full: bool,
    pub connecting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Buffer,
    Recorder,
    Uplink,
}

impl Part {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buffer => "the buffer's flash",
            Self::Recorder => "the recorder",
            Self::Uplink => "the uplink",
        }
    }
}

/// A part that has not moved for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub part: Part,
    pub since: Duration,
}

#[derive(Clone, Debug)]
pub struct Liveness {
    buffer_moved: Instant,
    queue_moved: Instant,
    uplink_moved: Instant,
}

impl Liveness {
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { buffer_moved: now, queue_moved: now, uplink_moved: now }
    }

    /// What is seen now; `None` while everything moves.
    pub fn observe(&mut self, seen: Observation, now: Instant) -> Option<Stuck> {
        let parts = [
            (Part::Buffer, &mut self.buffer_moved, seen.buffer_answered, BUFFER_LIMIT),
            (Part::Recorder, &mut self.queue_moved, !seen.queue_full, QUEUE_LIMIT),
            (Part::Uplink, &mut self.uplink_moved, !seen.connecting, CONNECT_LIMIT),
        ];
        let mut stuck = None;
        for (part, moved, moves, limit) in parts {
            if moves {
                *moved = now;
            }
            let since = now.saturating_duration_since(*moved);
            if since >= limit && stuck.is_none() {
                stuck = Some(Stuck { part, since });
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WELL: Observation = Observation { buffer_answered: true, queue_full: false, connecting: false };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn each_part_may_rest_for_its_limit_and_no_longer() {
        let start = Instant::now();
        let cases = [
            (Part::Buffer, Observation { buffer_answered: false, ..WELL }, BUFFER_LIMIT),
            (Part::Recorder, Observation { queue_full: true, ..WELL }, QUEUE_LIMIT),
            (Part::Uplink, Observation { connecting: true, ..WELL }, CONNECT_LIMIT),
        ];
        for (part, seen, limit) in cases {
            let mut liveness = Liveness::new(start);
            assert_eq!(liveness.observe(seen, start + limit - seconds(1)), None, "{part:?}");
            assert_eq!(liveness.observe(seen, start + limit), Some(Stuck { part, since: limit }));
            assert_eq!(liveness.observe(WELL, start + limit + seconds(1)), None, "it went on");
            assert_eq!(liveness.observe(seen, start + limit + seconds(2)), None, "and counts anew");
        }
    }

    #[test]
    fn a_link_that_is_down_for_a_week_is_no_reason_to_restart() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        // Attempts of a minute each, with pauses between.
        for minute in 0..10_080 {
            let seen = Observation { connecting: minute % 2 == 0, ..WELL };
            assert_eq!(liveness.observe(seen, start + seconds(60 * minute)), None);
        }
    }

    proptest! {
        #[test]
        fn what_moves_within_every_limit_is_never_called_stuck(steps in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 0_u64..20), 0..200)) {
            let mut now = Instant::now();
            let mut liveness = Liveness::new(now);
            for chunk in steps.chunks(2) {
                for &(buffer_answered, queue_full, connecting, wait) in chunk {
                    now += seconds(wait);
                    prop_assert_eq!(liveness.observe(Observation { buffer_answered, queue_full, connecting }, now), None);
                }
                prop_assert_eq!(liveness.observe(WELL, now), None);
            }
        }
    }
}
