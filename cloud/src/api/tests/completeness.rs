//! The account of what arrived.

use super::*;
use avl_shared::link::LossReason;
use avl_shared::sequence::SequenceRange;
use serde_json::json;

const PATH: &str = "/api/v1/vehicles/demo/van-1/completeness";

/// Numbers 0-9 and 60-69 arrived, 20-29 were given up, 70-79 are known to exist.
async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let ranges = [SequenceRange::new(20, 29).unwrap()].into_iter().collect();
    let lost = Change::Lost {
        vehicle: van("van-1"),
        epoch: EPOCH,
        ranges,
        reason: LossReason::BufferFull,
        received_at: 0,
    };
    let known = Change::Known { vehicle: van("van-1"), epoch: EPOCH, next_sequence: 80 };
    fixture.commit(vec![fixes("van-1", 0..10), fixes("van-1", 60..70), lost, known]).await;
    fixture
}

#[tokio::test]
async fn of_all_time() {
    let fixture = fixture().await;
    let expected = json!({
        "complete": false, "received": 20, "missing": 50, "lost": 10,
        "epochs": [{
            "epoch": "5f3a09c1", "next_sequence": 80,
            "received": [[0, 9], [60, 69]],
            "missing": [[10, 19], [30, 59], [70, 79]],
            "lost": [{"first": 20, "last": 29, "reason": "buffer_full"}],
        }],
    });
    assert_eq!(fixture.get(PATH).await.json(), expected);
}

#[tokio::test]
async fn of_a_period_before_the_gap() {
    let fixture = fixture().await;
    let account =
        fixture.get(&format!("{PATH}?from=2026-11-22T08:30:02Z&to=2026-11-22T08:30:05Z")).await.json();
    assert_eq!(
        (&account["complete"], &account["received"], &account["missing"]),
        (&json!(true), &json!(3), &json!(0))
    );
    assert_eq!(account["epochs"][0]["received"], json!([[2, 4]]));
}

#[tokio::test]
async fn of_a_period_inside_the_gap() {
    let fixture = fixture().await;
    let account =
        fixture.get(&format!("{PATH}?from=2026-11-22T08:30:22Z&to=2026-11-22T08:30:25Z")).await.json();
    assert_eq!(account["complete"], false);
    assert_eq!(account["received"], 0);
    assert_eq!(account["epochs"][0]["missing"], json!([[10, 19], [30, 59]]), "they may all lie there");
    assert_eq!(account["lost"], 10);
}

#[tokio::test]
async fn of_a_period_after_the_newest_fix() {
    let fixture = fixture().await;
    let account = fixture.get(&format!("{PATH}?from=2026-11-22T08:31:09.5Z")).await.json();
    assert_eq!(account["epochs"][0]["missing"], json!([[70, 79]]));
    let complete = fixture.get(&format!("{PATH}?to=2026-11-22T08:30:09Z")).await.json();
    assert_eq!(complete["complete"], true);
    let untouched = Fixture::new();
    untouched.commit(vec![fixes("van-1", 0..10)]).await;
    let nothing = untouched.get(&format!("{PATH}?to=2020-01-01T00:00:00Z")).await.json();
    assert_eq!(nothing, json!({"complete": true, "received": 0, "missing": 0, "lost": 0, "epochs": []}));
}

#[tokio::test]
async fn bad_periods_are_named() {
    let fixture = fixture().await;
    let answer = fixture.get(&format!("{PATH}?from=2026-11-23T00:00:00Z&to=2026-11-22T00:00:00Z")).await;
    assert_eq!((answer.status, answer.problem().0.as_str()), (StatusCode::BAD_REQUEST, "backward-period"));
    let answer = fixture.get(&format!("{PATH}?from=now")).await;
    assert_eq!((answer.status, answer.problem().0.as_str()), (StatusCode::BAD_REQUEST, "bad-time"));
    let answer = fixture.get(&format!("{PATH}?since=2026-11-22T00:00:00Z")).await;
    assert_eq!((answer.status, answer.problem().0.as_str()), (StatusCode::BAD_REQUEST, "bad-parameters"));
}
