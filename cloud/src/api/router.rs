//! Which address leads where. A route is protected unless it stands in [`open_routes`].

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::{ApiDocument, add_refusals};
use super::problem::ApiError;
use super::state::ApiState;
use super::{
    auth, completeness, guard, live, mobile, observe, operation, orders, page, positions, sign_in, vehicles,
};

/// An order has some hundred bytes, a configuration up to 16 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

fn protected_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(vehicles::list))
        .routes(routes!(vehicles::get))
        .routes(routes!(vehicles::latest))
        .routes(routes!(positions::get))
        .routes(routes!(completeness::get))
        .routes(routes!(orders::list, orders::give))
        .routes(routes!(orders::get))
        .routes(routes!(orders::result))
        .routes(routes!(orders::configuration, orders::configure))
        .routes(routes!(live::get))
        .routes(routes!(sign_in::make_link))
        .routes(routes!(sign_in::session))
        .routes(routes!(operation::metrics))
        .routes(routes!(operation::openapi))
        .merge(mobile::routes())
}

/// What apps need of the rest: whether their session is good, and links for new ones.
fn mobile_protected_routes() -> OpenApiRouter<ApiState> {
    mobile::routes().routes(routes!(sign_in::make_link)).routes(routes!(sign_in::session))
}

fn mobile_open_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(ApiDocument::openapi())
        .routes(routes!(operation::healthz))
        .routes(routes!(operation::readyz))
        .routes(routes!(sign_in::sign_in))
}

fn open_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(ApiDocument::openapi())
        .routes(routes!(operation::healthz))
        .routes(routes!(operation::readyz))
        .routes(routes!(operation::config))
        .routes(routes!(sign_in::sign_in))
}

/// The OpenAPI 3.1 document of every route.
#[must_use]
pub fn openapi() -> Document {
    described(open_routes().merge(protected_routes()))
}

/// The same of what [`mobile_router`] serves.
#[must_use]
pub fn mobile_openapi() -> Document {
    described(mobile_open_routes().merge(mobile_protected_routes()))
}

fn described(routes: OpenApiRouter<ApiState>) -> Document {
    let mut document = routes.into_openapi();
    add_refusals(&mut document);
    document
}

/// The whole HTTP side as one service.
pub fn router(state: ApiState) -> Router {
    guarded(state, open_routes(), protected_routes(), fallback)
}

/// The apps' side alone, without the page.
pub fn mobile_router(state: ApiState) -> Router {
    guarded(state, mobile_open_routes(), mobile_protected_routes(), async |request: Request| {
        not_found(&request)
    })
}

fn guarded<H, T>(
    state: ApiState,
    open: OpenApiRouter<ApiState>,
    protected: OpenApiRouter<ApiState>,
    fallback: H,
) -> Router
where
    H: Handler<T, ApiState>,
    T: 'static,
{
    let require = from_fn_with_state(state.clone(), auth::require);
    let routes: Router<ApiState> = open.merge(protected.route_layer(require)).into();
    // The last layer is the outermost: it sees a request first and its answer last.
    routes
        .fallback(fallback)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(state.clone(), guard::limits::enforce))
        .layer(from_fn_with_state(state.clone(), guard::check))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::Internal("a handler panicked".to_owned()).into_response()
        }))
        .layer(from_fn(observe::record))
        .layer(from_fn_with_state(state.clone(), guard::headers::add))
        .with_state(state)
}

fn not_found(request: &Request) -> ApiError {
    ApiError::NotFound(request.uri().path().chars().take(200).collect())
}

async fn fallback(request: Request) -> Response {
    page::serve(&request)
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::MethodNotAllowed(request.uri().path().chars().take(200).collect())
}
