//! Bytes of a GNSS receiver → sentences → epochs → fixes.
//!
//! [`framer`] finds sentences among whatever a line carries and checks them, [`sentence`] reads one without losing a
//! digit, [`epoch`] joins those of one instant ([`cycle`] knows when a live receiver has said all), [`calendar`] gives
//! the instant its date, [`sky`] collects the satellites, and [`integrity`], [`stillness`] and [`signals`] doubt what
//! cannot be. [`Receiver`] is all of them in a row.
//!
//! It promises: no bytes make it panic or grow; a sentence without a valid checksum never reaches a fix; the numbers of
//! a fix are those that were printed; the same bytes give the same fixes however they are cut, and also when reading
//! is taken up again at the [`ResumePoint`] of any fix. It does no I/O and reads no clock.

mod calendar;
mod cycle;
mod epoch;
mod extras;
mod fields;
mod framer;
mod integrity;
#[cfg(test)]
mod mutated_logs;
#[cfg(test)]
mod real_logs;
mod sentence;
mod signals;
mod sky;
mod stillness;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use testing::sentence as sentence_for_tests;

pub use extras::{Antenna, Extras};
pub use sky::{Constellation, SatelliteView};

use avl_shared::fix::{Fix, Quality, UtcMillis, Verdict};
use serde::{Deserialize, Serialize};

use calendar::{Calendar, Date, TimeOfDay};
use epoch::{Assembler, Epoch, Output};
use framer::Framer;
use integrity::Integrity;
use sentence::{Dilution, Reading};
use signals::SignalWatch;
use sky::{Signals, Sky};
use stillness::Stillness;

/// A receiver that prints RMC, GGA or GNS and then, so many times in a row, GLL alone was set to print GLL alone.
const LONE_GLL_TO_BELIEVE: u8 = 10;

/// What a stream of bytes was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Sentences with a valid checksum, of whatever type.
    pub sentences: u64,
    /// Sentences whose checksum is wrong or missing.
    pub bad_checksums: u64,
    /// Of the valid sentences, those of a type that is not used.
    pub unknown: u64,
    /// Of the valid sentences, those of a used type with too few fields.
    pub malformed: u64,
    /// Bytes that belong to no sentence; line endings are not counted.
    pub garbage_bytes: u64,
    /// Instants of which only the GLL is left, on a receiver that prints more: the rest was lost. They make no fix.
    pub fragments: u64,
    /// Sentences that came after the fix they belong to.
    pub late: u64,
    pub fixes: u64,
}

/// From here a recorded stream can be read again with the very next fix as its first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumePoint {
    /// Bytes up to and including the last sentence that belongs to the fix.
    pub offset: u64,
    memory: Memory,
}

/// Everything that one epoch hands down to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    calendar: Calendar,
    integrity: Integrity,
    stillness: Stillness,
    signals: SignalWatch,
    antenna: Option<Antenna>,
    /// The receiver prints RMC, GGA or GNS.
    principal: bool,
    lone_gll: u8,
    /// As the last epoch that was over printed it.
    in_view: Option<u8>,
    /// The instant whose remaining sentences, if there are any, are to be ignored.
    straggling: Option<TimeOfDay>,
}

/// One fix, and where to go on behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    pub fix: Fix,
    pub extras: Extras,
    pub resume: ResumePoint,
}

#[derive(Clone, Debug)]
pub struct Receiver {
    framer: Framer,
    assembler: Assembler,
    sky: Sky,
    memory: Memory,
    /// Bytes taken so far, counted from the start of the stream.
    offset: u64,
    unknown: u64,
    malformed: u64,
    fragments: u64,
    fixes: u64,
}

impl Receiver {
    /// For a recorded stream: a fix is delivered when the next begins, so nothing it might still get is missed.
    #[must_use]
    pub fn recorded() -> Self {
        Self::new(Assembler::recorded())
    }

    /// Like [`Receiver::recorded`], for a stream that is read from `point.offset` on.
    #[must_use]
    pub fn resumed(point: &ResumePoint) -> Self {
        let mut assembler = Assembler::recorded();
        if let Some(time) = point.memory.straggling {
            assembler.expect_stragglers_of(time);
        }
        Self { memory: point.memory, offset: point.offset, ..Self::new(assembler) }
    }

