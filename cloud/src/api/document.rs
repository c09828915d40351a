//! What the OpenAPI document says beside the routes.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi};

use super::auth::COOKIE;
use super::live::LiveMessage;
use super::problem::{PROBLEM_JSON, Problem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "AVL fleet API",
        description = "Positions of vehicles: where they are, where they were, and whether everything they recorded has \
            arrived. Units are in the names of fields (`alt_m`, `speed_mps`, `course_deg`); times are RFC 3339 in UTC \
            with milliseconds; `null` means that the receiver printed nothing. Errors are `application/problem+json`."
    ),
    tags(
        (name = "vehicles", description = "Vehicles, positions, exports, completeness"),
        (name = "mobile", description = "For apps: small answers, and only what has changed"),
        (name = "orders", description = "Commands and configurations for vehicles"),
        (name = "live", description = "The live stream"),
        (name = "sign-in", description = "Signing browsers in"),
        (name = "operation", description = "Health, metrics, configuration"),
    ),
    components(schemas(LiveMessage, Problem)),
    security(("token" = []), ("session" = [])),
    modifiers(&Credentials),
)]
pub(crate) struct ApiDocument;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token in the file `api-token` of the server's data directory"))
            .build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let cookie = ApiKeyValue::with_description(COOKIE, "The session that a sign-in link gives a browser");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// Answers that no handler gives but the layers around all of them, or around the protected ones.
const REFUSALS: [(&str, &str, &str, Reach); 3] = [
    (
        "401",
        "Unauthorized",
        "No valid credentials: no token and no session, or wrong or expired ones",
        Reach::Protected,
    ),
    ("421", "WrongHost", "Asked for a host name that is not this server's", Reach::All),
    (
        "503",
        "Unavailable",
        "At a limit, out of time, shutting down, or without its store; see `Retry-After`",
        Reach::All,
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    All,
    Protected,
}

/// Adds to every operation the answers of the layers around it.
pub(crate) fn add_refusals(document: &mut Document) {
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.put].into_iter().flatten() {
            let protected = !is_open(operation);
            for (status, name, _, reach) in REFUSALS {
                if protected || reach == Reach::All {
                    let response = RefOr::Ref(Ref::from_response_name(name));
                    operation.responses.responses.entry(status.to_owned()).or_insert(response);
                }
            }
        }
    }
    let components = document.components.get_or_insert_default();
    for (_, name, description, _) in REFUSALS {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let mut response = Response::new(description);
        response.content.insert(PROBLEM_JSON.to_owned(), problem.into());
        components.responses.insert(name.to_owned(), response.into());
    }
}

/// An empty rule among the alternatives means that nothing is needed.
fn is_open(operation: &Operation) -> bool {
    let rules = operation.security.as_deref().unwrap_or_default();
    rules.iter().any(|rule| serde_json::to_value(rule).is_ok_and(|rule| rule == serde_json::json!({})))
}
