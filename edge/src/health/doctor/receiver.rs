//! What the receiver's view means: is it there, does it speak, does it know where it is. Pure.

use std::time::Duration;

use super::check::Outcome;
use crate::health::judge::split_cure;
use crate::health::seen::{SeenReceiver, SeenSatellite};
use crate::health::words::{bytes, grouped, position};

/// Some seconds of a receiver at its slowest usual rate: enough to judge the line.
const SENTENCES: u64 = 10;
/// Satellites are printed last, and by some receivers only every fifth second.
const SKY_PATIENCE: Duration = Duration::from_secs(6);
/// Long enough for more than what the port held when it was opened.
const LEAST_LISTENING: Duration = Duration::from_secs(3);
/// A device that is not there will not come while we wait, but one that another program just closed will.
const ABSENT_PATIENCE: Duration = Duration::from_secs(3);
/// Good receivers under an open sky hear their best satellites at 40 to 50 dB-Hz; below 30 tracking becomes unreliable
/// (E. D. Kaplan, C. J. Hegarty, Understanding GPS/GNSS, 3rd edition, chapter 8).
const WEAK_DBHZ: f64 = 30.0;
/// Beyond it the position is off by tens of metres (the usual rating calls 5 to 10 moderate).
const POOR_HDOP: f64 = 5.0;
const BEST: usize = 4;
const DAMAGED_SHARE: f64 = 0.05;

const BAUD_CURE: &str =
    "set source.baud to the receiver's rate (often 4800, 9600, 38400 or 115200), and the receiver to NMEA";

/// Whether watching longer would tell more.
#[must_use]
pub(super) fn is_settled(seen: &SeenReceiver, waited: Duration) -> bool {
    let located = seen.last_fix.as_ref().is_some_and(|fix| fix.position().is_some());
    let absent = seen.state.state == "absent" && waited >= ABSENT_PATIENCE;
    let heard = seen.counts.sentences >= SENTENCES && waited >= LEAST_LISTENING;
    let known = located && heard && (!seen.sky.is_empty() || waited >= SKY_PATIENCE);
    absent || known || (seen.state.state == "over" && located)
}

pub(super) fn port(seen: &SeenReceiver, held_by_agent: bool) -> Outcome {
    if let ("absent", Some(cause)) = (seen.state.state.as_str(), &seen.state.cause) {
        let (cause, cure) = split_cure(cause);
        return Outcome::failed(cause, cure.unwrap_or("plug the receiver in"));
    }
    let baud = seen.baud.map(|baud| format!(" at {baud} baud")).unwrap_or_default();
    let by = if held_by_agent { ", read by the running agent" } else { "" };
    Outcome::good(format!("{} is open{baud}{by}", seen.from))
}

pub(super) fn sentences(seen: &SeenReceiver, waited: Duration) -> Outcome {
    let counts = seen.counts;
    let waited = waited.as_secs().max(1);
    if counts.sentences == 0 {
        let noise = counts.garbage_bytes + counts.bad_checksums;
        return if noise > 0 {
            Outcome::failed(
                format!(
                    "{} came in {waited} s, but no valid sentence: the wrong baud rate, or a binary protocol",
                    bytes(counts.garbage_bytes)
                ),
                BAUD_CURE,
            )
        } else {
            Outcome::failed(
                format!("nothing came from the receiver in {waited} s"),
                format!("check its power and its TX line; or {BAUD_CURE}"),
            )
        };
    }
    #[allow(clippy::cast_precision_loss)]
    let share = counts.bad_checksums as f64 / (counts.sentences + counts.bad_checksums) as f64;
    if share > DAMAGED_SHARE && counts.bad_checksums > 1 {
        return Outcome::warning(
            format!("{:.0} % of the sentences are damaged", share * 100.0),
            "check source.baud, the cable and its ground, and that no other program reads the port",
        );
    }
    Outcome::good(format!("{} valid, {} damaged", grouped(counts.sentences), grouped(counts.bad_checksums)))
}

pub(super) fn fix(seen: &SeenReceiver, waited: Duration) -> Outcome {
    let antenna = match seen.antenna.as_deref() {
        Some("open") => Some(
            "the receiver says that no current flows to its antenna: unplugged, a broken cable, or a passive antenna",
        ),
        Some("short") => Some("the receiver says that its antenna is short-circuited"),
        _ => None,
    };
    let signals = best_dbhz(&seen.sky);
    let Some((fix, (latitude, longitude))) =
        seen.last_fix.as_ref().and_then(|fix| fix.position().map(|position| (fix, position)))
    else {
        return no_position(seen, antenna, signals, waited);
    };
    let mut fact = position(latitude, longitude);
    if let Some(satellites) = fix.satellites {
        fact.push_str(&format!(", {satellites} satellites"));
    }
    if let Some(hdop) = fix.hdop {
        fact.push_str(&format!(", HDOP {hdop}"));
    }
    if let Some(signals) = signals {
        fact.push_str(&format!(", best signals {signals:.0} dB-Hz"));
    }
    if let Some(antenna) = antenna {
        return Outcome::warning(format!("{fact}; but {antenna}"), "check the antenna's plug and cable");
    }
    if signals.is_some_and(|signals| signals < WEAK_DBHZ) || fix.hdop.is_some_and(|hdop| hdop > POOR_HDOP) {
        return Outcome::warning(
            format!("{fact}: a poor fix"),
            "give the antenna a free view of the sky, away from metal and from the modem's antenna",
        );
    }
    Outcome::good(fact)
}

