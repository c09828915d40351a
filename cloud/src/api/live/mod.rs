//! The live stream: a WebSocket that shows every vehicle now and then what changes.
//!
//! A viewer subscribes to the hub before it reads the store, so nothing falls between snapshot and updates. What
//! changed is gathered to one frame for at least a tenth of a second, made into JSON once, and shared by all
//! viewers. A viewer that falls behind loses frames and gets a new snapshot instead; one that does not read at all
//! is disconnected. Nothing a viewer does slows the processor or another viewer.

pub(crate) mod hub;
mod messages;
mod viewer;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;

use super::auth::Caller;
use super::guard::limits::permit;
use super::problem::{ApiError, Problem};
use super::state::ApiState;

pub(crate) use self::messages::LiveMessage;

/// Viewers have nothing to say; control frames are at most 125 bytes.
const MAX_MESSAGE_BYTES: usize = 1024;

/// The live stream (WebSocket)
///
/// After the upgrade the server sends JSON text messages (LiveMessage) and takes none:
/// first `snapshot` with every vehicle that has a position, then `update` with the newest position of each vehicle
/// that changed, at most ten messages a second. `resync` says that this viewer fell behind; a new `snapshot` follows.
/// An update may repeat what a snapshot had: keep the position with the later time. The server pings every 20 s and
/// closes with 1001 when it shuts down, 1008 when the session has expired, and without a close frame when the
/// viewer does not read for 10 s or does not answer for 50 s.
/// A browser's `Origin` must be this server's own.
#[utoipa::path(
    get,
    path = "/api/v1/live",
    tag = "live",
    operation_id = "live",
    responses(
        (status = 101, description = "The stream begins; each text message is a LiveMessage", body = LiveMessage),
        (status = 403, description = "The page of another site asks", body = Problem, content_type = "application/problem+json"),
        (status = 426, description = "Not a WebSocket handshake", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many viewers, or shutting down", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| ApiError::NotAWebSocket(rejection.body_text()))?;
    if *state.draining.borrow() {
        return Err(ApiError::Draining);
    }
    let permit = permit(&state.viewers, "viewers (api.max_viewers)")?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| viewer::serve(socket, state, caller, permit)))
}
