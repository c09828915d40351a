//! The vehicles, and where each was last.

use axum::Json;
use axum::extract::State;

use super::extract::VehiclePath;
use super::problem::{ApiError, Problem};
use super::shape::{PositionRow, VehicleRow, Vehicles};
use super::state::ApiState;

/// All vehicles with their newest position
#[utoipa::path(
    get,
    path = "/api/v1/vehicles",
    tag = "vehicles",
    operation_id = "listVehicles",
    responses((status = 200, description = "Every vehicle that has ever connected", body = Vehicles))
)]
pub(crate) async fn list(State(state): State<ApiState>) -> Result<Json<Vehicles>, ApiError> {
    let mut vehicles: Vec<VehicleRow> = state.store.vehicles().await?.iter().map(VehicleRow::from).collect();
    vehicles.sort_by(|a, b| (&a.fleet, &a.vehicle).cmp(&(&b.fleet, &b.vehicle)));
    Ok(Json(Vehicles { vehicles }))
}

/// One vehicle with its newest position
#[utoipa::path(
    get,
    path = "/api/v1/vehicles/{fleet}/{vehicle}",
    tag = "vehicles",
    operation_id = "getVehicle",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
    ),
    responses(
        (status = 200, description = "The vehicle", body = VehicleRow),
        (status = 400, description = "Not a vehicle's name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(state): State<ApiState>,
    VehiclePath(vehicle): VehiclePath,
) -> Result<Json<VehicleRow>, ApiError> {
    let summary = state.store.vehicle(&vehicle).await?.ok_or(ApiError::UnknownVehicle(vehicle))?;
    Ok(Json(VehicleRow::from(&summary)))
}

/// The newest position of one vehicle
#[utoipa::path(
    get,
    path = "/api/v1/vehicles/{fleet}/{vehicle}/latest",
    tag = "vehicles",
    operation_id = "getLatestPosition",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
    ),
    responses(
        (status = 200, description = "The newest fix by time", body = PositionRow),
        (status = 400, description = "Not a vehicle's name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle, or no fix of it yet", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn latest(
    State(state): State<ApiState>,
    VehiclePath(vehicle): VehiclePath,
) -> Result<Json<PositionRow>, ApiError> {
    let Some(summary) = state.store.vehicle(&vehicle).await? else {
        return Err(ApiError::UnknownVehicle(vehicle));
    };
    let newest = summary.newest.ok_or(ApiError::NoPosition(vehicle))?;
    Ok(Json(PositionRow::from(&newest)))
}
