//! What holds for every request before any handler sees it: the names this server answers to, the origin of what
//! could change something, and the headers that a browser needs to protect its user.

pub(crate) mod headers;
pub(crate) mod hosts;
pub(crate) mod limits;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ApiError;
use super::server::LocalAddress;
use super::state::ApiState;

/// Refuses a request for a name that is not ours, and a page of another site.
pub(crate) async fn check(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let loopback = parts.extensions.get::<LocalAddress>().is_none_or(|address| address.0.ip().is_loopback());
    if let Err(error) = judge(&state.hosts, loopback, &parts) {
        return error.into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

fn judge(hosts: &hosts::HostRule, loopback: bool, parts: &Parts) -> Result<(), ApiError> {
    let authority = authority(parts)?;
    if !hosts.allows(authority.host(), loopback) {
        return Err(ApiError::WrongHost(authority.host().to_owned()));
    }
    let upgrade = parts.headers.contains_key(header::UPGRADE);
    if parts.method.is_safe() && !upgrade && parts.method != Method::TRACE {
        return Ok(());
    }
    // A browser always sends Origin here. A program sends none, and then holds a token that no browser has.
    match parts.headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(origin) => {
            let origin = origin.to_str().unwrap_or("not text");
            let same = origin
                .split_once("://")
                .is_some_and(|(_, from)| from.eq_ignore_ascii_case(authority.as_str()));
            if same { Ok(()) } else { Err(ApiError::CrossOrigin(origin.chars().take(200).collect())) }
        }
    }
}

/// The name the client called us by: the request line's when it has one (RFC 9112, 3.2.2), else `Host`.
pub(crate) fn authority(parts: &Parts) -> Result<Authority, ApiError> {
    if let Some(authority) = parts.uri.authority() {
        return Ok(authority.clone());
    }
    let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    host.parse().map_err(|_| ApiError::WrongHost(host.chars().take(200).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::settings::ApiSettings;

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = axum::http::Request::builder().method(method).uri("/api/v1/live");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn judge_on_loopback(method: &str, headers: &[(&str, &str)]) -> Result<(), ApiError> {
        judge(&hosts::HostRule::new(&ApiSettings::default()), true, &parts(method, headers))
    }

    #[test]
    fn a_websocket_from_the_page_of_another_site_is_refused() {
        let upgrade = ("upgrade", "websocket");
        let host = ("host", "127.0.0.1:8080");
        assert!(judge_on_loopback("GET", &[host, upgrade, ("origin", "http://127.0.0.1:8080")]).is_ok());
        assert!(judge_on_loopback("GET", &[host, upgrade]).is_ok(), "a program sends no origin");
        for origin in ["http://evil.example", "http://127.0.0.1:9090", "http://localhost:8080", "null", ""] {
            let verdict = judge_on_loopback("GET", &[host, upgrade, ("origin", origin)]);
            assert!(matches!(verdict, Err(ApiError::CrossOrigin(_))), "{origin}");
        }
    }

    #[test]
    fn a_post_from_the_page_of_another_site_is_refused_and_a_plain_read_is_left_to_the_browser() {
        let host = ("host", "localhost:8080");
        let evil = ("origin", "http://evil.example");
        assert!(matches!(judge_on_loopback("POST", &[host, evil]), Err(ApiError::CrossOrigin(_))));
        assert!(judge_on_loopback("POST", &[host, ("origin", "http://localhost:8080")]).is_ok());
        assert!(
            judge_on_loopback("GET", &[host, evil]).is_ok(),
            "without CORS headers the page cannot read it"
        );
    }

    #[test]
    fn a_name_that_was_rebound_to_loopback_is_refused() {
        for host in ["evil.example", "evil.example:8080", "", "a b"] {
            assert!(
                matches!(judge_on_loopback("GET", &[("host", host)]), Err(ApiError::WrongHost(_))),
                "{host:?}"
            );
        }
        assert!(matches!(judge_on_loopback("GET", &[]), Err(ApiError::WrongHost(_))));
    }
}
