//! What is wrong with a running agent, from its status document alone: for `status`, `doctor` and `monitor`.
//!
//! Pure: the same document gives the same findings. Each names the cause and the cure.

use super::Seen;
use super::words::{bytes, duration_ms};

/// A receiver prints at least once a second; a tunnel is shorter than this.
const FIX_OVERDUE_MS: u64 = 120_000;
/// With acknowledgements asked for every half hour by default, two of them are missing by now.
const ACK_OVERDUE_MS: u64 = 4_000_000;
/// A reconnect after a short loss of coverage is no trouble yet.
const LINK_GRACE_MS: u64 = 60_000;
/// Of all sentences, so many may be damaged before the line is called bad (a clean line has none).
const BAD_CHECKSUM_SHARE: f64 = 0.05;
/// Fewer sentences say nothing about a line.
const SENTENCES_TO_JUDGE: u64 = 40;

/// Which part a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Receiver,
    Fix,
    Buffer,
    Link,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub part: Part,
    pub cause: String,
    pub cure: String,
}

impl Trouble {
    fn new(part: Part, cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { part, cause: cause.into(), cure: cure.into() }
    }
}

/// Everything that keeps the agent from being healthy; empty when it is.
#[must_use]
pub fn troubles(seen: &Seen) -> Vec<Trouble> {
    [receiver(seen), fix(seen), flash(seen), buffer(seen), link(seen)].into_iter().flatten().collect()
}

fn receiver(seen: &Seen) -> Option<Trouble> {
    let receiver = &seen.receiver;
    match receiver.state.state.as_str() {
        "absent" => {
            let (cause, cure) = split_cure(receiver.state.cause.as_deref().unwrap_or("it cannot be opened"));
            return Some(Trouble::new(
                Part::Receiver,
                cause,
                cure.unwrap_or("plug the receiver in; the agent keeps trying"),
            ));
        }
        "silent" => {
            return Some(Trouble::new(
                Part::Receiver,
                format!("{} is open, but nothing usable arrives", receiver.from),
                "check the receiver's power, its TX line and source.baud (often 4800, 9600, 38400 or 115200)",
            ));
        }
        _ => {}
    }
    let counts = receiver.counts;
    let all = counts.sentences + counts.bad_checksums;
    #[allow(clippy::cast_precision_loss)]
    let share = counts.bad_checksums as f64 / all.max(1) as f64;
    (all >= SENTENCES_TO_JUDGE && share > BAD_CHECKSUM_SHARE).then(|| {
        Trouble::new(
            Part::Receiver,
            format!("{:.0} % of the sentences are damaged", share * 100.0),
            "check source.baud, the cable and its ground, and that no other program reads the port",
        )
    })
}

fn fix(seen: &Seen) -> Option<Trouble> {
    if seen.receiver.state.state != "reading" {
        return None;
    }
    match (&seen.receiver.last_fix, seen.fix_age_ms()) {
        (Some(fix), _) if fix.position().is_none() => Some(Trouble::new(
            Part::Fix,
            "the receiver has no position",
            "give the antenna a free view of the sky; after a cold start it takes some minutes",
        )),
        (Some(_), Some(age)) if age > FIX_OVERDUE_MS => Some(Trouble::new(
            Part::Fix,
            format!("no fix for {}", duration_ms(age)),
            "look at the receiver: 'avl-edge doctor'",
        )),
        (None, _) if seen.agent.uptime_s * 1000 > FIX_OVERDUE_MS && seen.receiver.counts.fixes == 0 => {
            Some(Trouble::new(
                Part::Fix,
                "no fix since the agent started",
                "look at the receiver and its antenna: 'avl-edge doctor'",
            ))
        }
        _ => None,
    }
}

