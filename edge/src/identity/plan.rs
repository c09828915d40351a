//! When a certificate is renewed: a pure decision.

use std::time::Duration;

use avl_shared::enrolment::Fingerprint;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::Validity;

/// The custom: a third of its life is left to notice that renewal fails.
const DUE: (i64, i64) = (2, 3);
/// Spread over this part of its life, so that a fleet that was enrolled in one day does not come in one second.
const SPREAD: (i64, i64) = (1, 20);

/// Waits after a failure double from the first to the longest. A vehicle whose certificate has expired has data waiting.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 60 * 60);
const LONGEST_WAIT_EXPIRED: Duration = Duration::from_secs(5 * 60);
/// Only a person can change a refusal.
const AFTER_REFUSAL: Duration = Duration::from_secs(60 * 60);

/// The moment from which a certificate should be renewed: the same whenever it is asked, another for each certificate.
pub(super) fn due(validity: Validity, fingerprint: Fingerprint) -> UtcMillis {
    let life = validity.not_after.saturating_sub(validity.not_before).max(0);
    let share = i64::from(u16::from_be_bytes([fingerprint.0[0], fingerprint.0[1]]));
    let spread = (life / SPREAD.1 * SPREAD.0) / i64::from(u16::MAX) * share;
    validity.not_before + life / DUE.1 * DUE.0 + spread
}

/// How long to wait after so many failures in a row.
pub(super) fn wait_after(failures: u32, expired: bool, refused: bool) -> Duration {
    if refused {
        return AFTER_REFUSAL;
    }
    let longest = if expired { LONGEST_WAIT_EXPIRED } else { LONGEST_WAIT };
    let doubled =
        FIRST_WAIT.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    #[test]
    fn renewal_is_due_after_two_thirds_of_its_life_and_a_fleet_is_spread() {
        let validity = Validity { not_before: 1000 * DAY, not_after: 1090 * DAY };
        let days: Vec<i64> = (0..=255).map(|n| due(validity, Fingerprint([n; 32])) / DAY - 1000).collect();
        assert_eq!((days[0], *days.iter().max().unwrap()), (60, 64));
        assert!(days.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn nonsense_dates_do_not_overflow() {
        let validity = Validity { not_before: i64::MIN / 2, not_after: i64::MAX / 2 };
        due(validity, Fingerprint([255; 32]));
        due(Validity { not_before: 10, not_after: 0 }, Fingerprint([255; 32]));
    }

    #[test]
    fn failures_wait_longer_and_longer_and_an_expired_vehicle_comes_back_soon() {
        let waits: Vec<u64> = (1..6).map(|failures| wait_after(failures, false, false).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80]);
        assert_eq!(wait_after(u32::MAX, false, false), LONGEST_WAIT);
        assert_eq!(wait_after(u32::MAX, true, false), LONGEST_WAIT_EXPIRED);
        assert_eq!(wait_after(1, true, true), AFTER_REFUSAL);
    }
}
