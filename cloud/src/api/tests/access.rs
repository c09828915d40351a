//! Role × endpoint: who is let in where. The endpoints come from the OpenAPI document, so a new one cannot be forgotten.

use std::time::{Duration, SystemTime};

use super::*;
use crate::api::openapi;

/// (method, path with its parameters filled in, open to everybody).
fn endpoints() -> Vec<(String, String, bool)> {
    let document: Value = serde_json::to_value(openapi()).unwrap();
    let mut endpoints = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let open = operation["security"]
                .as_array()
                .is_some_and(|rules| rules.iter().any(|rule| rule == &serde_json::json!({})));
            let path = path.replace("{fleet}", "demo").replace("{vehicle}", "van-1").replace("{id}", "none");
            endpoints.push((method.to_uppercase(), path, open));
        }
    }
    endpoints
}

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.commit(vec![fixes("van-1", 0..10)]).await;
    fixture
}

#[tokio::test]
async fn only_these_endpoints_are_open() {
    let mut open: Vec<String> =
        endpoints().into_iter().filter(|(_, _, open)| *open).map(|(_, path, _)| path).collect();
    open.sort();
    assert_eq!(open, ["/api/v1/config", "/healthz", "/readyz", "/sign-in"]);
    assert_eq!(endpoints().len(), 22, "a new endpoint: is it protected?");
    let document: Value = serde_json::to_value(openapi()).unwrap();
    let documents_401 = |path: &str| document["paths"][path]["get"]["responses"]["401"].is_object();
    assert!(documents_401("/metrics") && !documents_401("/healthz"));
}

#[tokio::test]
async fn without_valid_credentials_every_protected_endpoint_answers_401() {
    let fixture = fixture().await;
    let past = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    let (expired, _) = fixture.state.sessions.issue(past).unwrap();
    let (foreign, _) = Fixture::new().state.sessions.issue(SystemTime::now()).unwrap();
    let (good, _) = fixture.state.sessions.issue(SystemTime::now()).unwrap();
    type Headers = Vec<(&'static str, String)>;
    let attempts: [(&str, Headers, &str); 8] = [
        ("nothing", vec![], "no-credentials"),
        ("wrong token", vec![("authorization", format!("Bearer {}x", fixture.token))], "wrong-token"),
        ("empty token", vec![("authorization", "Bearer ".into())], "wrong-token"),
        ("wrong scheme", vec![("authorization", format!("Basic {}", fixture.token))], "wrong-token"),
        ("expired cookie", vec![("cookie", format!("avl_session={expired}"))], "bad-session"),
        ("cookie of another server", vec![("cookie", format!("avl_session={foreign}"))], "bad-session"),
        ("another cookie", vec![("cookie", format!("session={good}"))], "no-credentials"),
        (
            "wrong token beside a good cookie",
            vec![("authorization", "Bearer x".into()), ("cookie", format!("avl_session={good}"))],
            "wrong-token",
        ),
    ];
    for (method, path, _) in endpoints().into_iter().filter(|(_, _, open)| !open) {
        for (who, headers, expected) in &attempts {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = fixture.send(bare(&method, &path, &headers)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} with {who}");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"avl\"");
            assert_eq!(answer.problem().0, *expected, "{method} {path} with {who}");
        }
    }
}

#[tokio::test]
async fn the_token_and_a_session_are_let_in_and_only_the_token_makes_links_and_orders() {
    let fixture = fixture().await;
    let (cookie, _) = fixture.state.sessions.issue(SystemTime::now()).unwrap();
    let cookie = format!("avl_session={cookie}");
    for (method, path, _) in endpoints().into_iter().filter(|(_, _, open)| !open) {
        let by_token = fixture.send(fixture.request(&method, &path)).await.status;
        let by_session = fixture.send(bare(&method, &path, &[("cookie", &cookie)])).await.status;
        let expected = match path.as_str() {
            "/api/v1/live" => (StatusCode::UPGRADE_REQUIRED, StatusCode::UPGRADE_REQUIRED),
            "/api/v1/sign-in-links" => (StatusCode::CREATED, StatusCode::FORBIDDEN),
            // Whoever may order is told what is wrong with an empty order.
            _ if method != "GET" => (StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN),
            path if path.contains("/commands/none") => (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND),
            _ => (StatusCode::OK, StatusCode::OK),
        };
        assert_eq!((by_token, by_session), expected, "{method} {path}");
    }
}

#[tokio::test]
async fn open_endpoints_answer_anybody() {
    let fixture = fixture().await;
    let fixture = &fixture;
    let status = |path: &'static str| async move { fixture.send(bare("GET", path, &[])).await.status };
    assert_eq!(status("/healthz").await, StatusCode::OK);
    assert_eq!(status("/readyz").await, StatusCode::OK);
    assert_eq!(status("/api/v1/config").await, StatusCode::OK);
    assert_eq!(status("/").await, StatusCode::OK);
    assert_eq!(status("/sign-in").await, StatusCode::BAD_REQUEST);
    assert_eq!(status("/sign-in?code=x").await, StatusCode::GONE);
}

#[tokio::test]
async fn another_host_name_is_refused_before_anything_else() {
    let fixture =
        Fixture::with(ApiSettings { hosts: vec!["fleet.example.com".into()], ..ApiSettings::default() });
    for path in ["/healthz", "/", "/api/v1/vehicles", "/sign-in?code=x"] {
        let answer = fixture.send(bare("GET", path, &[("host", "rebound.example:8080")])).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        let (name, detail) = answer.problem();
        assert_eq!(name, "wrong-host");
        assert!(detail.contains("rebound.example") && detail.contains("api.hosts"), "{detail}");
    }
    let known = fixture.send(bare("GET", "/healthz", &[("host", "fleet.example.com")])).await;
    assert_eq!(known.status, StatusCode::OK);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let fixture = Fixture::with(ApiSettings {
        tile_url: Some("https://tiles.example.com/{z}/{x}/{y}.png".into()),
        tile_attribution: Some("© somebody".into()),
        ..ApiSettings::default()
    });
    for path in ["/healthz", "/", "/api/v1/vehicles", "/api/v1/config", "/nothing-here", "/api/v1/nothing"] {
        let answer = fixture.send(bare("GET", path, &[])).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(!answer.header("cache-control").is_empty(), "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .contains("img-src 'self' data: blob: https://tiles.example.com;")
        );
    }
    let config = fixture.send(bare("GET", "/api/v1/config", &[])).await.json();
    assert_eq!(config["tile_url"], "https://tiles.example.com/{z}/{x}/{y}.png");
    assert_eq!(config["tile_attribution"], "© somebody");
    assert_eq!(config["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_and_not_the_page() {
    let fixture = fixture().await;
    for path in ["/api", "/api/v1/nothing", "/api/v2/vehicles"] {
        let answer = fixture.send(bare("GET", path, &[("accept", "text/html")])).await;
        assert_eq!(
            (answer.status, answer.problem().0.as_str()),
            (StatusCode::NOT_FOUND, "not-found"),
            "{path}"
        );
    }
    let answer = fixture.send(fixture.request("DELETE", "/api/v1/vehicles")).await;
    assert_eq!(
        (answer.status, answer.problem().0.as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed")
    );
}
