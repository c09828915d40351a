//! Who may ask: the API token (programs) and the session cookie (browsers).
//!
//! No secret is ever logged, and none is kept in memory in a form that could be sent back.

pub(crate) mod links;
pub(crate) mod secret;
pub(crate) mod session;
pub(crate) mod token;

use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;

use super::problem::ApiError;
use super::state::ApiState;

pub(crate) const COOKIE: &str = "avl_session";

/// Whose request it is; protected handlers find it among the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Token,
    Session { expires: SystemTime },
}

/// Lets a request through only with valid credentials.
pub(crate) async fn require(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    match identify(&state, request.headers(), SystemTime::now()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// A token that is presented decides alone: a wrong one is not saved by a good cookie.
fn identify(state: &ApiState, headers: &HeaderMap, now: SystemTime) -> Result<Caller, ApiError> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer).ok_or(ApiError::WrongToken)?;
        return if state.token.accepts(token) { Ok(Caller::Token) } else { Err(ApiError::WrongToken) };
    }
    let jar = CookieJar::from_headers(headers);
    let cookie = jar.get(COOKIE).ok_or(ApiError::NoCredentials)?;
    let expires = state.sessions.verify(cookie.value(), now).ok_or(ApiError::BadSession)?;
    Ok(Caller::Session { expires })
}

/// The scheme's name has no case (RFC 9110, 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bearer_scheme_has_no_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
