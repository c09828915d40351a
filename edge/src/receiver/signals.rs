//! What the strength of the signals says: jamming, and a sky that is too even or too loud to be real.
//!
//! A receiver's NMEA has no gain or noise level, only the carrier-to-noise density (C/N0) of each signal. So these are
//! signs, not proofs. What separates them from everyday events, with the figures of three recorded drives:
//!
//! - A bridge, a garage, a tunnel takes satellites away; most of those still heard keep their level (under the four
//!   overpasses of the highway log satellites went from 47 dB-Hz to nothing within two seconds, and with four or more
//!   left their mean never fell by more than 6.8 dB). Interference raises the noise for all of them alike:
//!   N0 grows by the factor by which C/N0 falls, whatever the satellite (E. D. Kaplan, C. J. Hegarty, Understanding
//!   GPS/GNSS, 3rd ed. 2017, chapter 9, effective C/N0). Hence the mean of the strongest signals, and never with
//!   fewer than that are heard.
//! - The sky's levels are uneven, because satellites stand at different elevations and antennas favour the zenith. A
//!   transmitter on the ground that imitates a dozen of them sends them through one antenna (A. Jafarnia-Jahromi et
//!   al., GPS Vulnerability to Spoofing Threats and a Review of Antispoofing Techniques, Int. J. Navigation and
//!   Observation 2012; M. L. Psiaki, T. E. Humphreys, GNSS Spoofing and Detection, Proc. IEEE 104(6), 2016).
//!
//! Everything here is integers and small, since it is stored with each fix of a replay.

use serde::{Deserialize, Serialize};

use super::calendar::{MILLIS_PER_DAY, TimeOfDay};
use super::sky::Signals;

/// Interference of tenfold the noise. The recorded drives fall by 6.8 dB at most, over ten epochs or below a slow mean.
const COLLAPSE_TENTHS: i32 = 100;
/// Within this of its usual level, a sky is as usual. The urban drive falls to 4.4 dB below its slow mean, the boat 3.3.
const USUAL_TENTHS: i32 = 50;
/// A collapse that has come back to within this is over; between the two, it stays what it was.
const OVER_TENTHS: i32 = 70;

/// How fast it has to come: a transmitter is switched on, or passes by. A vehicle that creeps into a hall takes longer.
const ONSET_MS: u32 = 5000;
/// How long it has to last, with enough satellites still heard. The mouth of a tunnel is passed by then, and inside
/// nothing is heard.
const LASTS_MS: u32 = 5000;
const LASTS_CYCLES: u8 = 3;

/// After so long the low level is the usual one: the antenna was changed, or the vehicle is laid up in a hall.
const RELEARN_MS: u32 = 600_000;

/// Epochs with signals before a level is usual.
const LEARN_CYCLES: u16 = 30;
/// The usual level follows with a time constant of so many epochs, and slower while it is not as usual.
const FOLLOW: i32 = 32;
const FOLLOW_SLOWLY: i32 = 256;

/// Standard deviation over all signals. The least of the recorded drives with eight signals or more is 1.6 dB, for a
/// moment on the highway; 6.2 and 7.0 on the others.
const EVEN_TENTHS: u16 = 10;
const EVEN_SIGNALS: u16 = 8;
/// Loudest plausible mean of the strongest: satellites reach −153 dBW at most (IS-GPS-200, received power), over thermal
/// noise of −204 dBW/Hz with 5 dB of antenna gain that is 56 dB-Hz. The loudest of the recorded drives is 53.3.
const LOUD_TENTHS: u16 = 560;
const FALSE_CYCLES: u8 = 5;

/// Two signs within this make a verdict.
const TOGETHER_MS: u32 = 60_000;
const LONG_AGO: u32 = u32::MAX;

/// Steps of time that are missing or cannot be.
const USUAL_STEP_MS: u32 = 1000;
const LONGEST_STEP_MS: u32 = 60_000;

/// The memory of it. Time is kept as what has passed, so that it can be compared after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SignalWatch {
    at: Option<TimeOfDay>,
    /// Usual mean of the strongest, hundredths of dB-Hz.
    usual: i32,
    learnt: u16,
    /// Since the level was last as usual.
    away_ms: u32,
    low_ms: u32,
    low_cycles: u8,
    /// Whether the low level came fast enough.
    sudden: bool,
    jammed: bool,
    even_cycles: u8,
    loud_cycles: u8,
    /// Since a level sign was last there, and since place or time last jumped.
    level_ms: u32,
    jump_ms: u32,
}

