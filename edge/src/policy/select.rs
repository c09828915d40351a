//! Which fixes are sent: all of them, unless an interval or thinning was asked for. What is left out is handed on to
//! the history; no fix disappears.
//!
//! Never left out: a fix that is doubted or has no time, and the first and last around a change of quality or inputs.
//! The newest fix is always either kept or still undecided, so that whoever asks where the vehicle is gets it, and the
//! end of the track is kept.

use std::collections::VecDeque;
use std::time::Duration;

use avl_shared::fix::{Fix, Quality};

use super::config::Terms;
use super::geodesy::{Place, distance_m};
use crate::source::Observed;
use crate::thinning::{ThinLimits, Thinner};

/// What became of a fix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // it lives for the length of a call
pub enum Choice {
    Keep(Observed),
    /// Only into the history.
    Withhold(Fix),
}

/// A course means nothing at rest.
const TURN_FROM_MPS: f64 = 1.5;

#[derive(Clone, Debug)]
struct Last {
    time: i64,
    place: Option<Place>,
    course: Option<f64>,
    quality: Quality,
    inputs: Option<u16>,
}

impl Last {
    fn of(fix: &Fix) -> Option<Self> {
        let (place, course) = (Place::of(fix), fix.course_degrees());
        Some(Self { time: fix.time?, place, course, quality: fix.quality, inputs: fix.inputs })
    }
}

pub struct Selector {
    thinner: Option<Thinner<u64>>,
    /// Not decided yet, oldest first; bounded by the thinner's window.
    undecided: VecDeque<(u64, Observed)>,
    next: u64,
    /// The newest kept fix.
    last: Option<Last>,
    /// Quality and inputs of the newest fix of all.
    before: Option<(Quality, Option<u16>)>,
}

impl Selector {
    #[must_use]
    pub fn new(thinning: Option<ThinLimits>) -> Self {
        Self {
            thinner: thinning.map(Thinner::new),
            undecided: VecDeque::new(),
            next: 0,
            last: None,
            before: None,
        }
    }

    /// Takes a fix and adds to `out` what is decided now, oldest first.
    pub fn push(&mut self, observed: Observed, terms: &Terms, out: &mut Vec<Choice>) {
        let fix = &observed.fix;
        let class = (fix.quality, fix.inputs);
        let changed = self.before.replace(class).is_some_and(|before| before != class);
        if changed || !fix.verdict.is_empty() || fix.time.is_none() {
            self.flush(out);
            self.keep(observed, out);
            return;
        }
        let wanted = self.wanted(fix, terms);
        let index = self.next;
        self.next += 1;
        match &mut self.thinner {
            Some(thinner) if wanted => {
                let kept: Vec<u64> = thinner.push(fix, index).into_iter().collect();
                // The interval counts from what the thinner was offered.
                self.last = Last::of(fix);
                self.undecided.push_back((index, observed));
                for kept in kept {
                    self.decide(kept, &[kept], out);
                }
            }
            Some(_) => self.undecided.push_back((index, observed)),
            None => {
                self.decide(u64::MAX, &[], out);
                if wanted {
                    self.keep(observed, out);
                } else {
                    self.undecided.push_back((index, observed));
                }
            }
        }
        self.bound(out);
    }

    /// Decides everything now: the newest fix is kept.
    pub fn flush(&mut self, out: &mut Vec<Choice>) {
        let ended = self.thinner.as_mut().and_then(Thinner::finish);
        let newest = self.undecided.back().map(|(index, _)| *index);
        let kept: Vec<u64> = ended.into_iter().chain(newest).collect();
        self.last = self.undecided.back().map_or(self.last.take(), |(_, observed)| Last::of(&observed.fix));
        self.decide(u64::MAX, &kept, out);
    }

    fn keep(&mut self, observed: Observed, out: &mut Vec<Choice>) {
        self.last = Last::of(&observed.fix).or(self.last.take());
        out.push(Choice::Keep(observed));
    }

    /// Decides every fix up to the index: those named are kept.
    fn decide(&mut self, up_to: u64, kept: &[u64], out: &mut Vec<Choice>) {
        while let Some((index, observed)) = self.undecided.pop_front() {
            if index > up_to {
                self.undecided.push_front((index, observed));
                return;
            }
            out.push(if kept.contains(&index) {
                Choice::Keep(observed)
            } else {
                Choice::Withhold(observed.fix)
            });
        }
    }

    /// A receiver of 20 Hz behind an interval of minutes must not fill the memory.
    fn bound(&mut self, out: &mut Vec<Choice>) {
        if self.undecided.len() > MAX_UNDECIDED {
            self.flush(out);
        }
    }

    fn wanted(&self, fix: &Fix, terms: &Terms) -> bool {
        let Some((last, time)) = self.last.as_ref().zip(fix.time) else { return true };
        let elapsed = u64::try_from(time - last.time).map(Duration::from_millis);
        // Time that goes backwards is no reason to leave out.
        if terms.interval.is_zero() || elapsed.map_or(true, |elapsed| elapsed >= terms.interval) {
            return true;
        }
        if last.quality != fix.quality || last.inputs != fix.inputs {
            return true;
        }
        let far = last
            .place
            .zip(Place::of(fix))
            .is_some_and(|(from, to)| terms.distance_m > 0.0 && distance_m(from, to) >= terms.distance_m);
        let moving = fix.speed_mps().is_some_and(|speed| speed >= TURN_FROM_MPS);
        let turned = last.course.zip(fix.course_degrees()).is_some_and(|(before, now)| {
            let turn = (now - before).rem_euclid(360.0);
            moving && terms.heading_deg > 0.0 && turn.min(360.0 - turn) >= terms.heading_deg
        });
        far || turned
    }
}

/// Twelve minutes at 1 Hz, some 200 KB.
const MAX_UNDECIDED: usize = 720;

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