    /// For a receiver that is listened to: a fix is delivered as soon as the receiver has said what it says in each
    /// cycle. Call [`Receiver::pause`] when it has been silent for a while.
    #[must_use]
    pub fn live() -> Self {
        Self::new(Assembler::live())
    }

    /// For a receiver that is listened to, when it is known that today is not before `days` after 1970-01-01: an earlier
    /// date is corrected by the 1024 weeks (or a multiple) that it is behind, and marked. See `WEEK_ROLLOVER`.
    #[must_use]
    pub fn dating_from(mut self, days: i64) -> Self {
        self.memory.calendar = Calendar::since(Date::from_days(days));
        self
    }

    /// Tells the receiver about what time it is, for one that prints no date. Has no effect once it has.
    pub fn trust_date(&mut self, utc: UtcMillis) {
        self.memory.calendar.trust(utc);
    }

    fn new(assembler: Assembler) -> Self {
        Self {
            framer: Framer::default(),
            assembler,
            sky: Sky::default(),
            memory: Memory::default(),
            offset: 0,
            unknown: 0,
            malformed: 0,
            fragments: 0,
            fixes: 0,
        }
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let framed = self.framer.counts();
        Counts {
            sentences: framed.sentences,
            bad_checksums: framed.bad_checksums,
            unknown: self.unknown,
            malformed: self.malformed,
            garbage_bytes: framed.garbage_bytes,
            fragments: self.fragments,
            late: self.assembler.late(),
            fixes: self.fixes,
        }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    fn footprint(&self) -> usize {
        self.framer.footprint() + self.assembler.footprint() + self.sky.footprint()
    }

    /// The satellites as they were printed last.
    #[must_use]
    pub fn sky(&self) -> Vec<SatelliteView> {
        self.sky.rows()
    }

    /// What the receiver said last of its antenna; most say nothing.
    #[must_use]
    pub const fn antenna(&self) -> Option<Antenna> {
        self.memory.antenna
    }

    /// Takes the next bytes. `arrived_ms` is the time by a clock that never jumps, for a receiver that is listened to;
    /// `None` for a recorded stream.
    pub fn push(&mut self, bytes: &[u8], arrived_ms: Option<u64>, mut deliver: impl FnMut(Observation)) {
        let Self { framer, assembler, sky, memory, offset, unknown, malformed, fragments, fixes } = self;
        framer.push(bytes, |body, end| {
            let end = *offset + end as u64;
            let (report, active) = match sentence::read(body) {
                Reading::Report(report) => (report, None),
                Reading::Active(report, dilution, active) => {
                    assembler.expect_with(dilution);
                    (report, Some(active))
                }
                Reading::InView(in_view) => {
                    assembler.extend(end);
                    return sky.in_view(&in_view, assembler.is_ahead());
                }
                Reading::Antenna(told) => {
                    memory.antenna = Some(told);
                    return;
                }
                Reading::Unknown => {
                    *unknown += 1;
                    return;
                }
                Reading::Malformed => {
                    *malformed += 1;
                    return;
                }
            };
            let (ahead, epoch) = (assembler.is_ahead(), sky.epoch());
            assembler.push(report, end, &mut |output| {
                memory.take(output, arrived_ms, sky, fragments, fixes, &mut deliver);
            });
            if ahead && !assembler.is_ahead() && sky.epoch() == epoch {
                sky.fold_back();
            }
            if let Some(active) = active {
                sky.active(&active, assembler.is_ahead());
            }
        });
        *offset += bytes.len() as u64;
    }

    /// The receiver has been silent for longer than it ever is within an epoch: delivers what there is.
    pub fn pause(&mut self, arrived_ms: Option<u64>, mut deliver: impl FnMut(Observation)) {
        let Self { assembler, sky, memory, fragments, fixes, .. } = self;
        assembler.pause(&mut |output| memory.take(output, arrived_ms, sky, fragments, fixes, &mut deliver));
    }

    /// The stream is over, or was interrupted: delivers what there is and gives up a sentence that had begun.
    pub fn finish(&mut self, arrived_ms: Option<u64>, deliver: impl FnMut(Observation)) {
        self.framer.finish();
        self.pause(arrived_ms, deliver);
    }
}

impl Memory {
    fn take(
        &mut self,
        output: Output,
        arrived_ms: Option<u64>,
        sky: &mut Sky,
        fragments: &mut u64,
        fixes: &mut u64,
        deliver: &mut impl FnMut(Observation),
    ) {
        match output {
            Output::Date(time, date) => {
                self.calendar.resolve(time, Some(date), false);
            }
            Output::Over(time) => self.absorb(sky.turn(), time),
            Output::Epoch(epoch) if self.is_fragment(&epoch) => {
                *fragments += 1;
                if epoch.over {
                    self.absorb(sky.turn(), epoch.time);
                }
            }
            Output::Epoch(epoch) => {
                *fixes += 1;
                deliver(self.observe(epoch, arrived_ms, sky));
            }
        }
    }

