//! Whether to hold the NAT's mapping between two batches, and by how many pings. No I/O.
//!
//! A cellular NAT forgets a UDP flow after a time that nobody tells us. It is learnt from what happens anyway: after
//! a silence, the cloud either knows us by our address still, or sees a new one and challenges it. Costs in bytes, IP
//! headers included, were measured on this protocol: a ping and its answer 111, the challenge of a new address 2,450 (both
//! sides pad to 1,200), a new connection with its certificates 4,300.

use std::time::Duration;

const PING_BYTES: u64 = 111;
const NEW_ADDRESS_BYTES: u64 = 2_450;
const RECONNECT_BYTES: u64 = 4_300;

/// Most cellular NATs hold a UDP mapping for 30 s at least (RFC 4787 asks for 120 s and is widely ignored).
const ASSUMED: Duration = Duration::from_secs(25);
/// How much longer a silence to try next, when the last one was survived.
const GROWTH: f64 = 1.5;
/// Safety between the longest silence that was survived and the pings.
const MARGIN: f64 = 0.9;

/// What silences have shown of the NAT on the way. Forgotten when the network changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The longest silence after which the cloud knew us.
    survived: Duration,
    /// The shortest after which it did not.
    lapsed: Option<Duration>,
}

impl Mapping {
    pub(super) fn survived(&mut self, silence: Duration) {
        self.survived = self.survived.max(silence);
        // A NAT that has become more patient, or a challenge that had another reason.
        if self.lapsed.is_some_and(|lapsed| lapsed <= self.survived) {
            self.lapsed = None;
        }
    }

    pub(super) fn lapsed(&mut self, silence: Duration) {
        self.lapsed = Some(self.lapsed.map_or(silence, |known| known.min(silence)));
        if self.survived >= silence {
            self.survived = silence.mul_f64(MARGIN / GROWTH);
        }
    }

    /// The silence to allow next: safe where the limit is known, a little longer than what was survived where not.
    fn interval(&self) -> Duration {
        match self.lapsed {
            Some(lapsed) => self.survived.max(lapsed.mul_f64(MARGIN / GROWTH)).min(lapsed.mul_f64(MARGIN)),
            None => self.survived.mul_f64(GROWTH).max(ASSUMED),
        }
    }

    /// Whether a silence is known or assumed to be survived.
    fn outlasts(&self, silence: Duration) -> bool {
        silence <= self.survived.max(ASSUMED) && self.lapsed.is_none_or(|lapsed| silence < lapsed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Ping after so long a silence.
    Ping(Duration),
    /// The batches alone hold it, or it may go: that is cheaper than pings, or nobody needs it.
    Quiet,
}

/// What to do between batches that are `latency` apart, on a connection that ends after a silence of `idle_timeout`.
pub(super) fn hold(
    mapping: &Mapping,
    latency: Duration,
    idle_timeout: Duration,
    stay_connected: bool,
) -> Hold {
    // Half of it, so that one lost ping does not cost the connection.
    let interval = mapping.interval().min(idle_timeout / 2).max(Duration::from_secs(5));
    let is_held = mapping.outlasts(latency) && latency < idle_timeout;
    if !stay_connected || is_held {
        return Hold::Quiet;
    }
    let pings = u64::try_from(latency.as_millis() / interval.as_millis().max(1)).unwrap_or(u64::MAX);
    let without = if latency < idle_timeout { NEW_ADDRESS_BYTES } else { RECONNECT_BYTES };
    if pings.saturating_mul(PING_BYTES) <= without { Hold::Ping(interval) } else { Hold::Quiet }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn at_the_default_latency_the_batches_are_enough() {
        assert_eq!(hold(&Mapping::default(), seconds(25), seconds(60), true), Hold::Quiet);
    }

    #[test]
    fn a_minutes_latency_begins_with_a_ping_and_needs_none_once_the_nat_is_known_to_be_patient() {
        let mut mapping = Mapping::default();
        assert_eq!(hold(&mapping, seconds(60), seconds(130), true), Hold::Ping(seconds(25)));
        mapping.survived(seconds(25));
        assert_eq!(
            hold(&mapping, seconds(60), seconds(130), true),
            Hold::Ping(Duration::from_millis(37_500))
        );
        mapping.survived(seconds(60));
        assert_eq!(hold(&mapping, seconds(60), seconds(130), true), Hold::Quiet);
    }

    #[test]
    fn a_mapping_that_lapsed_is_held_well_before_that() {
        let mut mapping = Mapping::default();
        mapping.survived(seconds(25));
        mapping.lapsed(seconds(37));
        assert_eq!(hold(&mapping, seconds(60), seconds(130), true), Hold::Ping(seconds(25)));
        mapping.lapsed(seconds(20));
        let Hold::Ping(interval) = hold(&mapping, seconds(60), seconds(130), true) else { panic!("no ping") };
        assert!(interval < seconds(20), "{interval:?}");
    }

    #[test]
    fn where_many_pings_cost_more_than_a_new_connection_it_lapses() {
        assert_eq!(hold(&Mapping::default(), seconds(3600), seconds(600), true), Hold::Quiet);
        // 15 minutes are 36 pings: 3,996 bytes against 4,300 for a new connection.
        assert_eq!(hold(&Mapping::default(), seconds(900), seconds(600), true), Hold::Ping(seconds(25)));
        assert_eq!(hold(&Mapping::default(), seconds(1000), seconds(600), true), Hold::Quiet);
    }

    #[test]
    fn a_parked_vehicle_pings_never() {
        assert_eq!(hold(&Mapping::default(), seconds(60), seconds(130), false), Hold::Quiet);
    }

    proptest! {
        /// Against a NAT with any patience: after some silences the pings come sooner than it forgets.
        #[test]
        fn learns_any_nat(patience_s in 12_u64..300) {
            let (mut mapping, patience) = (Mapping::default(), seconds(patience_s));
            for _ in 0..30 {
                let silence = mapping.interval();
                if silence < patience { mapping.survived(silence) } else { mapping.lapsed(silence) }
            }
            prop_assert!(mapping.interval() < patience || mapping.lapsed.is_none(), "{mapping:?}");
            let interval = mapping.interval();
            prop_assert!(interval < patience, "{interval:?} against {patience:?}");
            prop_assert!(interval.as_secs_f64() > patience.as_secs_f64() / 4.0, "{interval:?} against {patience:?}");
        }
    }
}
