//! Sentences → epochs: everything a receiver says about one instant becomes one fix.
//!
//! Time of day is what holds an epoch together, not the order of its sentences. A sentence belongs to the open epoch
//! when it prints the same time; one that prints no time (VTG, GSA, or anything before the receiver knows the time)
//! belongs to it unless the epoch already has its like, since a receiver says everything once a cycle. What belongs no
//! more closes the epoch and opens the next. ZDA never opens one: timing receivers print it for the coming second.
//!
//! Within an epoch a sentence that has a fix beats one that has none, the combined talker `GN` beats a single
//! constellation, more decimals beat fewer; after that GGA speaks before RMC, GNS and GLL. So the order of sentences
//! makes no difference, and nothing of an earlier epoch is ever carried into a later one.

use avl_shared::fix::{Fix, Verdict};

use super::calendar::{Date, TimeOfDay};
use super::cycle::Cycle;
use super::fields::{Coordinates, Field};
use super::sentence::{COMBINED, Dilution, Kind, Report, Talker};

/// Kinds that can be in an epoch, as indices.
pub(super) const KINDS: usize = 7;

/// A receiver that prints an RMC, GGA, GNS or GLL of the same instant so many times has a clock that stands still. Mixed
/// talkers print one each, and some receivers print an epoch again when they restart.
const STANDS_STILL: u8 = 20;

/// Different sentences without time in one epoch. A receiver with six constellations prints four types for each;
/// whoever prints more does not know the time and prints nonsense, and memory stays bounded.
const MAX_SEEN: usize = 24;

pub(super) const fn index(kind: Kind) -> Option<usize> {
    Some(match kind {
        Kind::Rmc => 0,
        Kind::Gga => 1,
        Kind::Gns => 2,
        Kind::Gll => 3,
        Kind::Vtg => 4,
        Kind::Zda => 5,
        Kind::Gsa => 6,
        Kind::Gsv | Kind::Gst => return None,
    })
}

/// Everything the receiver said about one instant. The fix has no time yet, and the receiver's own doubts as verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    pub time: Option<TimeOfDay>,
    pub date: Option<Date>,
    pub fix: Fix,
    pub dilution: Dilution,
    /// Whether a sentence was in it that describes the whole solution (RMC, GGA, GNS).
    pub principal: bool,
    /// A date for another instant that was printed among its sentences.
    pub date_beside: Option<(TimeOfDay, Date)>,
    /// Bytes of the stream up to and including its last sentence.
    pub end: u64,
    /// Set when more sentences of the same instant may still come.
    pub may_go_on: bool,
    /// Set when the next epoch has begun.
    pub over: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // handed on at once, never stored
pub(super) enum Output {
    Epoch(Epoch),
    /// The next epoch has begun after this one, which was delivered before.
    Over(Option<TimeOfDay>),
    /// A date for the instants around it, from outside any epoch.
    Date(TimeOfDay, Date),
}

/// The epoch that sentences are being added to.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    time: Option<TimeOfDay>,
    reports: [Option<Report>; KINDS],
    /// How many sentences of each kind.
    counts: [u8; KINDS],
    /// Of the GSA among them.
    dilution: Dilution,
    seen: Vec<(Kind, Talker)>,
    position_implausible: bool,
    time_implausible: bool,
    date_beside: Option<(TimeOfDay, Date)>,
    end: u64,
    /// Delivered already; kept open so that stragglers do not start it again.
    delivered: bool,
    /// Delivered again, as frozen.
    delivered_frozen: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Assembler {
    open: Option<Open>,
    /// A VTG and a GSA that wait for a sentence with time: it says whether they came before their epoch, or repeat.
    held: [Option<(Report, u64)>; 2],
    /// What the GSA that is pushed next says beside its report, and what the one that waits said.
    dilution: Dilution,
    held_dilution: Dilution,
    /// A date for another instant than the open epoch's. Given out behind that epoch, so that a replay which is taken
    /// up there sees the same; or with it, when more of its sentences follow.
    pending_date: Option<(TimeOfDay, Date)>,
    /// Learnt from a live receiver, to know when an epoch is complete; a recorded one can wait for the next.
    cycle: Option<Cycle>,
    late: u64,
}

