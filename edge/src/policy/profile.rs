//! What the vehicle does: moving, stopped, parked, or parked at night. A state machine over fixes, ignition and a
//! monotonic clock (GNSS time may jump, and stops in a garage).

use std::time::Duration;

use avl_shared::fix::{Fix, Quality};
use serde::Serialize;
use tokio::time::Instant;

use super::geodesy::{Place, distance_m};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    #[default]
    Moving,
    /// Not moved for three minutes: a traffic light does not change the profile, a delivery does.
    Stopped,
    /// Ignition off; or stopped for ten minutes where the ignition is not wired.
    Parked,
    /// Parked, in the hours of the night.
    Night,
}

/// A receiver at rest prints up to about 1 m/s now and then; a walking pace is 1.4 m/s.
const MOVING_FROM_MPS: f64 = 1.5;
const STILL_BELOW_MPS: f64 = 1.0;
/// Speed alone must say so twice in a row: one wild fix wakes nobody.
const MOVING_FIXES: u8 = 2;
/// Farther than a receiver at rest drifts between houses.
const MOVED_M: f64 = 100.0;
const STOPPED_AFTER: Duration = Duration::from_secs(180);
const PARKED_AFTER: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
pub struct ProfileMachine {
    profile: Profile,
    /// Since when nothing says that the vehicle moves.
    still_since: Instant,
    /// Where it came to rest.
    rest: Option<Place>,
    fast_in_a_row: u8,
    ignition: Option<bool>,
}

impl ProfileMachine {
    /// Moving until the contrary is known: the eager side is the safe one.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { profile: Profile::Moving, still_since: now, rest: None, fast_in_a_row: 0, ignition: None }
    }

    /// `None` where it is not wired, or not known.
    pub fn ignition(&mut self, on: Option<bool>, now: Instant) {
        // Somebody who starts the engine is about to drive.
        if self.ignition == Some(false) && on == Some(true) {
            self.moves(now, None);
        }
        self.ignition = on;
    }

    pub fn fix(&mut self, fix: &Fix, now: Instant) {
        if !fix.verdict.is_empty() || fix.quality == Quality::NoFix {
            return;
        }
        let place = Place::of(fix);
        let speed = fix.speed_mps();
        self.fast_in_a_row = match speed {
            Some(speed) if speed >= MOVING_FROM_MPS => self.fast_in_a_row.saturating_add(1),
            _ => 0,
        };
        let away =
            |from: Option<Place>| from.zip(place).is_some_and(|(from, to)| distance_m(from, to) > MOVED_M);
        // Not slow enough to come to rest: what moves keeps moving, what rests is not woken.
        let rolling = self.profile == Profile::Moving && speed.is_some_and(|speed| speed >= STILL_BELOW_MPS);
        if self.fast_in_a_row >= MOVING_FIXES || away(self.rest) || rolling {
            self.moves(now, place);
        } else if self.rest.is_none() {
            self.rest = place;
        }
    }

    fn moves(&mut self, now: Instant, place: Option<Place>) {
        self.profile = Profile::Moving;
        self.still_since = now;
        self.rest = place;
    }

    /// The profile now; `night` says whether the local time is within the night's hours.
    pub fn profile(&mut self, now: Instant, night: bool) -> Profile {
        let still = now.saturating_duration_since(self.still_since);
        let parked = match self.ignition {
            // Towed or on a ferry it moves without ignition.
            Some(false) => self.profile != Profile::Moving || still >= IGNITION_OFF_STILL,
            // An engine that idles belongs to somebody at work, however long.
            Some(true) => false,
            None => still >= PARKED_AFTER,
        };
        self.profile = match (parked, night) {
            (true, true) => Profile::Night,
            (true, false) => Profile::Parked,
            _ if still >= STOPPED_AFTER => Profile::Stopped,
            _ => Profile::Moving,
        };
        self.profile
    }

    /// When the profile may change without a fix or a switch.
    #[must_use]
    pub fn next_change(&self) -> Option<Instant> {
        match (self.profile, self.ignition) {
            (Profile::Moving, Some(false)) => Some(self.still_since + IGNITION_OFF_STILL),
            (Profile::Moving, _) => Some(self.still_since + STOPPED_AFTER),
            (Profile::Stopped, None) => Some(self.still_since + PARKED_AFTER),
            _ => None,
        }
    }
}

/// After the key is turned a vehicle may roll a little; longer without a sign of motion it is parked.
const IGNITION_OFF_STILL: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
