//! What the OpenAPI document says beside the routes.

use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::auth::COOKIE;
use super::live::LiveMessage;
use super::problem::Problem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "AVL fleet API",
        description = "Positions of vehicles: where they are, where they were, and whether everything they recorded has \
            arrived. Units are in the names of fields (`alt_m`, `speed_mps`, `course_deg`); times are RFC 3339 in UTC \
            with milliseconds; `null` means that the receiver printed nothing. Errors are `application/problem+json`. \
            A request without valid credentials is answered 401, one for a host name that is not this server's 421, \
            and one over a limit 503 with `Retry-After`."
    ),
    tags(
        (name = "vehicles", description = "Vehicles, positions, exports, completeness"),
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
