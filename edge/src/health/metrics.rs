//! The status document as Prometheus metrics. `docs/edge.md` has the table; a test holds the two together.
//!
//! Derived at each scrape, so they cost nothing in between and can never disagree with `avl-edge status`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Seen;

/// The text format that every Prometheus reads.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const PREFIX: &str = "avl_edge";

/// The metrics page.
#[must_use]
pub fn page(seen: Seen) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Derived(seen)));
    let mut text = String::with_capacity(8 * 1024);
    // Writing to a string does not fail, and a page cut short is not worth ending the agent for.
    if prometheus_text::encode(&mut text, &registry).is_err() {
        text.push_str("# cut short\n");
    }
    text
}

#[derive(Debug)]
struct Derived(Seen);

impl Collector for Derived {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(&mut encoder);
        let seen = &self.0;
        page.agent(seen)?;
        page.receiver(seen)?;
        page.buffer(seen)?;
        page.link(seen)?;
        page.clock_and_certificate(seen)
    }
}

struct Page<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Page<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauge_if(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.gauge(name, help, value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<[(&str, &str); 0], _, f64>(&value, None)
    }

    /// One sample for each label value.
    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (word, value) in values {
            family
                .encode_family(&[(label, *word)])?
                .encode_counter::<[(&str, &str); 0], _, f64>(value, None)?;
        }
        Ok(())
    }

    /// 1 for the state that holds, 0 for the others.
    fn states(&mut self, name: &str, help: &str, states: &[&str], holds: &str) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for state in states {
            family.encode_family(&[("state", *state)])?.encode_gauge(&i64::from(*state == holds))?;
        }
        Ok(())
    }

    fn agent(&mut self, seen: &Seen) -> fmt::Result {
        let agent = &seen.agent;
        self.0
            .encode_descriptor("build", "The agent's version.", None, MetricType::Gauge)?
            .encode_family(&[("version", agent.version.as_str())])?
            .encode_gauge(&1_i64)?;
        self.gauge("uptime_seconds", "Since the agent started.", float(agent.uptime_s))?;
        self.gauge_if("memory_resident_bytes", "Resident memory of the agent.", agent.rss_bytes.map(float))?;
        match agent.cpu_s {
            Some(cpu_s) => self
                .0
                .encode_descriptor(
                    "processor_seconds",
                    "Processor time used, user and system.",
                    None,
                    MetricType::Counter,
                )?
                .encode_counter::<[(&str, &str); 0], _, f64>(&cpu_s, None),
            None => Ok(()),
        }
    }

    fn receiver(&mut self, seen: &Seen) -> fmt::Result {
        let receiver = &seen.receiver;
        self.states(
            "receiver_state",
            "Where the receiver is: 1 for the state that holds.",
            &["starting", "probing", "reading", "silent", "absent", "over"],
            &receiver.state.state,
        )?;
        let counts = receiver.counts;
        self.counters(
            "receiver_sentences",
            "Sentences from the receiver, by what became of them.",
            "outcome",
            &[
                ("valid", counts.sentences),
                ("bad_checksum", counts.bad_checksums),
                ("unused", counts.unknown),
            ],
        )?;
        self.counter("receiver_garbage_bytes", "Bytes that belong to no sentence.", counts.garbage_bytes)?;
        self.counter("fixes", "Fixes made, with a position or without.", counts.fixes)?;
        let doubted: Vec<_> =
            receiver.doubted.iter().map(|(reason, fixes)| (reason.as_str(), *fixes)).collect();
        self.counters("fixes_doubted", "Fixes with this reason to doubt them.", "verdict", &doubted)?;
        self.gauge_if(
            "fix_age_seconds",
            "Since the last fix.",
            seen.fix_age_ms().map(|age| float(age) / 1e3),
        )?;
        let fix = receiver.last_fix.as_ref();
        let located = fix.is_some_and(|fix| fix.position().is_some());
        self.gauge(
            "fix_position_known",
            "1 when the last fix has a position.",
            f64::from(u8::from(located)),
        )?;
        self.gauge_if(
            "fix_hdop",
            "Horizontal dilution of precision of the last fix.",
            fix.and_then(|fix| fix.hdop),
        )?;
        self.gauge_if(
            "satellites_used",
            "Satellites used in the last fix.",
            fix.and_then(|fix| fix.satellites).map(f64::from),
        )?;
        self.gauge_if(
            "satellites_in_view",
            "Satellites above the horizon, heard or not.",
            receiver.extras.satellites_in_view.map(f64::from),
        )
    }

    fn buffer(&mut self, seen: &Seen) -> fmt::Result {
        let buffer = &seen.buffer;
        self.gauge(
            "buffer_waiting_fixes",
            "Fixes that the cloud has not acknowledged.",
            float(buffer.waiting),
        )?;
        self.gauge("buffer_bytes", "Encoded fixes on flash.", float(buffer.bytes))?;
        self.counter(
            "buffer_numbered_fixes",
            "Fixes that were numbered and made durable in this epoch.",
            buffer.next_sequence,
        )?;
        let flash = &buffer.flash;
        self.states(
            "buffer_store",
            "The store on flash: 1 for the state that holds.",
            &["open", "away", "unopened"],
            &flash.store.state,
        )?;
        self.gauge(
            "buffer_memory_fixes",
            "Fixes in memory that the flash has not taken yet.",
            float(flash.waiting_fixes),
        )?;
        self.counter(
            "buffer_dropped_fixes",
            "Fixes that memory had no room for while the flash took none.",
            flash.dropped_fixes,
        )?;
        self.gauge("flash_taken_bytes", "What the store takes on flash.", float(flash.taken_bytes))?;
        self.gauge_if(
            "flash_free_bytes",
            "Free on the state directory's file system.",
            flash.free_bytes.map(float),
        )?;
        self.gauge_if(
            "flash_written_bytes_per_day",
            "Written to flash in a day, as seen so far.",
            flash.written_bytes_per_day.map(float),
        )?;
        self.gauge_if("flash_life_years", "How long the flash lasts like that.", flash.life_years)?;
        let lost: u64 = buffer.lost.iter().map(|lost| lost.fixes).sum();
        self.gauge(
            "buffer_undeclared_losses_fixes",
            "Fixes given up whose loss the cloud has not confirmed yet.",
            float(lost),
        )
    }

    fn link(&mut self, seen: &Seen) -> fmt::Result {
        let link = &seen.link;
        self.states(
            "link_state",
            "The connection to the cloud: 1 for the state that holds.",
            &["idle", "connecting", "connected"],
            &link.state,
        )?;
        self.counter("link_connections", "Connections made since the agent started.", link.connections)?;
        self.counters(
            "link_bytes",
            "Over the air since the agent started, IP headers included; an estimate.",
            "direction",
            &[("out", link.bytes_out), ("in", link.bytes_in)],
        )?;
        self.counter("link_fixes_sent", "Fixes sent, the repeated ones counted again.", link.fixes_sent)?;
        self.gauge_if(
            "link_bytes_per_fix",
            "Bytes of both directions for each fix sent.",
            link.bytes_per_fix,
        )?;
        self.gauge(
            "link_backlog_fixes",
            "Fixes that the backlog lane has still to send.",
            float(link.backlog_unsent),
        )?;
        self.gauge("link_budget_used_bytes", "Of this month's data budget.", float(link.budget_used))?;
        self.gauge_if(
            "link_budget_bytes",
            "The month's data budget, where there is one.",
            link.budget_per_month.map(float),
        )?;
        self.gauge_if(
            "link_acknowledgement_age_seconds",
            "Since the cloud last confirmed that something is durable.",
            link.last_ack_ms.map(|last| float(seen.age_ms(last)) / 1e3),
        )
    }

    fn clock_and_certificate(&mut self, seen: &Seen) -> fmt::Result {
        self.gauge_if(
            "clock_system_offset_seconds",
            "The gateway's clock minus the better time that the agent knows.",
            seen.clock.system_offset_ms.map(signed).map(|offset| offset / 1e3),
        )?;
        self.gauge_if(
            "clock_cloud_offset_seconds",
            "The cloud's clock minus ours, when it was last heard.",
            seen.clock.cloud_offset_ms.map(signed).map(|offset| offset / 1e3),
        )?;
        self.gauge_if(
            "certificate_expiry_timestamp_seconds",
            "When the vehicle's certificate ends, seconds after 1970 UTC.",
            seen.identity.not_after.map(|end| signed(end) / 1e3),
        )
    }
}