impl Default for SignalWatch {
    fn default() -> Self {
        Self {
            at: None,
            usual: 0,
            learnt: 0,
            away_ms: 0,
            low_ms: 0,
            low_cycles: 0,
            sudden: false,
            jammed: false,
            even_cycles: 0,
            loud_cycles: 0,
            level_ms: LONG_AGO,
            jump_ms: LONG_AGO,
        }
    }
}

impl SignalWatch {
    /// C/N0 has collapsed on all satellites at once, and not come back.
    pub(super) const fn is_jammed(&self) -> bool {
        self.jammed
    }

    /// At least two independent signs of a false sky: too even, too loud, and a place or time that jumped with a
    /// healthy fix. One of them has to be a level: jumps alone have everyday causes.
    pub(super) const fn is_spoofed(&self) -> bool {
        let even = self.even_cycles >= FALSE_CYCLES;
        let loud = self.loud_cycles >= FALSE_CYCLES;
        (even && loud) || (self.level_ms < TOGETHER_MS && self.jump_ms < TOGETHER_MS)
    }

    /// Place or time has jumped while the receiver called its fix healthy.
    pub(super) const fn jumped(&mut self) {
        self.jump_ms = 0;
    }

    /// Takes in how an epoch's satellites were heard; `None` when it did not print them.
    pub(super) fn absorb(&mut self, signals: Option<Signals>, time: Option<TimeOfDay>) {
        let step = self.step_to(time);
        self.level_ms = self.level_ms.saturating_add(step);
        self.jump_ms = self.jump_ms.saturating_add(step);
        self.away_ms = self.away_ms.saturating_add(step);
        if self.low_cycles > 0 {
            self.low_ms = self.low_ms.saturating_add(step);
        }
        if self.away_ms > RELEARN_MS {
            (self.learnt, self.jammed, self.away_ms) = (0, false, 0);
        }
        let Some(signals) = signals else { return };
        self.look_for_a_false_sky(&signals);
        // With fewer, the level is of whichever satellite is left: nothing to compare.
        if signals.strongest_tenths > 0 {
            self.compare(i32::from(signals.strongest_tenths));
        } else {
            (self.low_ms, self.low_cycles) = (0, 0);
        }
    }

    fn step_to(&mut self, time: Option<TimeOfDay>) -> u32 {
        let before = self.at;
        self.at = time.or(before);
        let step = before.zip(time).map(|(before, time)| {
            (i64::from(time.millis()) - i64::from(before.millis())).rem_euclid(MILLIS_PER_DAY)
        });
        match step.map(u32::try_from) {
            Some(Ok(step)) if step <= LONGEST_STEP_MS => step,
            _ => USUAL_STEP_MS,
        }
    }

    fn look_for_a_false_sky(&mut self, signals: &Signals) {
        let counted = |cycles: u8, there: bool| if there { cycles.saturating_add(1) } else { 0 };
        let enough = signals.tracked >= EVEN_SIGNALS;
        self.even_cycles = counted(self.even_cycles, enough && signals.spread_tenths <= EVEN_TENTHS);
        self.loud_cycles = counted(self.loud_cycles, signals.strongest_tenths >= LOUD_TENTHS);
        if self.even_cycles >= FALSE_CYCLES || self.loud_cycles >= FALSE_CYCLES {
            self.level_ms = 0;
        }
    }