fn no_position(
    seen: &SeenReceiver,
    antenna: Option<&str>,
    signals: Option<f64>,
    waited: Duration,
) -> Outcome {
    let waited = waited.as_secs().max(1);
    if let Some(antenna) = antenna {
        return Outcome::failed(antenna, "check the antenna's plug and cable");
    }
    let in_view = seen.extras.satellites_in_view.map_or(seen.sky.len(), usize::from);
    match signals {
        Some(signals) => Outcome::failed(
            format!(
                "no position in {waited} s; {} satellites are heard, the best at {signals:.0} dB-Hz",
                seen.sky.iter().filter(|satellite| satellite.cn0_dbhz.is_some()).count()
            ),
            "a cold start takes some minutes under a free sky; then run this again",
        ),
        None if in_view > 0 => Outcome::failed(
            format!("no position in {waited} s; {in_view} satellites should be in view, none is heard"),
            "the antenna is unplugged or covered: check its plug and give it a free view of the sky",
        ),
        None => Outcome::failed(
            format!("no position in {waited} s; 0 satellites in view: the antenna is unplugged, or indoors"),
            "check the antenna's plug, and go outside: through a roof nothing is heard",
        ),
    }
}

/// Mean of the best four signals.
fn best_dbhz(sky: &[SeenSatellite]) -> Option<f64> {
    let mut signals: Vec<u8> = sky.iter().filter_map(|satellite| satellite.cn0_dbhz).collect();
    signals.sort_unstable_by(|a, b| b.cmp(a));
    signals.truncate(BEST);
    let count = u32::try_from(signals.len()).ok().filter(|count| *count > 0)?;
    Some(f64::from(signals.iter().map(|signal| u32::from(*signal)).sum::<u32>()) / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::judge::tests::healthy;

    const WAITED: Duration = Duration::from_secs(30);

    fn receiver() -> SeenReceiver {
        let mut receiver = healthy().receiver;
        receiver.sky = (1..=8_u16)
            .map(|number| SeenSatellite {
                constellation: "gps".to_owned(),
                number,
                elevation_deg: Some(40),
                azimuth_deg: Some(number * 40),
                cn0_dbhz: Some(40 + u8::try_from(number).unwrap()),
                used: true,
            })
            .collect();
        receiver
    }

    fn nowhere(change: impl FnOnce(&mut SeenReceiver)) -> String {
        let mut receiver = receiver();
        receiver.last_fix.as_mut().unwrap().lat = None;
        change(&mut receiver);
        match fix(&receiver, WAITED) {
            Outcome::Failed { cause, .. } => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_receiver_is_good_in_every_respect() {
        let receiver = receiver();
        assert_eq!(port(&receiver, false), Outcome::good("/dev/ttyACM0 is open at 9600 baud"));
        assert_eq!(sentences(&receiver, WAITED), Outcome::good("50 000 valid, 0 damaged"));
        let expected = "47.16823° N, 8.52310° E, 14 satellites, HDOP 0.8, best signals 46 dB-Hz";
        assert_eq!(fix(&receiver, WAITED), Outcome::good(expected));
    }

    #[test]
    fn garbage_and_silence_have_different_causes() {
        let mut receiver = SeenReceiver::default();
        let Outcome::Failed { cause, .. } = sentences(&receiver, WAITED) else { panic!() };
        assert!(cause.contains("nothing came"), "{cause}");
        receiver.counts.garbage_bytes = 4000;
        let Outcome::Failed { cause, cure } = sentences(&receiver, WAITED) else { panic!() };
        assert!(cause.contains("wrong baud rate") && cure.contains("source.baud"), "{cause} {cure}");
    }

    #[test]
    fn no_position_tells_antenna_from_patience() {
        assert!(nowhere(|receiver| receiver.antenna = Some("open".to_owned())).contains("no current"));
        assert!(nowhere(|receiver| receiver.sky.clear()).contains("0 satellites in view"));
        let covered =
            nowhere(|receiver| receiver.sky.iter_mut().for_each(|satellite| satellite.cn0_dbhz = None));
        assert!(covered.contains("8 satellites should be in view, none is heard"), "{covered}");
        assert!(nowhere(|_| ()).contains("8 satellites are heard"));
    }

    #[test]
    fn a_poor_fix_is_a_warning() {
        let mut receiver = receiver();
        receiver.last_fix.as_mut().unwrap().hdop = Some(9.0);
        assert!(matches!(fix(&receiver, WAITED), Outcome::Warning { .. }));
    }

    #[test]
    fn watching_ends_as_soon_as_it_tells_nothing_more() {
        let good = receiver();
        assert!(!is_settled(&good, Duration::ZERO) && is_settled(&good, LEAST_LISTENING));
        let blind = SeenReceiver { sky: Vec::new(), ..receiver() };
        assert!(!is_settled(&blind, Duration::from_secs(1)) && is_settled(&blind, SKY_PATIENCE));
        let mut absent = SeenReceiver::default();
        absent.state.state = "absent".to_owned();
        assert!(!is_settled(&absent, Duration::ZERO) && is_settled(&absent, ABSENT_PATIENCE));
    }
}