#[allow(clippy::cast_precision_loss)] // exact up to 2^53, which no count here reaches
fn float(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss)] // milliseconds: exact for some 285,000 years
fn signed(millis: i64) -> f64 {
    millis as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::judge::tests::healthy;

    fn full() -> String {
        let mut seen = healthy();
        seen.receiver.extras.satellites_in_view = Some(22);
        seen.receiver.doubted.insert("teleport".to_owned(), 3);
        seen.link.bytes_per_fix = Some(9.5);
        seen.link.budget_per_month = Some(1);
        seen.buffer.flash.free_bytes = Some(1);
        seen.buffer.flash.written_bytes_per_day = Some(2);
        seen.buffer.flash.life_years = Some(3.0);
        seen.clock.system_offset_ms = Some(-1500);
        seen.clock.cloud_offset_ms = Some(20);
        seen.identity.not_after = Some(1_731_672_000_000);
        page(seen)
    }

    #[test]
    fn the_page_says_what_the_status_says() {
        let page = full();
        for line in [
            "avl_edge_fixes_total 7290",
            "avl_edge_fixes_doubted_total{verdict=\"teleport\"} 3",
            "avl_edge_buffer_waiting_fixes 42.0",
            "avl_edge_receiver_sentences_total{outcome=\"valid\"} 50000",
            "avl_edge_link_state{state=\"connected\"} 1",
            "avl_edge_link_state{state=\"idle\"} 0",
            "avl_edge_clock_system_offset_seconds -1.5",
            "avl_edge_fix_age_seconds 0.6",
            "# TYPE avl_edge_fixes_total counter",
        ] {
            assert!(page.lines().any(|found| found == line), "{line:?} is not in\n{page}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let page = page(Seen::default());
        assert!(!page.contains("fix_hdop") && !page.contains("certificate_expiry"), "{page}");
    }

    #[test]
    fn every_metric_stands_in_the_documentation_with_its_type() {
        let documentation = include_str!("../../../docs/edge.md");
        let page = full();
        let types: Vec<(&str, &str)> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        assert!(types.len() > 20, "{types:?}");
        for (name, kind) in types {
            let row = format!("| `{name}` | {kind} |");
            assert!(documentation.contains(&row), "docs/edge.md has no row {row}");
        }
    }
}
