//! Signing a browser in: a link that works once gives it a session cookie.

mod ask;

use std::time::{Instant, SystemTime};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};
use axum_extra::extract::cookie::{Cookie, SameSite};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{COOKIE, Caller, links};
use super::extract::Parameters;
use super::guard::authority;
use super::period::rfc3339;
use super::problem::{ApiError, Problem};
use super::state::ApiState;

pub use self::ask::{AskError, ask_for_link};

/// A link that signs one browser in.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct SignInLink {
    /// Open it in the browser that is to be signed in; it works once.
    #[schema(example = "http://127.0.0.1:8080/sign-in?code=3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    pub url: String,
    /// Seconds until it is void.
    #[schema(example = 600)]
    pub expires_in_s: u64,
}

/// Make a single-use sign-in link
///
/// Needs the API token. The link begins with `api.public_url` where that is set, and otherwise with the name this
/// request was sent to. At most 32 links are open; the oldest gives way.
#[utoipa::path(
    post,
    path = "/api/v1/sign-in-links",
    tag = "sign-in",
    operation_id = "makeSignInLink",
    security(("token" = [])),
    responses(
        (status = 201, description = "The link", body = SignInLink),
        (status = 403, description = "Asked with a session, or from the page of another site", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn make_link(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<(StatusCode, Json<SignInLink>), ApiError> {
    if caller != Caller::Token {
        return Err(ApiError::TokenNeeded);
    }
    let base = match &state.settings.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", authority(&request.into_parts().0)?),
    };
    let code = state.links.issue(Instant::now()).map_err(|error| ApiError::Internal(error.to_string()))?;
    let url = format!("{base}/sign-in?code={}", code.as_str());
    Ok((StatusCode::CREATED, Json(SignInLink { url, expires_in_s: links::LIFETIME.as_secs() })))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SignInParameters {
    /// The code of the link.
    code: String,
}

/// Sign this browser in
///
/// Opened from a sign-in link. A browser that asks for HTML gets a page when the link is not valid.
#[utoipa::path(
    get,
    path = "/sign-in",
    tag = "sign-in",
    operation_id = "signIn",
    security(()),
    params(SignInParameters),
    responses(
        (status = 303, description = "Signed in: sets the cookie `avl_session` and leads to `/`"),
        (status = 400, description = "No code in the link", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The link was used or is too old", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn sign_in(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Parameters(SignInParameters { code }): Parameters<SignInParameters>,
) -> Response {
    if state.links.redeem(&code, Instant::now()) {
        return signed_in(&state).unwrap_or_else(IntoResponse::into_response);
    }
    let error = ApiError::LinkNotValid;
    let wants_html =
        headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    if wants_html {
        return (StatusCode::GONE, Html(include_str!("../page/link_not_valid.html"))).into_response();
    }
    error.into_response()
}

fn signed_in(state: &ApiState) -> Result<Response, ApiError> {
    let (value, lifetime) = state.sessions.issue(SystemTime::now())?;
    let mut cookie = Cookie::new(COOKIE, value);
    cookie.set_path("/");
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Strict);
    cookie.set_secure(state.settings.cookie_is_secure());
    let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    // The attribute is written by hand: the cookie crate would want its own clock type for one number.
    let cookie = format!("{cookie}; Max-Age={seconds}");
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_owned())])
        .into_response())
}

/// Whose session or token this is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// `token` or `session`.
    #[schema(example = "session")]
    kind: &'static str,
    /// When the session expires: RFC 3339, UTC. `null` for the token, which does not.
    #[schema(format = DateTime, example = "2026-11-29T08:30:00.000Z")]
    expires_at: Option<String>,
}

/// Whether these credentials are valid
#[utoipa::path(
    get,
    path = "/api/v1/session",
    tag = "sign-in",
    operation_id = "getSession",
    responses((status = 200, description = "They are", body = Session))
)]
pub(crate) async fn session(Extension(caller): Extension<Caller>) -> Json<Session> {
    Json(match caller {
        Caller::Token => Session { kind: "token", expires_at: None },
        Caller::Session { expires } => {
            let since = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Session { kind: "session", expires_at: i64::try_from(since.as_millis()).ok().and_then(rfc3339) }
        }
    })
}
