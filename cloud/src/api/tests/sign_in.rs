//! From a token in the data directory to a signed-in browser.

use super::*;
use crate::api::{AskError, SignInLink, ask_for_link};

async fn link(fixture: &Fixture) -> SignInLink {
    let answer = fixture.send(fixture.request("POST", "/api/v1/sign-in-links")).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    serde_json::from_slice(&answer.body).unwrap()
}

fn path_of(link: &SignInLink) -> &str {
    &link.url[link.url.find("/sign-in").unwrap()..]
}

#[tokio::test]
async fn a_link_signs_one_browser_in_once() {
    let fixture = Fixture::new();
    let link = link(&fixture).await;
    assert!(link.url.starts_with("http://127.0.0.1:8080/sign-in?code="), "{}", link.url);
    assert_eq!(link.expires_in_s, 600);

    let signed_in = fixture.send(bare("GET", path_of(&link), &[("accept", "text/html")])).await;
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
    assert_eq!(signed_in.header("location"), "/");
    assert_eq!(signed_in.header("cache-control"), "no-store");
    let cookie = signed_in.header("set-cookie").to_owned();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert!(pair.starts_with("avl_session="));
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
        assert!(attributes.split("; ").any(|found| found == attribute), "{attribute} in {attributes}");
    }
    assert!(!attributes.contains("Secure"), "plain http on loopback");

    let session = fixture.send(bare("GET", "/api/v1/session", &[("cookie", pair)])).await.json();
    assert_eq!(session["kind"], "session");
    assert!(session["expires_at"].as_str().unwrap().ends_with('Z'));

    let again = fixture.send(bare("GET", path_of(&link), &[])).await;
    assert_eq!((again.status, again.problem().0.as_str()), (StatusCode::GONE, "link-not-valid"));
    assert_eq!(again.header("set-cookie"), "");
    let in_a_browser = fixture.send(bare("GET", path_of(&link), &[("accept", "text/html,*/*")])).await;
    assert_eq!(in_a_browser.status, StatusCode::GONE);
    assert!(in_a_browser.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn behind_tls_the_link_is_public_and_the_cookie_secure() {
    let settings =
        ApiSettings { public_url: Some("https://fleet.example.com".into()), ..ApiSettings::default() };
    let fixture = Fixture::with(settings);
    let link = link(&fixture).await;
    assert!(link.url.starts_with("https://fleet.example.com/sign-in?code="), "{}", link.url);
    let signed_in = fixture.send(bare("GET", path_of(&link), &[("host", "fleet.example.com")])).await;
    assert!(signed_in.header("set-cookie").contains("; Secure"));
}

#[tokio::test]
async fn the_page_of_another_site_cannot_ask_for_a_link() {
    let fixture = Fixture::new();
    let mut request = fixture.request("POST", "/api/v1/sign-in-links");
    request.headers_mut().insert(header::ORIGIN, "http://evil.example".parse().unwrap());
    let answer = fixture.send(request).await;
    assert_eq!((answer.status, answer.problem().0.as_str()), (StatusCode::FORBIDDEN, "cross-origin"));
}

#[tokio::test]
async fn the_command_gets_a_link_from_a_running_server() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let address = server.address.to_string();
    let link = ask_for_link(fixture.dir.path(), &address).await.unwrap();
    assert!(link.url.starts_with(&format!("http://{address}/sign-in?code=")), "{}", link.url);

    let another = Fixture::new();
    let error = ask_for_link(another.dir.path(), &address).await.unwrap_err();
    assert!(matches!(error, AskError::WrongServer { .. }), "{error}");

    server.stop().await;
    let error = ask_for_link(fixture.dir.path(), &address).await.unwrap_err();
    assert!(matches!(error, AskError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("avl-cloud all --data-dir"), "{error}");

    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(ask_for_link(empty.path(), &address).await, Err(AskError::Token(_))));
}