    /// GLL repeats what RMC and GGA say. Alone, on a receiver that prints those, it is the tail of an epoch whose
    /// beginning was lost: a fix that knows neither speed nor quality, and would be taken for all there was.
    fn is_fragment(&mut self, epoch: &Epoch) -> bool {
        if epoch.principal {
            (self.principal, self.lone_gll) = (true, 0);
        } else if self.principal {
            self.lone_gll += 1;
            self.principal = self.lone_gll < LONE_GLL_TO_BELIEVE;
        }
        !epoch.principal && self.principal
    }

    /// How the satellites were heard is known when the epoch is over, which for a live receiver is after its fix: it
    /// counts for the next.
    fn absorb(&mut self, signals: Option<Signals>, time: Option<TimeOfDay>) {
        self.signals.absorb(signals, time);
        self.in_view = signals.map(|signals| signals.in_view).or(self.in_view);
    }

    fn observe(&mut self, epoch: Epoch, arrived_ms: Option<u64>, sky: &mut Sky) -> Observation {
        let Epoch { time, date, mut fix, dilution, date_beside, end, may_go_on, over, .. } = epoch;
        let Dilution { mode, pdop, vdop } = dilution;
        let extras = Extras { mode, pdop, vdop, satellites_in_view: self.in_view };
        let located = fix.latitude.is_some();
        let resolved = time.and_then(|time| self.calendar.resolve(time, date, located));
        fix.time = resolved.map(|resolved| resolved.instant);
        fix.verdict.set(Verdict::NO_TIME, fix.time.is_none());
        fix.verdict.set(Verdict::WEEK_ROLLOVER, resolved.is_some_and(|resolved| resolved.rolled_over));
        self.doubt(&mut fix, time, arrived_ms);
        if let Some((time, date)) = date_beside {
            self.calendar.resolve(time, Some(date), located);
        }
        self.straggling = time.filter(|_| may_go_on);
        if over {
            self.absorb(sky.turn(), time);
        }
        Observation { fix, extras, resume: ResumePoint { offset: end, memory: *self } }
    }

    fn doubt(&mut self, fix: &mut Fix, time: Option<TimeOfDay>, arrived_ms: Option<u64>) {
        let jumped = self.integrity.judge(fix, time, arrived_ms);
        let healthy = !matches!(fix.quality, Quality::NoFix | Quality::DeadReckoning);
        if !jumped.is_empty() && healthy && fix.latitude.is_some() {
            self.signals.jumped();
        }
        fix.verdict |= jumped;
        if self.stillness.judge(fix, time) {
            fix.verdict |= Verdict::FROZEN;
        }
        // A loose plug looks like a collapse, and the receiver knows better.
        let antenna_fails = matches!(self.antenna, Some(Antenna::Open | Antenna::Short));
        fix.verdict.set(Verdict::JAMMING, self.signals.is_jammed() && !antenna_fails);
        fix.verdict.set(Verdict::SPOOFING, self.signals.is_spoofed());
    }
}
