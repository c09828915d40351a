//! The HTTP side: REST, exports, the live stream, sign-in, and the web page.
//!
//! It reads the store and the live feed and writes neither; orders to vehicles are all that it writes. Everything but health, sign-in and the static page
//! needs the API token or a session cookie; a route is protected unless it is registered as open (`router.rs`).
//! Whatever a client does is bounded: connections, requests at work, exports, viewers, header and body sizes,
//! and the time each of them may take. Errors are `application/problem+json` (RFC 9457).
//!
//! The OpenAPI 3.1 document is made from the same code that serves the routes, see [`openapi()`].

mod auth;
mod completeness;
mod cursor;
mod document;
mod extract;
mod guard;
mod live;
mod mobile;
mod observe;
mod operation;
mod orders;
mod page;
mod period;
mod positions;
mod problem;
mod router;
mod server;
mod settings;
mod shape;
mod sign_in;
mod state;
mod vehicles;

#[cfg(test)]
mod tests;

pub use auth::secret::SecretError;
pub use observe::install_metrics;
pub use router::{mobile_openapi, mobile_router, openapi, router};
pub use server::serve_routes;
pub use settings::{ApiSettings, SettingsError};
pub use sign_in::{AskError, SignInLink, ask_for_link};
pub use state::{ApiState, ApiStateError};
