//! When to try again: exponential, full jitter, forgotten only after a stable period.
//!
//! Full jitter (a uniform choice between nothing and the ceiling) spreads half a million vehicles that lost the same
//! server evenly; see M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

/// The ceiling of the first wait.
const FIRST: Duration = Duration::from_secs(1);
/// A connection that lasted less than this counts as one more failure: a server that accepts and then drops must
/// not be hammered.
const STABLE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Backoff {
    longest: Duration,
    failures: u32,
}

impl Backoff {
    #[must_use]
    pub const fn new(longest: Duration) -> Self {
        Self { longest, failures: 0 }
    }

    /// How long to wait before the next attempt, after one that failed or a connection that broke.
    pub fn next_wait(&mut self, random: &mut impl Rng) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random.random_range(0.0..=1.0))
    }

    /// Told when a connection has ended.
    pub fn connection_ended(&mut self, since: Instant, now: Instant) {
        if now.saturating_duration_since(since) >= STABLE {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const LONGEST: Duration = Duration::from_secs(60);

    fn worst_wait(backoff: &mut Backoff) -> Duration {
        let mut random = StdRng::seed_from_u64(1);
        (0..500).map(|_| backoff.clone().next_wait(&mut random)).max().unwrap()
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_wait() {
        let (mut backoff, mut random) = (Backoff::new(LONGEST), StdRng::seed_from_u64(2));
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let worst = worst_wait(&mut backoff).as_secs_f64();
            assert!((expected * 0.97..=expected).contains(&worst), "{worst} instead of about {expected}");
            backoff.next_wait(&mut random);
        }
    }

    #[test]
    fn resets_only_after_a_stable_period() {
        let (mut backoff, mut random, start) =
            (Backoff::new(LONGEST), StdRng::seed_from_u64(3), Instant::now());
        (0..10).for_each(|_| assert!(backoff.next_wait(&mut random) <= LONGEST));
        backoff.connection_ended(start, start + STABLE.checked_sub(Duration::from_millis(1)).unwrap());
        assert!(worst_wait(&mut backoff) > Duration::from_secs(50), "a short connection must not reset");
        backoff.connection_ended(start, start + STABLE);
        assert!(worst_wait(&mut backoff) <= FIRST);
    }

    #[test]
    fn waits_are_spread_over_the_whole_interval() {
        let mut random = StdRng::seed_from_u64(4);
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            let wait = Backoff::new(LONGEST).next_wait(&mut random).as_secs_f64();
            counts[((wait * 10.0) as usize).min(9)] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn never_waits_longer_than_the_longest(longest_ms in 1_u64..1_000_000, tries in 1_usize..100, seed: u64) {
            let (mut backoff, mut random) = (Backoff::new(Duration::from_millis(longest_ms)), StdRng::seed_from_u64(seed));
            for _ in 0..tries {
                prop_assert!(backoff.next_wait(&mut random) <= Duration::from_millis(longest_ms));
            }
        }
    }
}