fn flash(seen: &Seen) -> Option<Trouble> {
    let flash = &seen.buffer.flash;
    if let Some(cause) = &flash.store.cause {
        return Some(Trouble::new(
            Part::Buffer,
            format!("the flash takes no writes ({cause}); {} fixes wait in memory", flash.waiting_fixes),
            "free space or replace the card: a power cut now loses them; look at 'dmesg'",
        ));
    }
    flash.free_is_low.then(|| {
        let free = flash.free_bytes.map(|free| format!(" ({} left)", bytes(free))).unwrap_or_default();
        Trouble::new(
            Part::Buffer,
            format!("the disk is nearly full{free}: the buffer does not grow any more"),
            "free space on the file system of state_dir",
        )
    })
}

fn buffer(seen: &Seen) -> Option<Trouble> {
    let lost: u64 = seen.buffer.lost.iter().map(|lost| lost.fixes).sum();
    let reasons: Vec<&str> = seen.buffer.lost.iter().map(|lost| lost.reason.as_str()).collect();
    (lost > 0).then(|| {
        Trouble::new(
            Part::Buffer,
            format!("{lost} fixes were given up ({}) and the cloud has not confirmed that yet", reasons.join(", ")),
            "let it connect; if the buffer was full, raise buffer.max_bytes or find out why it was offline so long",
        )
    })
}

fn link(seen: &Seen) -> Option<Trouble> {
    let link = &seen.link;
    if let Some(trouble) = link.trouble.as_deref().filter(|_| link.state != "connected") {
        let (cause, cure) = split_cure(trouble);
        return Some(Trouble::new(
            Part::Link,
            cause,
            cure.unwrap_or("check coverage, the SIM and the firewall: 'avl-edge doctor'"),
        ));
    }
    let up_ms = seen.agent.uptime_s * 1000;
    if link.state == "connecting" && up_ms > LINK_GRACE_MS && link.connections == 0 {
        return Some(Trouble::new(
            Part::Link,
            "not connected since the agent started",
            "check the address and the network: 'avl-edge doctor'",
        ));
    }
    let silent_for = link.last_ack_ms.map_or(up_ms, |last| seen.age_ms(last));
    (seen.buffer.waiting > 0 && link.state == "connected" && silent_for > ACK_OVERDUE_MS).then(|| {
        Trouble::new(
            Part::Link,
            format!("connected, but nothing was acknowledged for {}", duration_ms(silent_for)),
            "look at the cloud's log: its journal may be full",
        )
    })
}

