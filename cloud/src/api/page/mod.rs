//! The web page: files that Vite built into `web/dist`. A release build holds them; a debug build reads them from disk.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::problem::ApiError;

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

const INDEX: &str = "index.html";

/// Vite puts a hash of the content into these names: the same name never has another content.
const HASHED_FOLDER: &str = "assets/";

pub(crate) fn serve(request: &Request) -> Response {
    respond(request, Dist::get)
}

/// `find` looks a file up by its path without the leading slash.
fn respond(request: &Request, find: impl Fn(&str) -> Option<EmbeddedFile>) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let not_found = || ApiError::NotFound(request.uri().path().chars().take(200).collect()).into_response();
    if path == "api" || path.starts_with("api/") {
        return not_found();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ApiError::MethodNotAllowed(request.uri().path().chars().take(200).collect()).into_response();
    }
    if !path.is_empty()
        && let Some(file) = find(path)
    {
        return file_response(request, path, file);
    }
    // The page has its own routes (/vehicles/…): a browser that navigates there gets the page.
    if !path.is_empty() && !is_navigation(request) {
        return not_found();
    }
    match find(INDEX) {
        Some(file) => file_response(request, INDEX, file),
        None => (StatusCode::OK, Html(include_str!("not_built.html"))).into_response(),
    }
}

/// Scripts, images and `fetch` ask for something else than HTML.
fn is_navigation(request: &Request) -> bool {
    let last = request.uri().path().rsplit('/').next().unwrap_or_default();
    let accepts_html = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.split(',').any(|kind| kind.trim().starts_with("text/html")));
    accepts_html && !(request.uri().path().starts_with("/assets/") && last.contains('.'))
}

fn file_response(request: &Request, path: &str, file: EmbeddedFile) -> Response {
    let tag = etag(&file);
    let caching =
        if path.starts_with(HASHED_FOLDER) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|known| known.split(',').any(|known| same_tag(known, &tag)));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = HeaderValue::from_str(file.metadata.mimetype())
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        ([(header::CONTENT_TYPE, kind)], Body::from(file.data)).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Weak: the same content may travel compressed.
fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{hex}\"")
}

/// `If-None-Match` compares weakly (RFC 9110, 13.1.2).
fn same_tag(known: &str, tag: &str) -> bool {
    let known = known.trim();
    known == "*" || known.trim_start_matches("W/") == tag.trim_start_matches("W/")
}
