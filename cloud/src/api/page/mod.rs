//! The web page: files that Vite built into `web/dist`. A release build holds them; a debug build reads them from disk.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::RustEmbed;

use super::problem::ApiError;

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

const INDEX: &str = "index.html";

/// Vite puts a hash of the content into these names: the same name never has another content.
const HASHED_FOLDER: &str = "assets/";

pub(crate) fn serve(request: &Request) -> Response {
    let find = |path: &str| {
        let file = Dist::get(path)?;
        let kind = file.metadata.mimetype().to_owned();
        Some(PageFile { hash: file.metadata.sha256_hash(), kind, content: file.data })
    };
    respond(request, find)
}

struct PageFile {
    content: Cow<'static, [u8]>,
    /// Media type.
    kind: String,
    hash: [u8; 32],
}

/// `find` looks a file up by its path without the leading slash.
fn respond(request: &Request, find: impl Fn(&str) -> Option<PageFile>) -> Response {
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

fn file_response(request: &Request, path: &str, file: PageFile) -> Response {
    let tag = etag(&file);
    let caching =
        if path.starts_with(HASHED_FOLDER) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|known| known.split(',').any(|known| same_tag(known, &tag)));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind =
            HeaderValue::from_str(&file.kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
        ([(header::CONTENT_TYPE, kind)], Body::from(file.content)).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Weak: the same content may travel compressed.
fn etag(file: &PageFile) -> String {
    let hex: String = file.hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{hex}\"")
}

/// `If-None-Match` compares weakly (RFC 9110, 13.1.2).
fn same_tag(known: &str, tag: &str) -> bool {
    let known = known.trim();
    known == "*" || known.trim_start_matches("W/") == tag.trim_start_matches("W/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str) -> Option<PageFile> {
        let (content, kind): (&[u8], &str) = match path {
            "index.html" => (b"<title>AVL</title>", "text/html"),
            "assets/index-abc123.js" => (b"let a", "text/javascript"),
            "land.json" => (b"{}", "application/json"),
            _ => return None,
        };
        Some(PageFile { content: Cow::Borrowed(content), kind: kind.to_owned(), hash: [7; 32] })
    }

    fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        respond(&request.body(Body::empty()).unwrap(), page)
    }

    fn text(response: &Response, name: header::HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

    #[test]
    fn files_are_served_with_their_kind_and_how_long_they_keep() {
        let script = ask("GET", "/assets/index-abc123.js", &[]);
        assert_eq!(text(&script, header::CONTENT_TYPE), "text/javascript");
        assert_eq!(text(&script, header::CACHE_CONTROL), "public, max-age=31536000, immutable");
        for path in ["/", "/index.html"] {
            let index = ask("GET", path, &[]);
            assert_eq!(
                (index.status(), text(&index, header::CACHE_CONTROL)),
                (StatusCode::OK, "no-cache"),
                "{path}"
            );
        }
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let tag = text(&ask("GET", "/land.json", &[]), header::ETAG).to_owned();
        let strong = tag.trim_start_matches("W/").to_owned();
        for known in [tag.as_str(), strong.as_str(), "*", &format!("\"other\", {tag}")] {
            let response = ask("GET", "/land.json", &[("if-none-match", known)]);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        assert_eq!(ask("GET", "/land.json", &[("if-none-match", "\"other\"")]).status(), StatusCode::OK);
    }

    #[test]
    fn only_a_navigation_falls_back_to_the_page() {
        let status = |path: &str, headers: &[(&str, &str)]| ask("GET", path, headers).status();
        assert_eq!(status("/vehicles/demo/van-1", &[HTML]), StatusCode::OK);
        assert_eq!(status("/vehicles/demo/van-1", &[("accept", "application/json")]), StatusCode::NOT_FOUND);
        assert_eq!(status("/vehicles/demo/van-1", &[]), StatusCode::NOT_FOUND);
        assert_eq!(status("/assets/gone-def456.js", &[HTML]), StatusCode::NOT_FOUND);
        assert_eq!(status("/api/v1/nothing", &[HTML]), StatusCode::NOT_FOUND);
        assert_eq!(ask("POST", "/", &[HTML]).status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_path_cannot_leave_the_folder() {
        for path in ["/../Cargo.toml", "/..%2fCargo.toml", "/assets/../../Cargo.toml", "//etc/passwd"] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            assert_eq!(serve(&request).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn without_a_built_page_the_cure_is_shown() {
        let request = Request::builder().uri("/").header(HTML.0, HTML.1).body(Body::empty()).unwrap();
        let response = respond(&request, |_| None);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("make web"));
    }
}
