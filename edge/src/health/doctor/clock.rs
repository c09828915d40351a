//! The gateway's clock against GNSS and the cloud; the certificate against the clock. Pure.

use avl_shared::fix::UtcMillis;

use super::check::Outcome;
use crate::health::words::{duration_ms, local_time};

/// GNSS time is read off a line that delays it by up to two seconds; logs and certificates do not care for less.
const OFF_MS: u64 = 5_000;
/// A certificate is renewed long before this; one so near its end was not.
const EXPIRES_SOON_MS: i64 = 14 * 86_400_000;

/// `gnss` and `cloud` are what those clocks showed, with what ours showed at that moment.
pub(super) fn clock(gnss: Option<(UtcMillis, UtcMillis)>, cloud: Option<(UtcMillis, UtcMillis)>) -> Outcome {
    let mut known = Vec::new();
    let mut worst: u64 = 0;
    for (name, pair) in [("GNSS", gnss), ("the cloud", cloud)] {
        if let Some((theirs, ours)) = pair {
            let apart = ours.abs_diff(theirs);
            worst = worst.max(apart);
            known.push(match apart {
                0..=OFF_MS => format!("agrees with {name}"),
                _ if ours < theirs => format!("is {} behind {name}", duration_ms(apart)),
                _ => format!("is {} ahead of {name}", duration_ms(apart)),
            });
        }
    }
    if known.is_empty() {
        return Outcome::skipped("neither GNSS nor the cloud told the time");
    }
    let fact = format!("the gateway's clock {}", known.join(" and "));
    if worst > OFF_MS {
        Outcome::warning(
            fact,
            "the agent goes by GNSS time; for other programs and for log lines set the clock (NTP, an RTC with a good battery)",
        )
    } else {
        Outcome::good(fact)
    }
}

/// `now` is the best time known.
pub(super) fn certificate(
    vehicle: &str,
    not_before: UtcMillis,
    not_after: UtcMillis,
    now: UtcMillis,
) -> Outcome {
    let ends = local_time(not_after);
    if now > not_after {
        return Outcome::failed(
            format!("the certificate of {vehicle} expired on {ends}; the clock says {}", local_time(now)),
            "check the clock; if it is right, enrol again with 'avl-edge enrol --force'",
        );
    }
    if now < not_before {
        return Outcome::failed(
            format!(
                "the certificate of {vehicle} begins on {}; the clock says {}",
                local_time(not_before),
                local_time(now)
            ),
            "the clock is behind: set it, or let the agent get GNSS time",
        );
    }
    if not_after - now < EXPIRES_SOON_MS {
        return Outcome::warning(
            format!("the certificate of {vehicle} ends soon, on {ends}"),
            "let the gateway connect, so that it can renew it; else enrol again",
        );
    }
    Outcome::good(format!("{vehicle}, certificate until {ends}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn a_clock_is_judged_against_whoever_knows_better() {
        assert!(matches!(clock(None, None), Outcome::Skipped { .. }));
        assert_eq!(
            clock(Some((NOW, NOW + 900)), Some((NOW, NOW))),
            Outcome::good("the gateway's clock agrees with GNSS and agrees with the cloud")
        );
        let Outcome::Warning { cause, .. } = clock(Some((NOW, NOW - 2 * DAY)), None) else { panic!() };
        assert_eq!(cause, "the gateway's clock is 2 d behind GNSS");
    }

    #[test]
    fn a_certificate_is_judged_by_its_dates() {
        let judge = |from: i64, to: i64| certificate("a/b", NOW + from * DAY, NOW + to * DAY, NOW);
        assert!(matches!(judge(-1, 90), Outcome::Good { .. }));
        assert!(matches!(judge(-80, 10), Outcome::Warning { .. }));
        let Outcome::Failed { cause, .. } = judge(-91, -1) else { panic!() };
        assert!(cause.contains("expired on"), "{cause}");
        let Outcome::Failed { cure, .. } = judge(1, 90) else { panic!() };
        assert!(cure.contains("behind"), "{cure}");
    }
}
