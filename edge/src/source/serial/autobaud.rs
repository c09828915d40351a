//! At which rate does the receiver speak? Decided by what a rate makes of the line: valid checksums, or not.
//!
//! One rate after the other is listened to for [`LISTEN_MS`], the one that worked last time first. Two valid sentences
//! settle it at once; damaged ones or none mean the next rate. A settled rate is doubted again when the line turns to
//! garbage or falls silent for long, which is what a receiver does that lost its settings with its backup battery, or
//! was swapped. No I/O and no clock: the caller says what was heard and when.

/// By how common they are among NMEA receivers: modules of the last fifteen years, faster ones, NMEA 0183 itself.
pub(super) const RATES: [u32; 8] = [9600, 115_200, 38_400, 4800, 57_600, 19_200, 230_400, 460_800];

/// Many receivers print once a second, some every other second: shorter could fall between two bursts.
const LISTEN_MS: u64 = 3000;

/// Random bytes become a valid sentence once in 256 tries at best; two of them in one window are no chance.
const ENOUGH_VALID: u64 = 2;

/// A settled line with bytes but no valid sentence for so long is at another rate. Binary output between sentences
/// (firmware updates, raw measurements) does not last as long without one.
const GARBAGE_MS: u64 = 10_000;
/// … if there were at least so many bytes: a line that crackles while the ignition is off is not a receiver.
const GARBAGE_BYTES: u64 = 64;

/// A settled line without a byte for so long is looked at anew. Long enough for a receiver to restart.
const SILENCE_MS: u64 = 60_000;

/// Totals since the line was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) valid: u64,
    pub(super) bad: u64,
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    Stay,
    /// Set the line to this rate.
    Try(u32),
    /// The present rate is right.
    Settled(u32),
    /// The rate that was right is not any more: set the line to this one.
    Doubted(u32),
}

#[derive(Clone, Debug)]
pub(super) struct Autobaud {
    rates: Vec<u32>,
    at: usize,
    settled: bool,
    since_ms: u64,
    before: Heard,
}

impl Autobaud {
    /// Begins with `remembered`, which need not be one of [`RATES`].
    pub(super) fn new(remembered: Option<u32>, now_ms: u64) -> Self {
        let mut rates: Vec<u32> = remembered.into_iter().collect();
        rates.extend(RATES.iter().filter(|rate| Some(**rate) != remembered));
        Self { rates, at: 0, settled: false, since_ms: now_ms, before: Heard::default() }
    }

    pub(super) fn rate(&self) -> u32 {
        self.rates.get(self.at).copied().unwrap_or(RATES[0])
    }

    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Takes a look at what was heard so far.
    pub(super) fn look(&mut self, now_ms: u64, heard: Heard) -> Advice {
        let valid = heard.valid - self.before.valid.min(heard.valid);
        let bad = heard.bad - self.before.bad.min(heard.bad);
        let bytes = heard.bytes - self.before.bytes.min(heard.bytes);
        let waited_ms = now_ms.saturating_sub(self.since_ms);
        if self.settled {
            if valid > 0 {
                self.mark(now_ms, heard);
                return Advice::Stay;
            }
            let garbage = waited_ms >= GARBAGE_MS && bytes >= GARBAGE_BYTES;
            if !garbage && waited_ms < SILENCE_MS {
                return Advice::Stay;
            }
            *self = Self { settled: false, ..Self::new(Some(self.rate()), now_ms) };
            self.at = 1;
            self.before = heard;
            return Advice::Doubted(self.rate());
        }
        let in_time = waited_ms >= LISTEN_MS;
        // A receiver that prints one sentence every other second gets no further than one in a window.
        if valid >= ENOUGH_VALID || (in_time && valid == 1 && bad == 0) {
            self.settled = true;
            self.mark(now_ms, heard);
            return Advice::Settled(self.rate());
        }
        if !in_time {
            return Advice::Stay;
        }
        self.at = (self.at + 1) % self.rates.len();
        self.mark(now_ms, heard);
        Advice::Try(self.rate())
    }

