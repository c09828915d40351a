//! Deltas for phones.

use super::*;

const POSITIONS: &str = "/mobile/v1/positions";

fn names(answer: &Value) -> Vec<&str> {
    answer["positions"].as_array().unwrap().iter().map(|row| row["v"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_token_brings_what_has_changed_since_it_and_nothing_else() {
    let fixture = Fixture::new();
    // As many as there are buckets: some share one, and then both are sent.
    fixture.commit((1..=8).map(|number| fixes(&format!("van-{number}"), 0..5)).collect()).await;
    let first = fixture.get(POSITIONS).await.json();
    assert_eq!((first["full"].as_bool(), names(&first).len()), (Some(true), 8));
    let token = first["token"].as_str().unwrap();
    let since = format!("{POSITIONS}?since={token}");
    let nothing = fixture.get(&since).await.json();
    assert_eq!((nothing["full"].as_bool(), names(&nothing).len()), (Some(false), 0));
    assert_eq!(nothing["token"], token);

    fixture.commit(vec![fixes("van-3", 5..6)]).await;
    let changed = fixture.get(&since).await.json();
    assert!(names(&changed).contains(&"demo/van-3") && names(&changed).len() < 8, "{changed}");
    assert_ne!(changed["token"], token);
    let row = changed["positions"].as_array().unwrap().iter().find(|row| row["v"] == "demo/van-3").unwrap();
    assert!(row["t"].is_i64() && row["p"][0].is_f64(), "{row}");

    for strange in ["", "AA", "!!", &"A".repeat(3000)] {
        let all = fixture.get(&format!("{POSITIONS}?since={strange}")).await.json();
        assert_eq!((all["full"].as_bool(), names(&all).len()), (Some(true), 8), "{strange:.20}");
    }
    let vehicles = fixture.get("/mobile/v1/vehicles").await.json();
    assert_eq!(vehicles["vehicles"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn an_etag_saves_the_body_while_nothing_changes_and_strangers_get_nothing() {
    let fixture = Fixture::new();
    fixture.commit(vec![fixes("van-1", 0..5)]).await;
    let tag = fixture.get(POSITIONS).await.header("etag").to_owned();
    let authorization = format!("Bearer {}", fixture.token);
    let again = || bare("GET", POSITIONS, &[("authorization", &authorization), ("if-none-match", &tag)]);
    let same = fixture.send(again()).await;
    assert_eq!((same.status, same.body.len()), (StatusCode::NOT_MODIFIED, 0));
    fixture.commit(vec![fixes("van-1", 5..6)]).await;
    assert_eq!(fixture.send(again()).await.status, StatusCode::OK);
    for path in [POSITIONS, "/mobile/v1/vehicles"] {
        assert_eq!(fixture.send(bare("GET", path, &[])).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn the_mobile_side_alone_has_its_own_routes_and_no_others() {
    let fixture = Fixture::new();
    let ask = async |path: &str| {
        let request = fixture.request("GET", path);
        mobile_router(fixture.state.clone()).oneshot(request).await.unwrap().status()
    };
    for path in [POSITIONS, "/api/v1/session", "/readyz"] {
        assert_eq!(ask(path).await, StatusCode::OK, "{path}");
    }
    for path in ["/api/v1/vehicles", "/", "/metrics"] {
        assert_eq!(ask(path).await, StatusCode::NOT_FOUND, "{path}");
    }
    let document = serde_json::to_value(mobile_openapi()).unwrap();
    assert!(document["paths"][POSITIONS].is_object() && document["paths"]["/api/v1/vehicles"].is_null());
}
