//! How much may be at work at one time, and for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::problem::ApiError;
use super::super::state::ApiState;

/// Until the answer begins. A streamed body may take longer: the connection's stall limit guards it.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Sheds what is over the limit instead of queueing it: whoever waits in a queue has often gone when it moves.
pub(crate) async fn enforce(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let _at_work = match permit(&state.requests, "requests at work (api.max_requests)") {
        Ok(permit) => permit,
        Err(error) => return error.into_response(),
    };
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::TimedOut(ANSWER_WITHIN.as_secs()).into_response(),
    }
}

/// The permit travels with the work and frees its place when the work is dropped.
pub(crate) fn permit(
    semaphore: &Arc<Semaphore>,
    what: &'static str,
) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(semaphore).try_acquire_owned().map_err(|_| ApiError::Busy(what))
}