    fn mark(&mut self, now_ms: u64, heard: Heard) {
        (self.since_ms, self.before) = (now_ms, heard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A receiver that speaks at `rate`, `burst` sentences every `every_ms`; at other rates its bytes are garbage.
    struct Line {
        rate: u32,
        every_ms: u64,
        burst: u64,
        heard: Heard,
    }

    impl Line {
        fn new(rate: u32, every_ms: u64, burst: u64) -> Self {
            Self { rate, every_ms, burst, heard: Heard::default() }
        }

        /// Looks every 100 ms until `until_ms`; what was advised, and when.
        fn play(&mut self, autobaud: &mut Autobaud, from_ms: u64, until_ms: u64) -> Vec<(u64, Advice)> {
            let mut advice = Vec::new();
            for now in (from_ms..until_ms).step_by(100) {
                if now % self.every_ms == 0 {
                    self.heard.bytes += 70 * self.burst;
                    if autobaud.rate() == self.rate {
                        self.heard.valid += self.burst;
                    }
                }
                match autobaud.look(now, self.heard) {
                    Advice::Stay => {}
                    told => advice.push((now, told)),
                }
            }
            advice
        }
    }

    #[test]
    fn the_rate_that_worked_last_time_settles_with_the_first_burst() {
        let mut autobaud = Autobaud::new(Some(57_600), 0);
        let advice = Line::new(57_600, 1000, 5).play(&mut autobaud, 100, 10_000);
        assert_eq!(advice, [(1000, Advice::Settled(57_600))]);
    }

    #[test]
    fn each_rate_is_given_three_seconds_in_the_order_of_the_list() {
        let mut autobaud = Autobaud::new(None, 0);
        let advice = Line::new(4800, 1000, 5).play(&mut autobaud, 100, 20_000);
        let expected = [
            (3000, Advice::Try(115_200)),
            (6000, Advice::Try(38_400)),
            (9000, Advice::Try(4800)),
            (10_000, Advice::Settled(4800)),
        ];
        assert_eq!(advice, expected);
    }

    #[test]
    fn a_receiver_that_prints_one_sentence_every_other_second_is_found() {
        for rate in RATES {
            let mut autobaud = Autobaud::new(None, 0);
            let advice = Line::new(rate, 2000, 1).play(&mut autobaud, 100, 40_000);
            assert_eq!(advice.last().unwrap().1, Advice::Settled(rate), "{advice:?}");
        }
    }

    #[test]
    fn one_valid_sentence_among_damaged_ones_settles_nothing() {
        let mut autobaud = Autobaud::new(None, 0);
        let heard = Heard { valid: 1, bad: 4, bytes: 300 };
        assert_eq!(autobaud.look(2900, heard), Advice::Stay);
        assert_eq!(autobaud.look(3000, heard), Advice::Try(115_200));
    }

    #[test]
    fn a_line_that_turns_to_garbage_is_looked_for_anew_and_found() {
        let mut autobaud = Autobaud::new(None, 0);
        let mut line = Line::new(9600, 1000, 5);
        assert_eq!(line.play(&mut autobaud, 100, 10_000), [(1000, Advice::Settled(9600))]);
        line.rate = 38_400;
        let advice = line.play(&mut autobaud, 10_000, 40_000);
        let expected = [
            (19_000, Advice::Doubted(115_200)),
            (22_000, Advice::Try(38_400)),
            (23_000, Advice::Settled(38_400)),
        ];
        assert_eq!(advice, expected);
    }

    #[test]
    fn a_silent_line_is_doubted_after_a_minute_and_not_for_a_few_stray_bytes() {
        let mut autobaud = Autobaud::new(None, 0);
        let heard = Heard { valid: 2, bad: 0, bytes: 140 };
        assert_eq!(autobaud.look(1000, heard), Advice::Settled(9600));
        let stray = Heard { bytes: 160, ..heard };
        assert_eq!(autobaud.look(60_999, stray), Advice::Stay);
        assert_eq!(autobaud.look(61_000, stray), Advice::Doubted(115_200));
    }

    #[test]
    fn a_line_at_no_rate_at_all_is_tried_round_and_round() {
        let mut autobaud = Autobaud::new(Some(1200), 0);
        let advice = Line::new(1, 1000, 5).play(&mut autobaud, 100, 60_000);
        assert_eq!(advice.len(), 19);
        assert_eq!(advice[8], (27_000, Advice::Try(1200)));
    }

    proptest! {
        #[test]
        fn whatever_is_heard_it_settles_only_on_valid_sentences(
            looks in prop::collection::vec((0_u64..5000, 0_u64..3, 0_u64..3, 0_u64..500), 1..200),
        ) {
            let mut autobaud = Autobaud::new(None, 0);
            let (mut now, mut heard, mut before) = (0, Heard::default(), 0);
            for (step, valid, bad, bytes) in looks {
                now += step;
                heard = Heard { valid: heard.valid + valid, bad: heard.bad + bad, bytes: heard.bytes + bytes };
                match autobaud.look(now, heard) {
                    Advice::Settled(_) => prop_assert!(heard.valid > before),
                    Advice::Try(_) | Advice::Doubted(_) => before = heard.valid,
                    Advice::Stay => {}
                }
            }
        }
    }
}
