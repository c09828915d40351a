//! How fast things go, from two documents.

use crate::health::Seen;

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub sentences: f64,
    pub fixes: f64,
    pub damaged: f64,
}

impl Rates {
    /// `None` when the two are not of the same agent, or at the same instant.
    #[must_use]
    pub fn between(before: &Seen, after: &Seen) -> Option<Self> {
        let millis = after.agent.gateway_uptime_ms?.checked_sub(before.agent.gateway_uptime_ms?)?;
        if millis == 0 || before.agent.pid != after.agent.pid {
            return None;
        }
        #[allow(clippy::cast_precision_loss)]
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 * 1000.0 / millis as f64;
        let (from, to) = (before.receiver.counts, after.receiver.counts);
        Some(Self {
            sentences: rate(from.sentences, to.sentences),
            fixes: rate(from.fixes, to.fixes),
            damaged: rate(from.bad_checksums, to.bad_checksums),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::judge::tests::healthy;

    #[test]
    fn two_documents_of_one_agent_make_a_rate() {
        let before = healthy();
        let mut after = healthy();
        after.agent.gateway_uptime_ms = Some(9_002_000);
        after.receiver.counts.sentences += 16;
        after.receiver.counts.fixes += 2;
        let expected = Rates { sentences: 8.0, fixes: 1.0, damaged: 0.0 };
        assert_eq!(Rates::between(&before, &after), Some(expected));
        after.agent.pid += 1;
        assert_eq!(Rates::between(&before, &after), None, "another agent counts anew");
    }
}