    fn compare(&mut self, level_tenths: i32) {
        if self.learnt < LEARN_CYCLES {
            self.learnt += 1;
            self.usual += (level_tenths * 10 - self.usual) / i32::from(self.learnt);
            self.away_ms = 0;
            return;
        }
        let fall = self.usual / 10 - level_tenths;
        if fall < USUAL_TENTHS {
            (self.away_ms, self.low_ms, self.low_cycles, self.jammed) = (0, 0, 0, false);
            self.usual += (level_tenths * 10 - self.usual) / FOLLOW;
            return;
        }
        self.jammed &= fall >= OVER_TENTHS;
        if fall < COLLAPSE_TENTHS {
            (self.low_ms, self.low_cycles) = (0, 0);
            if !self.jammed {
                self.usual += (level_tenths * 10 - self.usual) / FOLLOW_SLOWLY;
            }
            return;
        }
        if self.low_cycles == 0 {
            self.sudden = self.away_ms <= ONSET_MS;
        }
        self.low_cycles = self.low_cycles.saturating_add(1);
        self.jammed |= self.sudden && self.low_ms >= LASTS_MS && self.low_cycles >= LASTS_CYCLES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sky(tracked: u16, strongest_tenths: u16, spread_tenths: u16) -> Option<Signals> {
        Some(Signals { tracked, in_view: 20, strongest_tenths, spread_tenths })
    }

    /// One epoch a second from midnight on.
    struct Drive {
        watch: SignalWatch,
        second: u32,
    }

    impl Drive {
        fn new() -> Self {
            let mut drive = Self { watch: SignalWatch::default(), second: 0 };
            drive.go(120, sky(24, 460, 70));
            drive
        }

        fn go(&mut self, seconds: u32, signals: Option<Signals>) -> bool {
            for _ in 0..seconds {
                let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
                self.watch.absorb(signals, TimeOfDay::new(hour, minute, second, 0));
                self.second += 1;
            }
            self.watch.is_jammed()
        }
    }

    #[test]
    fn a_collapse_of_all_that_lasts_is_jamming_until_it_is_over() {
        let mut drive = Drive::new();
        assert!(!drive.go(5, sky(20, 330, 60)));
        assert!(drive.go(1, sky(20, 330, 60)));
        assert!(drive.go(100, sky(12, 310, 50)));
        // Nothing heard any more: no sign that it is over.
        assert!(drive.go(30, sky(0, 0, 0)));
        assert!(drive.go(5, sky(12, 380, 50)));
        assert!(!drive.go(1, sky(20, 450, 70)));
    }

    #[test]
    fn an_overpass_a_tunnel_and_a_hall_are_not() {
        let mut drive = Drive::new();
        // Satellites go, those left keep their level.
        assert!(!drive.go(4, sky(4, 440, 60)) && !drive.go(20, sky(2, 0, 60)) && !drive.go(60, sky(0, 0, 0)));
        assert!(!drive.go(60, sky(24, 460, 70)));
        // The mouth of a tunnel: weak for a moment, then nothing.
        assert!(
            !drive.go(4, sky(8, 300, 60)) && !drive.go(60, sky(0, 0, 0)) && !drive.go(4, sky(8, 300, 60))
        );
        assert!(!drive.go(60, sky(24, 460, 70)));
        // Creeping into a hall.
        for level in (300..460).rev().step_by(8) {
            assert!(!drive.go(1, sky(12, level, 60)), "{level}");
        }
        assert!(!drive.go(300, sky(12, 300, 60)));
    }

    #[test]
    fn nothing_is_judged_before_the_usual_level_is_known() {
        let mut drive = Drive { watch: SignalWatch::default(), second: 0 };
        assert!(!drive.go(10, sky(24, 460, 70)) && !drive.go(60, sky(20, 330, 60)));
    }

    #[test]
    fn what_lasts_ten_minutes_has_become_usual() {
        let mut drive = Drive::new();
        assert!(drive.go(60, sky(20, 330, 60)));
        assert!(!drive.go(600, sky(20, 330, 60)));
        assert!(!drive.go(60, sky(20, 330, 60)));
    }

    #[test]
    fn a_receiver_that_prints_its_satellites_every_fifth_second_is_judged_too() {
        let mut drive = Drive { watch: SignalWatch::default(), second: 0 };
        let fifth = |drive: &mut Drive, signals, times| {
            for _ in 0..times {
                drive.go(4, None);
                drive.go(1, signals);
            }
            drive.watch.is_jammed()
        };
        assert!(!fifth(&mut drive, sky(9, 460, 70), 40));
        assert!(fifth(&mut drive, sky(9, 330, 70), 3));
    }

    #[test]
    fn one_sign_of_a_false_sky_is_none_and_two_are_a_verdict() {
        let mut even = Drive::new();
        even.go(60, sky(12, 480, 8));
        assert!(!even.watch.is_spoofed());
        even.watch.jumped();
        assert!(even.watch.is_spoofed());
        even.go(59, sky(12, 480, 70));
        assert!(even.watch.is_spoofed());
        even.go(2, sky(12, 480, 70));
        assert!(!even.watch.is_spoofed());

        let mut jumps = Drive::new();
        jumps.watch.jumped();
        assert!(!jumps.watch.is_spoofed());

        let mut loud = Drive::new();
        loud.go(10, sky(12, 570, 70));
        assert!(!loud.watch.is_spoofed());
        loud.go(10, sky(12, 570, 8));
        assert!(loud.watch.is_spoofed());
    }

    #[test]
    fn few_signals_that_happen_to_be_even_are_no_sign() {
        let mut drive = Drive::new();
        drive.go(60, sky(7, 480, 8));
        drive.watch.jumped();
        assert!(!drive.watch.is_spoofed());
    }
}
