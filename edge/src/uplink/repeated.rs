//! Says the same thing once: a gateway without coverage would otherwise fill its log with one sentence.

use std::time::Duration;

use tokio::time::Instant;

/// A line that stays the same is repeated this often.
const EVERY: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(crate) struct Repeated {
    last: Option<(String, Instant)>,
    suppressed: u32,
}

impl Repeated {
    /// How often the line was held back before, when it should be logged now; `None` to keep quiet.
    pub(crate) fn admit(&mut self, line: &str, now: Instant) -> Option<u32> {
        if self
            .last
            .as_ref()
            .is_some_and(|(known, at)| known == line && now.saturating_duration_since(*at) < EVERY)
        {
            self.suppressed += 1;
            return None;
        }
        self.last = Some((line.to_owned(), now));
        Some(std::mem::take(&mut self.suppressed))
    }

    /// What was repeated is over.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_repeated_rarely_and_another_line_at_once() {
        let (mut log, now) = (Repeated::default(), Instant::now());
        assert_eq!(log.admit("no answer", now), Some(0));
        assert_eq!(log.admit("no answer", now + Duration::from_secs(1)), None);
        assert_eq!(log.admit("no answer", now + Duration::from_secs(2)), None);
        assert_eq!(log.admit("refused", now + Duration::from_secs(3)), Some(2));
        assert_eq!(log.admit("refused", now + Duration::from_secs(4)), None);
        assert_eq!(log.admit("refused", now + Duration::from_secs(3) + EVERY), Some(1));
        log.clear();
        assert_eq!(log.admit("refused", now + Duration::from_secs(4) + EVERY), Some(0));
    }
}
