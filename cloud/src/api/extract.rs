//! Path and query parameters, refused with a problem that says how to write them.

use avl_shared::identity::VehicleKey;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::ApiError;

/// `{fleet}/{vehicle}` of the path.
pub(crate) struct VehiclePath(pub(crate) VehicleKey);

impl<S: Send + Sync> FromRequestParts<S> for VehiclePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((fleet, vehicle)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::BadParameters(rejection.body_text()))?;
        Ok(Self(VehicleKey { fleet: fleet.parse()?, vehicle: vehicle.parse()? }))
    }
}

pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::BadParameters(rejection.body_text()))?;
        Ok(Self(value))
    }
}
