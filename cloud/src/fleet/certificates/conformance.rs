//! What the list of certificates must do wherever it is kept: each storage runs the same suite.

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;

use super::{Certificates, Issued};

/// Makes one test of each behaviour for an empty list that two processes share: `fn() -> Option<(guard, [Certificates; 2])>`.
macro_rules! suite {
    ($fresh:path) => {
        crate::fleet::certificates::conformance::suite!(@each $fresh:
            a_revoked_vehicle_loses_every_certificate_and_nobody_else_does,
            a_certificate_given_after_the_revocation_is_good_and_the_old_ones_stay_revoked,
            a_revocation_can_be_taken_back_and_is_seen_by_others_until_then, who_is_denied_changes_the_version,
            a_revocation_list_names_what_is_revoked_and_has_not_expired, what_ended_long_ago_is_forgotten);
    };
    (@each $fresh:path: $($test:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            let Some((_guard, [one, other])) = $fresh() else { return };
            crate::fleet::certificates::conformance::fill(&one).await;
            crate::fleet::certificates::conformance::$test(&one, &other).await;
        })*
    };
}
pub(crate) use suite;

const NOW: UtcMillis = 1_800_000_000_000;

fn van(n: u8) -> VehicleKey {
    format!("demo/van-{n}").parse().unwrap()
}

fn issued(n: u8, serial: u8) -> Issued {
    Issued { serial: vec![serial; 16], vehicle: van(n), not_after: NOW + 1_000_000 }
}

pub(crate) async fn fill(list: &Certificates) {
    for certificate in [issued(1, 10), issued(1, 11), issued(2, 20)] {
        list.record(&certificate, NOW, 0).await.unwrap();
    }
}

/// Both ways to ask must answer alike.
async fn reason(list: &Certificates, vehicle: u8, serial: u8) -> Option<String> {
    let asked = list.reason(&van(vehicle), &[serial; 16]).await.unwrap();
    let denied = list.denied().await.unwrap();
    assert_eq!(denied.reason(&van(vehicle), &[serial; 16]), asked.as_deref());
    asked
}

pub(crate) async fn a_revoked_vehicle_loses_every_certificate_and_nobody_else_does(
    list: &Certificates,
    other: &Certificates,
) {
    assert_eq!(reason(list, 1, 10).await, None);
    assert_eq!(list.revoke(&van(1), "stolen", NOW).await.unwrap(), 2);
    assert_eq!(reason(other, 1, 10).await.as_deref(), Some("stolen"));
    assert_eq!(reason(list, 1, 11).await.as_deref(), Some("stolen"));
    assert_eq!(reason(list, 1, 99).await.as_deref(), Some("stolen"), "one that the list does not know");
    assert_eq!(reason(list, 2, 20).await, None);
    assert!(list.denied().await.unwrap().reason_for_name(&van(1)).is_some());
}

pub(crate) async fn a_certificate_given_after_the_revocation_is_good_and_the_old_ones_stay_revoked(
    list: &Certificates,
    other: &Certificates,
) {
    list.revoke(&van(1), "stolen", NOW).await.unwrap();
    other.record(&issued(1, 12), NOW + 1, 0).await.unwrap();
    assert_eq!(reason(list, 1, 12).await, None);
    assert_eq!(reason(list, 1, 10).await.as_deref(), Some("stolen"));
    assert!(list.denied().await.unwrap().reason_for_name(&van(1)).is_none());
    assert!(list.revocations().await.unwrap()[0].enrolled_again);
    list.revoke(&van(1), "again", NOW + 2).await.unwrap();
    assert_eq!(reason(list, 1, 12).await.as_deref(), Some("again"));
}

pub(crate) async fn a_revocation_can_be_taken_back_and_is_seen_by_others_until_then(
    list: &Certificates,
    other: &Certificates,
) {
    list.revoke(&van(1), "mistake", NOW).await.unwrap();
    assert_eq!(reason(other, 1, 10).await.as_deref(), Some("mistake"));
    let listed = other.revocations().await.unwrap();
    assert_eq!((listed[0].vehicle.as_str(), listed[0].revoked_at), ("demo/van-1", NOW));
    assert!(other.undo(&van(1)).await.unwrap());
    assert!(!list.undo(&van(1)).await.unwrap());
    assert_eq!(reason(list, 1, 10).await, None);
    assert!(list.revocations().await.unwrap().is_empty());
}

pub(crate) async fn who_is_denied_changes_the_version(list: &Certificates, running: &Certificates) {
    let first = running.version().await.unwrap();
    assert_eq!(running.version().await.unwrap(), first);
    list.revoke(&van(1), "stolen", NOW).await.unwrap();
    let revoked = running.version().await.unwrap();
    assert_ne!(revoked, first);
    list.record(&issued(1, 12), NOW + 1, 0).await.unwrap();
    let admitted = running.version().await.unwrap();
    assert_ne!(admitted, revoked);
    list.undo(&van(1)).await.unwrap();
    assert_ne!(running.version().await.unwrap(), admitted);
}

pub(crate) async fn a_revocation_list_names_what_is_revoked_and_has_not_expired(
    list: &Certificates,
    other: &Certificates,
) {
    list.revoke(&van(1), "stolen", NOW).await.unwrap();
    let named = other.revoked_serials(NOW + 1).await.unwrap();
    assert_eq!(named, [(vec![10; 16], NOW), (vec![11; 16], NOW)]);
    assert_eq!(list.revoked_serials(NOW + 2_000_000).await.unwrap(), []);
}

pub(crate) async fn what_ended_long_ago_is_forgotten(list: &Certificates, other: &Certificates) {
    list.record(&issued(3, 30), NOW, NOW + 1_000_000).await.unwrap();
    assert_eq!(other.revoke(&van(1), "stolen", NOW).await.unwrap(), 2);
    list.record(&Issued { not_after: NOW + 9_000_000, ..issued(3, 31) }, NOW, NOW + 1_000_001).await.unwrap();
    assert_eq!(other.revoked_serials(NOW).await.unwrap(), []);
    assert_eq!(other.revoke(&van(3), "stolen", NOW).await.unwrap(), 1);
}
