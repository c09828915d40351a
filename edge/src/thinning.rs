//! Which fixes a track's shape needs: greedy opening window with a time-synchronised error.
//!
//! Pure and streaming: fixes go in one by one, the needed ones come out, at most one step later. From the last kept
//! fix the window opens as far as every skipped fix stays within the limits of the straight line between the kept
//! ones: at its own time, not only at its nearest point (Meratnia and de By, "Spatiotemporal compression techniques
//! for moving point objects", EDBT 2004, OPW-TR). A skipped fix is therefore never farther than
//! [`ThinLimits::position_m`] from where the thinned track says that the vehicle was at that moment.
//!
//! Always kept: the first and the last fix, both sides of any change of quality, verdict or inputs, of a lost
//! position, of a clock that goes backwards, and one fix in each [`ThinLimits::max_gap_ms`].
//!
//! What it does not keep is anything beside the shape: the altitude, satellites and HDOP of skipped fixes are gone.
//! Thinning what was thinned before would add the errors up; the caller must not.

use avl_shared::fix::{Fix, Quality, Verdict};

/// Metres in a minute of latitude: the nautical mile's definition. Its true length differs by half a percent, which
/// is below what an error limit means.
const METRES_PER_MINUTE: f64 = 1852.0;
/// Minutes of longitude around the earth.
const MINUTES_AROUND: f64 = 360.0 * 60.0;
/// Bounds memory and work for receivers that print many fixes a second: 12 s at 50 Hz, 10 minutes at 1 Hz.
const MAX_WINDOW: usize = 600;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThinLimits {
    /// How far a skipped fix may lie from the thinned track's place at its time, in metres.
    pub position_m: f64,
    /// How much a skipped fix's speed may differ from the thinned track's speed at its time, in metres a second.
    pub speed_mps: f64,
    /// The longest time between two kept fixes, in milliseconds.
    pub max_gap_ms: i64,
}

impl ThinLimits {
    /// For an error in metres: speed within 5 m/s, at least a fix in two minutes.
    #[must_use]
    pub const fn within(position_m: f64) -> Self {
        Self { position_m, speed_mps: 5.0, max_gap_ms: 120_000 }
    }
}

/// What of a fix must stay the same for the next one to be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class {
    quality: Quality,
    verdict: Verdict,
    inputs: Option<u16>,
    placed: bool,
    has_time: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    class: Class,
    /// GNSS time, or without it the time since boot; `None` is never skipped.
    at_ms: Option<i64>,
    /// Minutes north and east.
    place: Option<(f64, f64)>,
    speed_mps: Option<f64>,
}

impl From<&Fix> for Sample {
    fn from(fix: &Fix) -> Self {
        let minutes = |value: Option<avl_shared::fix::Decimal>| value.map(avl_shared::fix::Decimal::to_f64);
        let place = minutes(fix.latitude).zip(minutes(fix.longitude));
        Self {
            class: Class {
                quality: fix.quality,
                verdict: fix.verdict,
                inputs: fix.inputs,
                placed: place.is_some(),
                has_time: fix.time.is_some(),
            },
            at_ms: fix.time.or_else(|| fix.uptime.and_then(|uptime| i64::try_from(uptime).ok())),
            place,
            speed_mps: fix.speed_mps(),
        }
    }
}

/// Thins a stream. `T` is what the caller wants back for a kept fix: the fix itself, its index, its cursor.
#[derive(Clone, Debug)]
pub struct Thinner<T> {
    limits: ThinLimits,
    /// The last kept fix.
    anchor: Option<Sample>,
    /// Since the anchor, not kept so far; the newest is `candidate`.
    skipped: Vec<Sample>,
    candidate: Option<(Sample, T)>,
}

impl<T> Thinner<T> {
    #[must_use]
    pub const fn new(limits: ThinLimits) -> Self {
        Self { limits, anchor: None, skipped: Vec::new(), candidate: None }
    }

