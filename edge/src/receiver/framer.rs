//! Bytes → sentences with a valid checksum.
//!
//! A serial line carries more than sentences: binary protocols between them, halves of sentences after an overflow,
//! prefixes that a logger put in front (`NMEA,$GPGGA…`), a doubled `$`, any line ending or none. The framer therefore
//! ignores lines. A sentence starts at a `$` (or the `!` of encapsulated ones) and is over behind the second digit of
//! its checksum; whatever cannot belong to it ends the attempt and is counted. So:
//!
//! - how the bytes are cut into chunks makes no difference,
//! - a sentence is delivered with its last digit, without waiting for a line ending that may come a second later,
//! - memory is one sentence of at most [`MAX_BODY`] bytes.

/// Bytes between `$` and `*`, at most. The standard allows 80, but proprietary sentences run over it by far (u-blox
/// `PUBX,03` with 40 satellites is about 800 bytes) and should be counted as unknown, not as damaged.
const MAX_BODY: usize = 1024;

/// Shortest and longest address (`GPRMC`, `PGRME`, `PMTK010`) of something that was meant to be a sentence.
const ADDRESS_CHARS: std::ops::RangeInclusive<usize> = 4..=8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FramerCounts {
    pub sentences: u64,
    /// Sentences with a wrong checksum, none at all, or cut off before it.
    pub bad_checksums: u64,
    /// Bytes that belong to neither; line endings are not counted.
    pub garbage_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Looking for the start of a sentence.
    Between,
    /// Behind the start character.
    Body,
    /// Behind `*`.
    FirstDigit,
    /// Behind the first digit, whose value it holds.
    SecondDigit(u8),
}

#[derive(Clone, Debug)]
pub(super) struct Framer {
    state: State,
    body: Vec<u8>,
    xor: u8,
    counts: FramerCounts,
}

impl Default for Framer {
    fn default() -> Self {
        Self { state: State::Between, body: Vec::with_capacity(128), xor: 0, counts: FramerCounts::default() }
    }
}

impl Framer {
    #[must_use]
    pub(super) const fn counts(&self) -> FramerCounts {
        self.counts
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.body.capacity()
    }

    /// Takes the next bytes; calls `on_sentence` with what stood between the start character and `*` (printable
    /// ASCII) and with the number of bytes of `chunk` up to and including the checksum.
    pub(super) fn push(&mut self, chunk: &[u8], mut on_sentence: impl FnMut(&str, usize)) {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            match self.state {
                State::Between => at += self.skip_to_start(&chunk[at..]),
                State::Body => at += self.take_body(&chunk[at..]),
                State::FirstDigit => match hex_digit(byte) {
                    Some(digit) => {
                        self.state = State::SecondDigit(digit);
                        at += 1;
                    }
                    None => self.abandon(),
                },
                State::SecondDigit(first) => match hex_digit(byte) {
                    Some(second) => {
                        at += 1;
                        self.state = State::Between;
                        match std::str::from_utf8(&self.body) {
                            Ok(body) if first << 4 | second == self.xor => {
                                self.counts.sentences += 1;
                                on_sentence(body, at);
                            }
                            _ => self.counts.bad_checksums += 1,
                        }
                    }
                    None => self.abandon(),
                },
            }
        }
    }

    /// The input is over or was interrupted: what has begun will not be completed.
    pub(super) fn finish(&mut self) {
        if self.state != State::Between {
            self.abandon();
        }
    }

    fn skip_to_start(&mut self, rest: &[u8]) -> usize {
        let start = rest.iter().position(|byte| matches!(byte, b'$' | b'!'));
        let skipped = &rest[..start.unwrap_or(rest.len())];
        self.counts.garbage_bytes +=
            skipped.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).count() as u64;
        match start {
            Some(start) => {
                self.begin();
                start + 1
            }
            None => rest.len(),
        }
    }

    fn take_body(&mut self, rest: &[u8]) -> usize {
        let run = rest.iter().position(|&byte| !belongs_to_body(byte)).unwrap_or(rest.len());
        let room = MAX_BODY - self.body.len();
        let taken = &rest[..run.min(room)];
        self.body.extend_from_slice(taken);
        self.xor = taken.iter().fold(self.xor, |xor, byte| xor ^ byte);
        if run > room {
            self.abandon();
            return taken.len();
        }
        match rest.get(run) {
            None => run,
            Some(b'*') => {
                self.state = State::FirstDigit;
                run + 1
            }
            Some(b'$') => {
                self.abandon();
                self.begin();
                run + 1
            }
            Some(_) => {
                self.abandon();
                run
            }
        }
    }

    fn begin(&mut self) {
        self.state = State::Body;
        self.body.clear();
        self.xor = 0;
    }

    /// Gives up the sentence that was begun; the byte that broke it is looked at again as the start of something else.
    fn abandon(&mut self) {
        let address =
            self.body.iter().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()).count();
        if ADDRESS_CHARS.contains(&address) && self.body.get(address).is_none_or(|&byte| byte == b',') {
            self.counts.bad_checksums += 1;
        } else {
            self.counts.garbage_bytes += 1 + self.body.len() as u64;
        }
        self.state = State::Between;
    }
}

