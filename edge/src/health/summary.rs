//! `avl-edge status`: one screenful in plain words. Pure: document in, text out.

use std::fmt::Write;

use super::Seen;
use super::judge::{self, Part, Trouble};
use super::words::{bytes, duration_ms, fixes, grouped, local_date, local_time, local_time_of, position};

/// The text, and whether anything is wrong.
#[must_use]
pub fn summary(seen: &Seen) -> (String, bool) {
    let troubles = judge::troubles(seen);
    let mut page = Page { text: String::new(), troubles: &troubles };
    page.agent(seen);
    page.receiver(seen);
    page.fix(seen);
    page.clock(seen);
    page.buffer(seen);
    page.link(seen);
    (page.text, !troubles.is_empty())
}

/// Below it an offset of the system clock interests nobody.
const SHOWN_OFFSET_MS: u64 = 1000;

struct Page<'a> {
    text: String,
    troubles: &'a [Trouble],
}

impl Page<'_> {
    fn line(&mut self, name: &str, words: &str) {
        let _ = writeln!(self.text, "{name:<11}{words}");
    }

    fn more(&mut self, words: &str) {
        self.line("", words);
    }

    fn trouble(&mut self, part: Part) {
        for trouble in self.troubles.iter().filter(|trouble| trouble.part == part) {
            self.text.push_str(&format!("           ! {}\n             {}\n", trouble.cause, trouble.cure));
        }
    }

    fn agent(&mut self, seen: &Seen) {
        let agent = &seen.agent;
        let verdict = match self.troubles.len() {
            0 => "healthy".to_owned(),
            1 => "DEGRADED: one thing needs attention".to_owned(),
            many => format!("DEGRADED: {many} things need attention"),
        };
        self.line(
            "avl-edge",
            &format!("{verdict}; version {}, up {}", agent.version, duration_ms(agent.uptime_s * 1000)),
        );
        let vehicle = agent.vehicle.as_deref().unwrap_or("not enrolled");
        let until = seen.identity.not_after.map(|end| format!(", certificate until {}", local_date(end)));
        self.line("vehicle", &format!("{vehicle}{}", until.unwrap_or_default()));
        let memory = agent.rss_bytes.map(|rss| format!("{} of memory", bytes(rss)));
        let processor = agent.cpu_s.filter(|_| agent.uptime_s > 0).map(|cpu_s| {
            #[allow(clippy::cast_precision_loss)]
            let share = cpu_s / agent.uptime_s as f64 * 100.0;
            format!("{share:.1} % of a core")
        });
        let uses: Vec<String> = [memory, processor].into_iter().flatten().collect();
        if !uses.is_empty() {
            self.line("uses", &uses.join(", "));
        }
    }

    fn receiver(&mut self, seen: &Seen) {
        let receiver = &seen.receiver;
        let state = match receiver.state.state.as_str() {
            "reading" => "is read",
            "silent" => "is open, but silent",
            "probing" => "is tried at one rate after the other",
            "absent" => "is not there",
            "over" => "was read to its end",
            _ => "is being opened",
        };
        let baud = receiver.baud.map(|baud| format!(" at {baud} baud")).unwrap_or_default();
        self.line("receiver", &format!("{} {state}{baud}", receiver.from));
        let counts = receiver.counts;
        if counts.sentences + counts.bad_checksums + counts.garbage_bytes > 0 {
            self.more(&format!(
                "{} sentences, {} damaged, {} of garbage",
                grouped(counts.sentences),
                grouped(counts.bad_checksums),
                bytes(counts.garbage_bytes)
            ));
        }
        self.trouble(Part::Receiver);
    }

    fn fix(&mut self, seen: &Seen) {
        match &seen.receiver.last_fix {
            None => self.line("fix", "none yet"),
            Some(fix) => {
                let place = fix.position().map_or("no position".to_owned(), |(lat, lon)| position(lat, lon));
                let age =
                    seen.fix_age_ms().map(|age| format!(", {} ago", duration_ms(age))).unwrap_or_default();
                self.line("fix", &format!("{place}{age}"));
                let details: Vec<String> = [
                    Some(fix.quality.replace('_', " ")),
                    fix.satellites.map(|count| format!("{count} satellites")),
                    fix.hdop.map(|hdop| format!("HDOP {hdop}")),
                    fix.speed_mps.map(|speed| format!("{:.0} km/h", speed * 3.6)),
                    (fix.verdict != "ok").then(|| format!("doubted: {}", fix.verdict)),
                ]
                .into_iter()
                .flatten()
                .collect();
                self.more(&details.join(", "));
                if let Some(time) = &fix.time {
                    self.more(&format!("GNSS time {}", local_time_of(time)));
                }
            }
        }
        if !seen.receiver.doubted.is_empty() {
            let reasons = seen.receiver.doubted.iter();
            let reasons: Vec<String> =
                reasons.map(|(reason, count)| format!("{} {reason}", grouped(*count))).collect();
            self.more(&format!("doubted so far: {}", reasons.join(", ")));
        }
        self.trouble(Part::Fix);
    }

    fn clock(&mut self, seen: &Seen) {
        let clock = &seen.clock;
        let from = match clock.source.as_str() {
            "gnss" => "from the receiver",
            "system" => "from the system clock",
            "cloud" => "from the cloud",
            "lower_bound" => "only a lower bound is known",
            _ => "not known yet",
        };
        let off = clock
            .system_offset_ms
            .filter(|off| off.unsigned_abs() >= SHOWN_OFFSET_MS)
            .map(|off| {
                let side = if off > 0 { "ahead" } else { "behind" };
                format!("; the system clock is {} {side}", duration_ms(off.unsigned_abs()))
            })
            .unwrap_or_default();
        self.line("time", &format!("{from}{off}"));
    }

    fn buffer(&mut self, seen: &Seen) {
        let buffer = &seen.buffer;
        self.line(
            "buffer",
            &format!("{} waiting for the cloud, {} on flash", fixes(buffer.waiting), bytes(buffer.bytes)),
        );
        self.more(&format!(
            "{} since this buffer began (epoch {})",
            fixes(buffer.next_sequence),
            buffer.epoch
        ));
        let flash = &buffer.flash;
        let wear: Vec<String> = [
            flash.free_bytes.map(|free| format!("{} free", bytes(free))),
            flash.written_bytes_per_day.map(|day| format!("{} written a day", bytes(day))),
            flash.life_years.map(|years| format!("lasts about {years:.0} years like that")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !wear.is_empty() {
            self.more(&format!("flash: {}", wear.join(", ")));
        }
        self.trouble(Part::Buffer);
    }

    fn link(&mut self, seen: &Seen) {
        let link = &seen.link;
        let by = link.transport.as_deref().map(|transport| format!(" by {transport}")).unwrap_or_default();
        let state = match link.state.as_str() {
            "connected" => format!("connected{by}"),
            "connecting" => format!("connecting{by}"),
            _ if link.trouble.is_some() => "not connected; the next attempt is due".to_owned(),
            _ => "not connected: nothing to send".to_owned(),
        };
        let since = link
            .since_ms
            .map(|since| format!(" since {} ({})", local_time(since), duration_ms(seen.age_ms(since))))
            .unwrap_or_default();
        self.line("link", &format!("{state}{since}"));
        self.more(&match link.last_ack_ms {
            Some(last) => format!(
                "last confirmed durable {} ago ({})",
                duration_ms(seen.age_ms(last)),
                local_time(last)
            ),
            None => "nothing was confirmed durable since the agent started".to_owned(),
        });
        if let Some(each) = link.bytes_per_fix {
            self.more(&format!(
                "{each:.1} bytes a fix over the air, {} in all",
                bytes(link.bytes_out + link.bytes_in)
            ));
        }
        if let Some(budget) = link.budget_per_month {
            let roaming = if link.roaming { ", roaming" } else { "" };
            self.more(&format!("{} of the month's {} used{roaming}", bytes(link.budget_used), bytes(budget)));
        }
        if link.connections > 1 {
            self.more(&format!("{} connections since the agent started", grouped(link.connections)));
        }
        self.trouble(Part::Link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::judge::tests::healthy;

    #[test]
    fn a_healthy_agent_fills_less_than_a_screen() {
        let (text, degraded) = summary(&healthy());
        assert!(!degraded, "{text}");
        assert!(text.lines().count() <= 22, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for words in [
            "healthy; version 0.1.0, up 2 h 1 min",
            "/dev/ttyACM0 is read at 9600 baud",
            "47.16823° N, 8.52310° E, 0 s ago",
            "14 satellites, HDOP 0.8, 50 km/h",
            "42 fixes waiting for the cloud, 210 B on flash",
            "connected by quic since",
            "last confirmed durable 42 s ago",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }

    #[test]
    fn trouble_stands_below_its_part_with_its_cure() {
        let mut seen = healthy();
        seen.link.state = "idle".to_owned();
        seen.link.trouble = Some("no answer from 10.0.0.1:7443: check that UDP gets through".to_owned());
        let (text, degraded) = summary(&seen);
        assert!(degraded);
        assert!(text.starts_with("avl-edge   DEGRADED: one thing"), "{text}");
        let (_, below) = text.split_once("link ").unwrap();
        assert!(
            below.contains("! no answer from 10.0.0.1:7443\n") && below.contains("check that UDP"),
            "{text}"
        );
    }

    #[test]
    fn doubts_the_clock_and_the_certificate_are_shown() {
        let mut seen = healthy();
        seen.identity.not_after = Some(1_731_672_000_000);
        (seen.clock.source, seen.clock.system_offset_ms) = ("gnss".to_owned(), Some(-90_000));
        seen.receiver.doubted.insert("teleport".to_owned(), 3);
        let (text, _) = summary(&seen);
        for words in [
            "demo/truck-7, certificate until 2024-11-1",
            "from the receiver; the system clock is 1 min 30 s behind",
            "doubted so far: 3 teleport",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }

    #[test]
    fn an_agent_that_has_just_started_is_described_too() {
        let (text, _) = summary(&Seen::default());
        assert!(text.contains("none yet") && text.contains("nothing to send"), "{text}");
    }
}