    /// Takes the next fix; returns the items, in order, of those that are now known to be needed: at most two.
    pub fn push(&mut self, fix: &Fix, item: T) -> Kept<T> {
        let sample = Sample::from(fix);
        let Some(anchor) = self.anchor else {
            self.anchor = Some(sample);
            return Kept([None, Some(item)]);
        };
        let before = self.candidate.as_ref().map_or(anchor, |(candidate, _)| *candidate);
        let breaks = before.class != sample.class || !follows(before, sample);
        if !breaks && self.spans(anchor, sample) {
            self.skipped.extend(self.candidate.replace((sample, item)).map(|(skipped, _)| skipped));
            return Kept([None, None]);
        }
        let ended = self.candidate.take();
        self.skipped.clear();
        let (anchor, kept) = match ended {
            Some((sample, item)) => (sample, Some(item)),
            None => (anchor, None),
        };
        // The window opens anew at the fix before this one, unless this one cannot be reached from there either.
        if breaks || !self.spans(anchor, sample) {
            self.anchor = Some(sample);
            return Kept([kept, Some(item)]);
        }
        self.anchor = Some(anchor);
        self.candidate = Some((sample, item));
        Kept([kept, None])
    }

    /// The end of the track is always needed. Afterwards the thinner starts anew.
    pub fn finish(&mut self) -> Option<T> {
        self.anchor = None;
        self.skipped.clear();
        self.candidate.take().map(|(_, item)| item)
    }

    /// Whether the line from the anchor to `end` stands for everything between them.
    fn spans(&self, anchor: Sample, end: Sample) -> bool {
        let (Some(from), Some(to)) = (anchor.at_ms, end.at_ms) else { return false };
        if to - from > self.limits.max_gap_ms || self.skipped.len() >= MAX_WINDOW {
            return false;
        }
        let between = self.skipped.iter().chain(self.candidate.as_ref().map(|(sample, _)| sample));
        between.into_iter().all(|skipped| self.stands_for(anchor, end, skipped))
    }

    fn stands_for(&self, anchor: Sample, end: Sample, skipped: &Sample) -> bool {
        let (Some(from), Some(to), Some(at)) = (anchor.at_ms, end.at_ms, skipped.at_ms) else { return false };
        #[allow(clippy::cast_precision_loss)] // at most a gap's milliseconds
        let part = if to > from { (at - from) as f64 / (to - from) as f64 } else { 0.0 };
        let placed = match (anchor.place, end.place, skipped.place) {
            (Some(first), Some(last), Some(place)) => {
                off_line_m(first, last, part, place) <= self.limits.position_m
            }
            // Of one class with both ends: nobody knows where the vehicle was.
            _ => true,
        };
        let paced = match (anchor.speed_mps, end.speed_mps, skipped.speed_mps) {
            (Some(first), Some(last), Some(speed)) => {
                (first + (last - first) * part - speed).abs() <= self.limits.speed_mps
            }
            (None, None, None) => true,
            _ => false,
        };
        placed && paced
    }
}

/// The items of the fixes that became known to be needed, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<T>([Option<T>; 2]);

impl<T> IntoIterator for Kept<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<T>, 2>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// The indices of the fixes that the shape needs.
#[must_use]
pub fn needed(fixes: &[Fix], limits: ThinLimits) -> Vec<usize> {
    let mut thinner = Thinner::new(limits);
    let mut kept: Vec<usize> =
        fixes.iter().enumerate().flat_map(|(index, fix)| thinner.push(fix, index)).collect();
    kept.extend(thinner.finish());
    kept
}

fn follows(before: Sample, after: Sample) -> bool {
    matches!((before.at_ms, after.at_ms), (Some(before), Some(after)) if before < after)
}

/// Metres between `place` and the point that lies at `part` of the way from `first` to `last`. Plane geometry around
/// `first`: between two kept fixes lie minutes of driving.
fn off_line_m(first: (f64, f64), last: (f64, f64), part: f64, place: (f64, f64)) -> f64 {
    let narrowing = (first.0 / 60.0).to_radians().cos();
    let from_first = |(north, east): (f64, f64)| {
        let mut east = (east - first.1) % MINUTES_AROUND;
        if east.abs() > MINUTES_AROUND / 2.0 {
            east -= MINUTES_AROUND.copysign(east);
        }
        ((north - first.0) * METRES_PER_MINUTE, east * narrowing * METRES_PER_MINUTE)
    };
    let (line, at) = (from_first(last), from_first(place));
    (at.0 - line.0 * part).hypot(at.1 - line.1 * part)
}

#[cfg(test)]
#[path = "thinning_tests.rs"]
mod tests;
