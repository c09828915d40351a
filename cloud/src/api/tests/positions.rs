//! Vehicles and pages of positions.

use super::*;

const POSITIONS: &str = "/api/v1/vehicles/demo/van-1/positions";

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.commit(vec![fixes("van-1", 0..100), fixes("van-2", 0..5)]).await;
    fixture
}

fn sequences(page: &Value) -> Vec<u64> {
    page["positions"].as_array().unwrap().iter().map(|row| row["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn vehicles_are_listed_with_their_newest_position() {
    let fixture = fixture().await;
    fixture.commit(vec![Change::Known { vehicle: van("van-3"), epoch: EPOCH, next_sequence: 0 }]).await;
    let vehicles = fixture.get("/api/v1/vehicles").await.json();
    let names: Vec<&str> =
        vehicles["vehicles"].as_array().unwrap().iter().map(|row| row["vehicle"].as_str().unwrap()).collect();
    assert_eq!(names, ["van-1", "van-2", "van-3"]);
    let first = &vehicles["vehicles"][0];
    assert_eq!((first["fleet"].as_str(), first["fixes"].as_u64()), (Some("demo"), Some(100)));
    assert_eq!(first["latest"]["sequence"], 99);
    assert_eq!(first["latest"]["time"], "2026-11-22T08:31:39.000Z");
    assert_eq!(first["latest"]["epoch"], "5f3a09c1");
    assert_eq!(vehicles["vehicles"][2]["latest"], Value::Null);

    assert_eq!(fixture.get("/api/v1/vehicles/demo/van-1").await.json(), *first);
    assert_eq!(fixture.get("/api/v1/vehicles/demo/van-1/latest").await.json(), first["latest"]);
}

#[tokio::test]
async fn what_is_unknown_is_told_with_its_cure() {
    let fixture = fixture().await;
    fixture.commit(vec![Change::Known { vehicle: van("van-3"), epoch: EPOCH, next_sequence: 0 }]).await;
    for path in
        ["", "/latest", "/positions", "/positions?format=csv", "/positions?format=gpx", "/completeness"]
    {
        let answer = fixture.get(&format!("/api/v1/vehicles/demo/nobody{path}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        let (name, detail) = answer.problem();
        assert_eq!(name, "unknown-vehicle", "{path}");
        assert!(detail.contains("demo/nobody") && detail.contains("/api/v1/vehicles"), "{detail}");
    }
    let quiet = fixture.get("/api/v1/vehicles/demo/van-3/latest").await;
    assert_eq!((quiet.status, quiet.problem().0.as_str()), (StatusCode::NOT_FOUND, "no-position"));
    let empty = fixture.get("/api/v1/vehicles/demo/van-3/positions").await.json();
    assert_eq!(empty, serde_json::json!({"positions": [], "next_cursor": null}));
    let badly_named = fixture.get("/api/v1/vehicles/demo/..%2F..%2Fetc/latest").await;
    assert_eq!(
        (badly_named.status, badly_named.problem().0.as_str()),
        (StatusCode::BAD_REQUEST, "bad-vehicle-name")
    );
}

#[tokio::test]
async fn pages_give_every_row_once_and_in_order() {
    let fixture = fixture().await;
    for limit in [1, 7, 99, 100, 101] {
        let (mut got, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let page = fixture.get(&format!("{POSITIONS}?limit={limit}{after}")).await.json();
            assert!(sequences(&page).len() <= limit);
            got.extend(sequences(&page));
            cursor = page["next_cursor"].as_str().map(ToOwned::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(got, (0..100).collect::<Vec<u64>>(), "limit {limit}");
    }
}

#[tokio::test]
async fn a_period_holds_its_start_and_not_its_end() {
    let fixture = fixture().await;
    let fixture = &fixture;
    let page = |query: &'static str| async move {
        sequences(&fixture.get(&format!("{POSITIONS}?{query}")).await.json())
    };
    assert_eq!(page("from=2026-11-22T08:30:10Z&to=2026-11-22T08:30:13Z").await, [10, 11, 12]);
    assert_eq!(page("from=2026-11-22T08:30:10.001Z&to=2026-11-22T08:30:13.001Z").await, [11, 12, 13]);
    assert_eq!(page("from=2026-11-22T09:30:10%2B01:00&to=2026-11-22T08:30:11Z").await, [10], "an offset");
    assert_eq!(page("from=2026-11-22T08:31:38Z").await, [98, 99]);
    assert_eq!(page("to=2026-11-22T08:30:02Z").await, [0, 1]);
    assert_eq!(page("from=2026-11-22T08:30:10Z&to=2026-11-22T08:30:10Z").await, [0_u64; 0]);
}

#[tokio::test]
async fn a_fix_without_time_stands_where_it_was_received() {
    let fixture = fixture().await;
    let timeless = Fix { time: None, uptime: Some(5), ..fix(0) };
    let change = Change::Fixes {
        vehicle: van("van-1"),
        epoch: EPOCH,
        first: 100,
        fixes: vec![timeless],
        received_at: RECEIVED,
    };
    fixture.commit(vec![change]).await;
    let page =
        fixture.get(&format!("{POSITIONS}?from=2026-11-22T09:30:00Z&to=2026-11-22T09:30:01Z")).await.json();
    assert_eq!(sequences(&page), [100]);
    assert_eq!(page["positions"][0]["time"], Value::Null);
    assert_eq!(page["positions"][0]["received_at"], "2026-11-22T09:30:00.000Z");
}

#[tokio::test]
async fn bad_input_is_named() {
    let fixture = fixture().await;
    let good_cursor =
        fixture.get(&format!("{POSITIONS}?limit=1")).await.json()["next_cursor"].as_str().unwrap().to_owned();
    let cases = [
        ("from=yesterday".to_owned(), "bad-time", "from"),
        ("to=2026-02-30T00:00:00Z".to_owned(), "bad-time", "to"),
        ("from=2026-11-22T08:30:00+01:00".to_owned(), "bad-time", "%2B"),
        ("from=2026-11-22T08:30:00Z&to=2026-11-22T08:29:00Z".to_owned(), "backward-period", "swap"),
        ("format=kml".to_owned(), "unknown-format", "json, csv or gpx"),
        ("limit=0".to_owned(), "bad-limit", "1 to 10000"),
        ("limit=10001".to_owned(), "bad-limit", "1 to 10000"),
        ("cursor=abc".to_owned(), "bad-cursor", "next_cursor"),
        (format!("format=csv&cursor={good_cursor}"), "not-with-export", "cursor"),
        ("format=gpx&limit=5".to_owned(), "not-with-export", "limit"),
        ("form=csv".to_owned(), "bad-parameters", "form"),
        ("from=a&from=b".to_owned(), "bad-parameters", "from"),
    ];
    for (query, expected, hint) in cases {
        let answer = fixture.get(&format!("{POSITIONS}?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        let (name, detail) = answer.problem();
        assert_eq!(name, expected, "{query}");
        assert!(detail.contains(hint), "{query}: {detail}");
    }
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let fixture = fixture().await;
    let mut request = fixture.request("GET", POSITIONS);
    request.headers_mut().insert(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
    let compressed = fixture.send(request).await;
    assert_eq!(compressed.header("content-encoding"), "gzip");
    let plain = fixture.get(POSITIONS).await;
    assert!(
        compressed.body.len() * 4 < plain.body.len(),
        "{} of {}",
        compressed.body.len(),
        plain.body.len()
    );
}