const fn belongs_to_body(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'$' | b'*')
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::testing::{checksum, sentence};
    use proptest::prelude::*;

    fn frame(input: &[u8]) -> (Vec<String>, FramerCounts) {
        let (mut framer, mut bodies) = (Framer::default(), Vec::new());
        framer.push(input, |body, _| bodies.push(body.to_owned()));
        framer.finish();
        (bodies, framer.counts())
    }

    fn counts(sentences: u64, bad_checksums: u64, garbage_bytes: u64) -> FramerCounts {
        FramerCounts { sentences, bad_checksums, garbage_bytes }
    }

    #[test]
    fn any_line_ending_or_none_ends_a_sentence() {
        let vtg = sentence("GPVTG,1.0,T,,M,2.0,N,,K");
        for ending in ["\r\n", "\n", "\r", "", "\n\n\r\n"] {
            let (bodies, counted) = frame(format!("{vtg}{ending}{vtg}{ending}").as_bytes());
            assert_eq!(bodies, ["GPVTG,1.0,T,,M,2.0,N,,K"; 2], "{ending:?}");
            assert_eq!(counted, counts(2, 0, 0), "{ending:?}");
        }
    }

    #[test]
    fn a_sentence_is_delivered_with_its_last_digit() {
        let text = sentence("GPZDA,,,,,,");
        let (mut framer, mut ends) = (Framer::default(), Vec::new());
        framer.push(format!("xx{text}\r\n").as_bytes(), |_, end| ends.push(end));
        assert_eq!(ends, [2 + text.len()]);
    }

    #[test]
    fn lower_case_digits_are_a_checksum_too() {
        let body = "GPGLL,4916.45,N,12311.12,W,225444,A";
        let lower = format!("${body}*{:02x}", checksum(body));
        assert_eq!(frame(lower.as_bytes()), (vec![body.to_owned()], counts(1, 0, 0)));
    }

    #[test]
    fn a_wrong_a_missing_and_a_cut_off_checksum_are_bad() {
        for damaged in [
            "$GPRMC,1*00\n",
            "$GPRMC,1\n",
            "$GPRMC,1*\n",
            "$GPRMC,1*0\n",
            "$GPRMC,1*0G",
            "$GPRMC,1",
            "$GPRMC,1\x7f,2*11",
        ] {
            let (bodies, counted) = frame(damaged.as_bytes());
            assert!(bodies.is_empty(), "{damaged:?}");
            assert_eq!(counted.bad_checksums, 1, "{damaged:?}");
        }
    }

    #[test]
    fn a_sentence_survives_the_ruins_of_the_one_before() {
        let good = sentence("GPGSV,1,1,00");
        let (bodies, counted) = frame(format!("$GPRMC,0214{good}\n").as_bytes());
        assert_eq!((bodies.len(), counted), (1, counts(1, 1, 0)));
    }

    #[test]
    fn a_doubled_start_and_a_logger_prefix_and_suffix_are_garbage_around_a_good_sentence() {
        let good = sentence("GPGSV,1,1,00");
        assert_eq!(frame(format!("${good}\n").as_bytes()).1, counts(1, 0, 1));
        let (bodies, counted) = frame(format!("NMEA,{good},1600000000123\r\n").as_bytes());
        assert_eq!((bodies.len(), counted), (1, counts(1, 0, 5 + 14)));
        let tagged = format!("\\s:gps1,c:1601234567*55\\{good}\r\n");
        assert_eq!(frame(tagged.as_bytes()).0.len(), 1);
    }

    #[test]
    fn binary_between_sentences_is_garbage_even_when_it_holds_start_characters() {
        let good = sentence("GNRMC,,V,,,,,,,,,,N");
        let mut stream = vec![0xb5, 0x62, 0x01, b'$', 0x07, b'!', 0x5c, 0x00, b'*', 0xff];
        stream.extend_from_slice(good.as_bytes());
        stream.extend_from_slice(&[0xb5, 0x62, 0x0a, b'$']);
        let (bodies, counted) = frame(&stream);
        assert_eq!((bodies.len(), counted), (1, counts(1, 0, 13)));
    }

    #[test]
    fn a_line_without_end_costs_no_memory() {
        let mut framer = Framer::default();
        framer.push(b"$GPTXT,", |_, _| {});
        for _ in 0..1000 {
            framer.push(&[b'x'; 1000], |_, _| {});
        }
        framer.finish();
        assert!(framer.body.capacity() <= 2 * MAX_BODY);
        assert_eq!(framer.counts().bad_checksums, 1);
    }

    #[test]
    fn an_encapsulated_sentence_is_framed_like_any_other() {
        let body = "AIVDM,1,1,,A,14eG;o@034o8sd<L9i:a;WF>062D,0";
        let ais = format!("!{body}*{:02X}\n", checksum(body));
        assert_eq!(frame(ais.as_bytes()).1, counts(1, 0, 0));
    }

    proptest! {
        #[test]
        fn the_way_bytes_are_cut_makes_no_difference(
            pieces in prop::collection::vec(prop_oneof![
                Just(sentence("GPGSV,1,1,00").into_bytes()),
                Just(b"$GPRMC,12*7".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(vec![b'x'; 700]),
                prop::collection::vec(any::<u8>(), 0..20),
            ], 0..12),
            cut in 1_usize..40,
        ) {
            let whole = pieces.concat();
            let (mut framer, mut bodies, mut ends, mut before) = (Framer::default(), Vec::new(), Vec::new(), 0);
            for chunk in whole.chunks(cut) {
                framer.push(chunk, |body, end| { bodies.push(body.to_owned()); ends.push(before + end); });
                before += chunk.len();
            }
            framer.finish();
            let (mut once, mut once_ends) = (Framer::default(), Vec::new());
            once.push(&whole, |_, end| once_ends.push(end));
            prop_assert_eq!(&ends, &once_ends);
            prop_assert_eq!((bodies, framer.counts()), frame(&whole));
            // Whatever is delivered ends, in the input, in its checksum.
            for end in ends {
                prop_assert!(whole[end - 3] == b'*' && whole[end - 1].is_ascii_hexdigit());
            }
        }
    }
}
