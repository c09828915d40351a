//! Refusals of the fleet's endpoints as problem documents (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
}

pub(super) fn problem(kind: String, title: &'static str, status: StatusCode, detail: String) -> Response {
    let problem = Problem { kind, title, status: status.as_u16(), detail };
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        axum::Json(problem).into_response().into_body(),
    )
        .into_response()
}
