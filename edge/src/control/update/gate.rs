//! What a new version must show before it may stay. Pure.

use serde::{Deserialize, Serialize};

/// What the old version had when it handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expectation {
    /// Of the buffer.
    pub epoch: u32,
    pub next_sequence: u64,
    /// Fixes came from the receiver.
    pub receiving: bool,
}

/// What the new version has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    pub welcomed: bool,
    pub epoch: u32,
    pub next_sequence: u64,
    /// A fix came since it started.
    pub fix_seen: bool,
}

impl Expectation {
    /// It reached the cloud, opened the buffer with all that was in it, and reads the receiver if the old one did.
    #[must_use]
    pub const fn is_met_by(&self, evidence: &Evidence) -> bool {
        evidence.welcomed
            && evidence.epoch == self.epoch
            && evidence.next_sequence >= self.next_sequence
            && (evidence.fix_seen || !self.receiving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_lost_the_buffer_the_receiver_or_the_cloud_does_not_stay() {
        let expected = Expectation { epoch: 7, next_sequence: 100, receiving: true };
        let good = Evidence { welcomed: true, epoch: 7, next_sequence: 100, fix_seen: true };
        assert!(expected.is_met_by(&good));
        for bad in [
            Evidence { welcomed: false, ..good },
            Evidence { epoch: 8, ..good },
            Evidence { next_sequence: 99, ..good },
            Evidence { fix_seen: false, ..good },
        ] {
            assert!(!expected.is_met_by(&bad), "{bad:?}");
        }
        let deaf = Expectation { receiving: false, ..expected };
        assert!(deaf.is_met_by(&Evidence { fix_seen: false, ..good }), "it is no worse than before");
    }
}