/// Our errors read `what: why: cure`; what stands behind the last colon is the cure when there is more than one.
pub(super) fn split_cure(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(": ") {
        Some((cause, cure)) if cure.len() > 12 => (cause, Some(cure)),
        _ => (text, None),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::health::seen::{SeenFix, SeenLost, SeenState};

    /// An agent with nothing to complain about.
    pub(crate) fn healthy() -> Seen {
        let mut seen = Seen { version: 1, taken_at_ms: 1_700_000_000_000, ..Seen::default() };
        seen.agent.version = "0.1.0".to_owned();
        seen.agent.vehicle = Some("demo/truck-7".to_owned());
        seen.agent.uptime_s = 7300;
        seen.agent.gateway_uptime_ms = Some(9_000_000);
        seen.agent.rss_bytes = Some(5_400_000);
        seen.agent.cpu_s = Some(12.5);
        seen.receiver.from = "/dev/ttyACM0".to_owned();
        seen.receiver.state = SeenState { state: "reading".to_owned(), cause: None };
        seen.receiver.baud = Some(9600);
        seen.receiver.counts.sentences = 50_000;
        seen.receiver.counts.fixes = 7290;
        seen.receiver.last_fix_uptime_ms = Some(8_999_400);
        seen.receiver.last_fix = Some(SeenFix {
            time: Some("2023-11-14T22:13:19.000Z".to_owned()),
            lat: Some(47.168_23),
            lon: Some(8.523_1),
            alt_m: Some(431.0),
            speed_mps: Some(13.9),
            course_deg: Some(271.0),
            hdop: Some(0.8),
            satellites: Some(14),
            quality: "gps".to_owned(),
            verdict: "ok".to_owned(),
        });
        seen.buffer.epoch = "8a41f00d".to_owned();
        seen.buffer.next_sequence = 7290;
        seen.buffer.waiting = 42;
        seen.buffer.bytes = 210;
        seen.link.state = "connected".to_owned();
        seen.link.transport = Some("quic".to_owned());
        seen.link.since_ms = Some(seen.taken_at_ms - 7_200_000);
        seen.link.last_ack_ms = Some(seen.taken_at_ms - 42_000);
        seen.link.connections = 1;
        seen
    }

    fn only(change: impl FnOnce(&mut Seen)) -> Trouble {
        let mut seen = healthy();
        change(&mut seen);
        let mut found = troubles(&seen);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn a_healthy_agent_has_no_trouble() {
        assert_eq!(troubles(&healthy()), []);
    }

    #[test]
    fn a_receiver_that_is_gone_says_why_and_what_to_do() {
        let trouble = only(|seen| {
            seen.receiver.state = SeenState {
                state: "absent".to_owned(),
                cause: Some("no device /dev/ttyACM0: plug the receiver in".to_owned()),
            };
        });
        assert_eq!((trouble.part, trouble.cause.as_str()), (Part::Receiver, "no device /dev/ttyACM0"));
        assert_eq!(trouble.cure, "plug the receiver in");
    }

    #[test]
    fn silence_and_damage_point_to_the_line() {
        let silent = only(|seen| seen.receiver.state.state = "silent".to_owned());
        assert!(silent.cure.contains("source.baud"), "{silent:?}");
        let damaged = only(|seen| seen.receiver.counts.bad_checksums = 5_000);
        assert!(damaged.cause.contains("9 %"), "{damaged:?}");
    }

    #[test]
    fn no_position_points_to_the_antenna_and_an_old_fix_says_how_old() {
        let nowhere = only(|seen| seen.receiver.last_fix.as_mut().unwrap().lat = None);
        assert!(nowhere.cure.contains("antenna"), "{nowhere:?}");
        let old = only(|seen| seen.receiver.last_fix_uptime_ms = Some(8_700_000));
        assert_eq!(old.cause, "no fix for 5 min");
    }

    #[test]
    fn losses_are_counted_with_their_reason() {
        let lost =
            only(|seen| seen.buffer.lost = vec![SeenLost { reason: "buffer_full".to_owned(), fixes: 12 }]);
        assert!(lost.cause.contains("12 fixes") && lost.cause.contains("buffer_full"), "{lost:?}");
    }

    #[test]
    fn flash_that_fails_or_fills_is_said() {
        let away = only(|seen| {
            seen.buffer.flash.store =
                SeenState { state: "away".to_owned(), cause: Some("read-only".to_owned()) };
            seen.buffer.flash.waiting_fixes = 7;
        });
        assert!(away.cause.contains("read-only") && away.cause.contains("7 fixes"), "{away:?}");
        let low = only(|seen| {
            (seen.buffer.flash.free_is_low, seen.buffer.flash.free_bytes) = (true, Some(2_000_000));
        });
        assert!(low.cause.contains("2.0 MB left"), "{low:?}");
    }

    #[test]
    fn a_link_in_trouble_gives_its_own_cure_and_a_connected_one_must_be_acknowledged() {
        let down = only(|seen| {
            seen.link.state = "idle".to_owned();
            seen.link.trouble =
                Some("no answer from 10.0.0.1:7443 within 15 s: check that UDP gets through".to_owned());
        });
        assert_eq!((down.part, down.cure.as_str()), (Part::Link, "check that UDP gets through"));
        let mute = only(|seen| seen.link.last_ack_ms = Some(seen.taken_at_ms - 4_200_000));
        assert!(mute.cause.contains("1 h 10 min"), "{mute:?}");
    }

    #[test]
    fn idle_with_nothing_to_say_is_healthy() {
        let mut seen = healthy();
        seen.link.state = "idle".to_owned();
        seen.buffer.waiting = 0;
        assert_eq!(troubles(&seen), []);
    }
}