impl Assembler {
    /// Delivers each epoch when the next begins.
    #[must_use]
    pub(super) fn recorded() -> Self {
        Self::default()
    }

    /// Delivers each epoch as soon as the receiver has said what it usually says.
    #[must_use]
    pub(super) fn live() -> Self {
        Self { cycle: Some(Cycle::default()), ..Self::default() }
    }

    /// As if the epoch of `time` had just been delivered.
    pub(super) fn expect_stragglers_of(&mut self, time: TimeOfDay) {
        self.open = Some(Open { time: Some(time), delivered: true, ..Open::default() });
    }

    /// Sentences that came after their epoch had been delivered, and would have added to it.
    #[must_use]
    pub(super) const fn late(&self) -> u64 {
        self.late
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.seen.capacity() * size_of::<(Kind, Talker)>())
    }

    /// Adds a report that ends `end` bytes into the stream.
    pub(super) fn push(&mut self, report: Report, end: u64, output: &mut impl FnMut(Output)) {
        match report.kind {
            Kind::Gsv | Kind::Gst => return,
            Kind::Zda => self.push_date(report, end, output),
            Kind::Vtg | Kind::Gsa => self.push_companion(report, end),
            Kind::Rmc | Kind::Gga | Kind::Gns | Kind::Gll => {
                if !self.open.as_ref().is_some_and(|open| open.takes(&report)) {
                    self.close(output);
                    self.open = Some(Open::default());
                }
                self.add(report, end);
            }
        }
        self.deliver_if_complete(output);
    }

    /// The receiver has paused, or the stream is over: nothing more is to be waited for.
    pub(super) fn pause(&mut self, output: &mut impl FnMut(Output)) {
        self.held = [None, None];
        if let Some(open) = self.open.as_mut().filter(|open| !open.delivered) {
            open.delivered = true;
            output(Output::Epoch(Epoch { may_go_on: true, ..open.compose() }));
        }
        self.release_date(output);
    }

    /// Takes what a GSA says of the solution, just before its report is pushed.
    pub(super) fn expect_with(&mut self, dilution: Dilution) {
        self.dilution = dilution;
    }

    /// Adds a GSV that ends `end` bytes into the stream: it says nothing of the fix, but its epoch reaches up to it.
    pub(super) fn extend(&mut self, end: u64) {
        if !self.is_ahead()
            && let Some(open) = &mut self.open
        {
            open.date_beside = self.pending_date.take().or(open.date_beside);
            open.end = end;
        }
    }

    /// Whether sentences of the epoch behind the open one have come already, so that what follows belongs to it too.
    pub(super) fn is_ahead(&self) -> bool {
        self.open.is_some() && self.held != [None, None]
    }

    fn push_date(&mut self, report: Report, end: u64, output: &mut impl FnMut(Output)) {
        let (time, date) = (report.time.value(), report.date.value());
        if time.is_some() && self.open.as_ref().is_some_and(|open| open.time == time) {
            self.add(report, end);
        } else if let Some(dated) = time.zip(date) {
            self.pending_date = Some(dated);
            if self.open.as_ref().is_none_or(|open| open.delivered) {
                self.release_date(output);
            }
        }
    }

    fn push_companion(&mut self, report: Report, end: u64) {
        let repeats = |open: &Open| report.kind == Kind::Vtg && open.has_seen(&report);
        if self.held == [None, None] && self.open.as_ref().is_some_and(|open| !repeats(open)) {
            self.add(report, end);
        } else {
            if report.kind == Kind::Gsa {
                self.held_dilution = self.dilution;
            }
            self.held[usize::from(report.kind == Kind::Gsa)] = Some((report, end));
        }
    }

    fn add(&mut self, report: Report, end: u64) {
        if let Some(open) = &mut self.open {
            for (held, held_end) in self.held.iter_mut().filter_map(Option::take) {
                open.add(held, held_end, self.held_dilution);
            }
            open.date_beside = self.pending_date.take().or(open.date_beside);
            let usual = self.cycle.as_ref().is_none_or(|cycle| cycle.expects(report.kind));
            self.late += u64::from(open.delivered && !usual);
            open.add(report, end, self.dilution);
        }
    }

    fn close(&mut self, output: &mut impl FnMut(Output)) {
        if let Some(open) = self.open.take() {
            if let Some(cycle) = &mut self.cycle
                && !open.stands_still()
            {
                cycle.learn(open.counts, open.finest());
            }
            if open.delivered {
                output(Output::Over(open.time));
            } else {
                output(Output::Epoch(Epoch { over: true, ..open.compose() }));
            }
        }
        self.release_date(output);
    }

    fn release_date(&mut self, output: &mut impl FnMut(Output)) {
        if let Some((time, date)) = self.pending_date.take() {
            output(Output::Date(time, date));
        }
    }

    fn deliver_if_complete(&mut self, output: &mut impl FnMut(Output)) {
        let (Some(cycle), Some(open)) = (&self.cycle, &mut self.open) else {
            return;
        };
        if !open.delivered
            && cycle.is_complete(&open.counts, |kind| open.has_no_use_for(kind, cycle.finest()))
        {
            open.delivered = true;
            output(Output::Epoch(Epoch { may_go_on: true, ..open.compose() }));
        }
        // It was delivered as a good one long ago, and no other will follow: say what has become of the receiver.
        if open.delivered && !open.delivered_frozen && open.stands_still() {
            open.delivered_frozen = true;
            output(Output::Epoch(Epoch { may_go_on: true, ..open.compose() }));
        }
    }
}

