//! Headers that every response carries.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::super::state::ApiState;

pub(crate) async fn add(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), payment=()"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What a vehicle did is nobody's to keep; the page's own files say otherwise where they may be kept.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let tile_origin = state.settings.tile_origin().ok().flatten();
    if let Ok(policy) = HeaderValue::from_str(&content_security_policy(tile_origin)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// MapLibre starts its workers from `blob:`, sets inline styles, and draws images from `data:` and `blob:`.
fn content_security_policy(tile_origin: Option<&str>) -> String {
    let tiles = tile_origin.map(|origin| format!(" {origin}")).unwrap_or_default();
    format!(
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:{tiles}; \
         connect-src 'self'{tiles}; worker-src 'self' blob:; child-src 'self' blob:; font-src 'self' data:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_configured_tile_server_may_be_asked() {
        assert!(!content_security_policy(None).contains("http"));
        let policy = content_security_policy(Some("https://tiles.example.com"));
        assert!(policy.contains("img-src 'self' data: blob: https://tiles.example.com;"));
        assert!(policy.contains("connect-src 'self' https://tiles.example.com;"));
        assert!(policy.contains("script-src 'self';"));
    }
}
