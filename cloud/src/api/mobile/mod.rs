//! For apps on phones: little to send, little to receive, and nothing again that is known already.

mod delta;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::delta::Known;
use super::extract::Parameters;
use super::problem::ApiError;
use super::state::ApiState;
use crate::store::{Position, VehicleSummary};

/// Protected, like the rest of the API.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(vehicles)).routes(routes!(positions))
}

/// The vehicles that the caller may see.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MobileVehicles {
    /// `fleet/vehicle`, in order.
    #[schema(example = json!(["acme/truck-7"]))]
    vehicles: Vec<String>,
}

/// My vehicles
#[utoipa::path(
    get,
    path = "/mobile/v1/vehicles",
    tag = "mobile",
    operation_id = "listMobileVehicles",
    responses((status = 200, description = "Names only", body = MobileVehicles))
)]
pub(crate) async fn vehicles(State(state): State<ApiState>) -> Result<Json<MobileVehicles>, ApiError> {
    let mut vehicles: Vec<String> =
        state.store.vehicles().await?.iter().map(|summary| summary.vehicle.to_string()).collect();
    vehicles.sort_unstable();
    Ok(Json(MobileVehicles { vehicles }))
}

/// The newest position of one vehicle, in few bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MobilePosition {
    /// `fleet/vehicle`.
    #[schema(example = "acme/truck-7")]
    v: String,
    /// GNSS time, or of receipt where the fix has none: milliseconds since 1970-01-01 UTC.
    #[schema(example = 1_763_800_200_040_i64)]
    t: i64,
    /// Latitude and longitude in degrees, WGS 84, to a decimetre.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!([37.426394, -122.080583]))]
    p: Option<[f64; 2]>,
    /// Speed over ground in metres per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 18.5)]
    s: Option<f64>,
    /// Course over ground in whole degrees from true north.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 271)]
    c: Option<f64>,
    /// Whether the ignition is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = true)]
    i: Option<bool>,
}

/// Positions since a token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MobilePositions {
    /// For `since` of the next request, to any process and at any time.
    #[schema(example = "AV3q8QA")]
    token: String,
    /// Whether this is everything: forget what you had.
    full: bool,
    positions: Vec<MobilePosition>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Since {
    /// `token` of the answer before; without it, or with one that is not understood, everything is sent.
    since: Option<String>,
}

/// The newest positions, as far as they have changed
///
/// Gives everything at first, and with `since` only vehicles with a newer position (now and then also one without). With
/// `If-None-Match` of the `ETag` before: 304 and no body when nothing has changed.
#[utoipa::path(
    get,
    path = "/mobile/v1/positions",
    tag = "mobile",
    operation_id = "getMobilePositions",
    params(Since),
    responses(
        (status = 200, description = "What has changed", body = MobilePositions),
        (status = 304, description = "Nothing has changed"),
    )
)]
pub(crate) async fn positions(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Parameters(Since { since }): Parameters<Since>,
) -> Result<Response, ApiError> {
    let vehicles = state.store.vehicles().await?;
    let now = Known::of(&vehicles);
    let tag = now.tag();
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let known = since.as_deref().and_then(Known::read).filter(|known| known.is_comparable(&now));
    let changed = |vehicle: &&VehicleSummary| known.as_ref().is_none_or(|known| known.differs(&now, vehicle));
    let positions = vehicles.iter().filter(changed).filter_map(position).collect();
    let answer = MobilePositions { token: now.token(), full: known.is_none(), positions };
    Ok((caching, Json(answer)).into_response())
}

fn position(summary: &VehicleSummary) -> Option<MobilePosition> {
    let newest: &Position = summary.newest.as_ref()?;
    let fix = &newest.fix;
    let place = fix.latitude_degrees().zip(fix.longitude_degrees());
    Some(MobilePosition {
        v: summary.vehicle.to_string(),
        t: newest.time(),
        p: place.map(|(latitude, longitude)| [rounded(latitude, 1e6), rounded(longitude, 1e6)]),
        s: fix.speed_mps().map(|speed| rounded(speed, 10.0)),
        c: fix.course_degrees().map(f64::round),
        i: fix.inputs.map(|inputs| inputs & 1 == 1),
    })
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