impl Open {
    fn report(&self, kind: Kind) -> Option<&Report> {
        self.reports.get(index(kind)?)?.as_ref()
    }

    fn has_seen(&self, report: &Report) -> bool {
        self.seen.len() >= MAX_SEEN || self.seen.contains(&(report.kind, report.talker))
    }

    /// Whether a sentence of the kinds that make epochs belongs to this one.
    fn takes(&self, report: &Report) -> bool {
        match (self.time, report.time.value()) {
            (Some(time), Some(printed)) => time == printed,
            (None, None) => !self.has_seen(report),
            (None, Some(_)) if self.delivered => false,
            // Only one of them knows the time, so the receiver has just lost it or got it back. Many change the talker
            // then (GN to GP): told apart by talkers, a loss would vanish in the epoch beside it.
            _ => index(report.kind).is_none_or(|kind| self.counts[kind] == 0),
        }
    }

    fn add(&mut self, report: Report, end: u64, dilution: Dilution) {
        self.end = end;
        self.time = self.time.or(report.time.value());
        self.position_implausible |= report.position.is_implausible();
        self.time_implausible |= report.time.is_implausible() || report.date.is_implausible();
        if !self.has_seen(&report) {
            self.seen.push((report.kind, report.talker));
        }
        let Some(kind) = index(report.kind) else { return };
        self.counts[kind] = self.counts[kind].saturating_add(1);
        match &mut self.reports[kind] {
            Some(known) if worth(&report) <= worth(known) => {}
            slot => {
                *slot = Some(report);
                if report.kind == Kind::Gsa {
                    self.dilution = dilution;
                }
            }
        }
    }

    fn stands_still(&self) -> bool {
        let repeats = [Kind::Rmc, Kind::Gga, Kind::Gns, Kind::Gll].into_iter().filter_map(index);
        self.time.is_some() && repeats.into_iter().any(|kind| self.counts[kind] >= STANDS_STILL)
    }

