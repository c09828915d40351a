//! How often one place in the code may speak.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const WINDOW: Duration = Duration::from_secs(60);

/// Places that are watched at the same time. The agent and its libraries have some hundred; what comes on top is let through.
const MAX_PLACES: usize = 1024;

/// Decides for one place after the other; the time comes from outside. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    per_window: u32,
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
}

#[derive(Clone, Debug)]
struct Place {
    name: &'static str,
    level: Level,
    window_began: Instant,
    admitted: u32,
    suppressed: u64,
}

/// What one place was not allowed to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// File and line of the source.
    pub place: &'static str,
    pub level: Level,
    pub count: u64,
}

impl Limiter {
    /// `per_minute` = 0 lets everything through.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { per_window: per_minute, places: Arc::default() }
    }

    /// Whether the place may speak now.
    pub fn admit(&self, id: Identifier, name: &'static str, level: Level, now: Instant) -> bool {
        if self.per_window == 0 {
            return true;
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MAX_PLACES && !places.contains_key(&id) {
            return true;
        }
        let place =
            places.entry(id).or_insert(Place { name, level, window_began: now, admitted: 0, suppressed: 0 });
        if now.saturating_duration_since(place.window_began) >= WINDOW {
            (place.window_began, place.admitted) = (now, 0);
        }
        let may = place.admitted < self.per_window;
        if may {
            place.admitted += 1;
        } else {
            place.suppressed += 1;
        }
        may
    }

    /// What was suppressed in windows that are over, or in all with `also_open`; each is told once.
    #[must_use]
    pub fn take_suppressed(&self, now: Instant, also_open: bool) -> Vec<Suppressed> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |place: &Place| also_open || now.saturating_duration_since(place.window_began) >= WINDOW;
        let told = places
            .values_mut()
            .filter(|place| place.suppressed > 0 && over(place))
            .map(|place| Suppressed {
                place: place.name,
                level: place.level,
                count: std::mem::take(&mut place.suppressed),
            })
            .collect();
        places.retain(|_, place| now.saturating_duration_since(place.window_began) < WINDOW);
        told
    }

    /// Says in the log what was suppressed.
    pub fn tell(&self, also_open: bool) {
        for Suppressed { place, level, count } in self.take_suppressed(Instant::now(), also_open) {
            tracing::info!(
                count, place, %level,
                "lines like one above were left out: log.repeat_per_minute bounds them"
            );
        }
    }
}

/// The limiter as a layer: what it does not admit reaches no other layer.
#[derive(Debug)]
pub(super) struct RepeatLimit(Limiter);

impl RepeatLimit {
    pub(super) fn new(limiter: Limiter) -> Self {
        Self(limiter)
    }
}

impl<S: Subscriber> Layer<S> for RepeatLimit {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        self.0.admit(metadata.callsite(), metadata.name(), *metadata.level(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Metadata;
    use tracing::callsite::Callsite;
    use tracing::subscriber::Interest;
    use tracing_subscriber::layer::SubscriberExt;

    struct Somewhere;

    impl Callsite for Somewhere {
        fn set_interest(&self, _: Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("only its address is used")
        }
    }

    // Not zero-sized, or two of them could share one address.
    static HERE: (Somewhere, u8) = (Somewhere, 1);
    static THERE: (Somewhere, u8) = (Somewhere, 2);

    fn here() -> Identifier {
        Identifier(&HERE.0)
    }

    fn admit(limiter: &Limiter, id: Identifier, now: Instant) -> bool {
        limiter.admit(id, "a.rs:1", Level::WARN, now)
    }

    #[test]
    fn a_place_that_repeats_itself_is_cut_off_and_the_count_is_told_once() {
        let (limiter, start) = (Limiter::new(3), Instant::now());
        let admitted = (0..10).filter(|_| admit(&limiter, here(), start)).count();
        assert_eq!(admitted, 3);
        assert_eq!(limiter.take_suppressed(start, false), [], "the minute is not over");
        let over = start + WINDOW;
        let told = [Suppressed { place: "a.rs:1", level: Level::WARN, count: 7 }];
        assert_eq!(limiter.take_suppressed(over, false), told);
        assert_eq!(limiter.take_suppressed(over, true), []);
    }

    #[test]
    fn the_next_minute_has_its_own_share_and_other_places_are_not_affected() {
        let (limiter, start) = (Limiter::new(1), Instant::now());
        assert!(admit(&limiter, here(), start));
        assert!(!admit(&limiter, here(), start + WINDOW / 2));
        assert!(admit(&limiter, Identifier(&THERE.0), start));
        assert!(admit(&limiter, here(), start + WINDOW));
        assert_eq!(limiter.take_suppressed(start + WINDOW, true).len(), 1, "of the minute before");
    }

    #[test]
    fn no_limit_means_none() {
        let limiter = Limiter::new(0);
        assert!((0..10_000).all(|_| admit(&limiter, here(), Instant::now())));
    }

    #[test]
    fn places_that_are_quiet_again_are_forgotten() {
        let (limiter, start) = (Limiter::new(1), Instant::now());
        admit(&limiter, here(), start);
        let _ = limiter.take_suppressed(start + WINDOW, false);
        assert!(limiter.places.lock().unwrap().is_empty());
    }

    #[test]
    fn as_a_layer_it_keeps_repeats_from_every_other_layer() {
        let ring = super::super::LogRing::default();
        let subscriber = tracing_subscriber::registry()
            .with(RepeatLimit::new(Limiter::new(2)))
            .with(tracing_subscriber::fmt::layer().with_writer(ring.clone()).with_ansi(false));
        tracing::subscriber::with_default(subscriber, || {
            for turn in 0..5 {
                tracing::warn!(turn, "again");
            }
            tracing::warn!("something else");
        });
        let lines = ring.after(0);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[2].text.contains("something else"));
    }
}