    /// The position printed with the most decimals.
    fn position(&self) -> Option<Coordinates> {
        let mut best: Option<Coordinates> = None;
        for kind in [Kind::Gga, Kind::Rmc, Kind::Gns, Kind::Gll] {
            if let Some(position) = self.report(kind).and_then(|report| report.position.value())
                && best.is_none_or(|best| position.decimals() > best.decimals())
            {
                best = Some(position);
            }
        }
        best
    }

    fn finest(&self) -> u8 {
        self.position().map_or(0, |position| position.decimals())
    }

    /// Whether a sentence that usually comes could add nothing to what is here.
    fn has_no_use_for(&self, kind: Kind, finest: u8) -> bool {
        let has = |kind, value: fn(&Report) -> bool| self.report(kind).is_some_and(value);
        match kind {
            Kind::Gll => self.position().is_some_and(|position| position.decimals() >= finest),
            Kind::Vtg => has(Kind::Rmc, |rmc| rmc.speed.is_some() && rmc.course.is_some()),
            Kind::Zda => has(Kind::Rmc, |rmc| rmc.date.value().is_some()),
            // They all print the dilution of the whole solution.
            Kind::Gsa => has(Kind::Gsa, |gsa| gsa.hdop.is_some()),
            Kind::Rmc | Kind::Gga | Kind::Gns | Kind::Gsv | Kind::Gst => false,
        }
    }

    fn compose(&self) -> Epoch {
        let first = |kinds: &[Kind]| {
            kinds.iter().find_map(|kind| self.report(*kind).filter(|report| report.is_valid()))
        };
        let quality = first(&[Kind::Gga, Kind::Gns, Kind::Rmc, Kind::Gll]).and_then(|report| report.quality);
        // Without a fix, what VTG prints is as old as the position.
        let moving = [Kind::Rmc, Kind::Vtg].map(|kind| self.report(kind).filter(|_| quality.is_some()));
        let solution = [Kind::Gga, Kind::Gns, Kind::Gsa].map(|kind| self.report(kind));
        let position = self.position();

        let mut verdict = Verdict::empty();
        verdict.set(Verdict::NO_FIX, position.is_none() && !self.position_implausible);
        verdict.set(Verdict::FROZEN, position.is_some() && self.stands_still());
        verdict.set(Verdict::IMPLAUSIBLE, self.position_implausible || self.time_implausible);

        let fix = Fix {
            latitude: position.map(|position| position.latitude),
            longitude: position.map(|position| position.longitude),
            altitude: solution.iter().flatten().find_map(|report| report.altitude),
            speed: moving.iter().flatten().find_map(|report| report.speed),
            course: moving.iter().flatten().find_map(|report| report.course),
            hdop: solution.iter().flatten().find_map(|report| report.hdop),
            satellites: solution.iter().flatten().find_map(|report| report.satellites),
            quality: quality.unwrap_or_default(),
            verdict,
            ..Fix::default()
        };
        let date = [Kind::Rmc, Kind::Zda].iter().find_map(|kind| self.report(*kind)?.date.value());
        let principal = self.reports.iter().flatten().any(|report| report.kind.is_principal());
        let Self { time, date_beside, end, dilution, .. } = *self;
        Epoch { time, date, fix, dilution, principal, date_beside, end, may_go_on: false, over: false }
    }
}

/// Orders two sentences of the same kind in one epoch.
fn worth(report: &Report) -> (bool, bool, bool, bool) {
    let says_something = match report.kind {
        Kind::Gsa => report.hdop.is_some(),
        Kind::Vtg => report.speed.is_some(),
        Kind::Zda => report.date.value().is_some(),
        _ => matches!(report.position, Field::Value(_)),
    };
    (report.is_valid(), says_something, report.talker == COMBINED, report.hdop.is_some())
}
