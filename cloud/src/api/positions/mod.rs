//! The positions of a vehicle in a period: pages of JSON, or a whole export as CSV or GPX.

mod csv;
mod export;
mod gpx;
mod pages;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor;
use super::extract::{Parameters, VehiclePath};
use super::period::Period;
use super::problem::{ApiError, Problem};
use super::shape::{PositionPage, PositionRow};
use super::state::ApiState;
use crate::store::PositionQuery;

const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PositionParameters {
    /// Start of the period, which belongs to it: RFC 3339. Default: the first fix.
    #[param(format = DateTime, example = "2026-11-22T00:00:00Z")]
    from: Option<String>,
    /// End of the period, which does not belong to it: RFC 3339. Default: open.
    #[param(format = DateTime, example = "2026-11-23T00:00:00Z")]
    to: Option<String>,
    /// `json` (default) in pages; `csv` or `gpx` as one file of the whole period.
    #[param(example = "json", pattern = "^(json|csv|gpx)$")]
    format: Option<String>,
    /// Rows of a JSON page, 1 to 10000. Default: 1000.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000, example = 1000)]
    limit: Option<String>,
    /// `next_cursor` of the page before; JSON only.
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Gpx,
}

impl Format {
    fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            None | Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("gpx") => Ok(Self::Gpx),
            Some(other) => Err(ApiError::UnknownFormat(other.chars().take(40).collect())),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Gpx => "gpx",
        }
    }
}

fn parse_limit(text: Option<&str>) -> Result<usize, ApiError> {
    let Some(text) = text else { return Ok(DEFAULT_LIMIT) };
    match text.parse() {
        Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        _ => Err(ApiError::BadLimit { value: text.chars().take(40).collect(), max: MAX_LIMIT }),
    }
}

/// Positions of one vehicle in a period
///
/// Ordered by (time, epoch, sequence), where the time of a fix without GNSS time is when it was received. Rows are
/// read page by page, so a late fix that arrives behind the reader during an export is not in that export.
#[utoipa::path(
    get,
    path = "/api/v1/vehicles/{fleet}/{vehicle}/positions",
    tag = "vehicles",
    operation_id = "getPositions",
    params(
        ("fleet" = String, Path, description = "Fleet id", example = "acme"),
        ("vehicle" = String, Path, description = "Vehicle id within the fleet", example = "truck-7"),
        PositionParameters,
    ),
    responses(
        (status = 200, description = "A page as JSON; or the whole period as CSV (a header row, the same columns as JSON, null is empty) or as GPX 1.1 (fixes with a position; speed in m/s and course in the Garmin TrackPointExtension v2)", content(
            (PositionPage = "application/json"),
            (String = "text/csv"),
            (String = "application/gpx+xml"),
        )),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such vehicle", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many exports at one time", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(state): State<ApiState>,
    VehiclePath(vehicle): VehiclePath,
    Parameters(parameters): Parameters<PositionParameters>,
) -> Result<Response, ApiError> {
    let format = Format::parse(parameters.format.as_deref())?;
    let period = Period::parse(parameters.from.as_deref(), parameters.to.as_deref())?;
    let limit = parse_limit(parameters.limit.as_deref())?;
    let after = parameters.cursor.as_deref().map(cursor::decode).transpose()?;
    for (parameter, given) in [("limit", &parameters.limit), ("cursor", &parameters.cursor)] {
        if format != Format::Json && given.is_some() {
            return Err(ApiError::NotWithExport { parameter, format: format.name() });
        }
    }
    if state.store.vehicle(&vehicle).await?.is_none() {
        return Err(ApiError::UnknownVehicle(vehicle));
    }
    match format {
        Format::Json => {
            let query = PositionQuery { vehicle, from: period.from, to: period.to, after, limit };
            json_page(&state, query).await.map(IntoResponse::into_response)
        }
        Format::Csv => export::respond(&state, &vehicle, period, csv::Csv),
        Format::Gpx => export::respond(&state, &vehicle, period, gpx::Gpx::new(&vehicle)),
    }
}

/// One row more than asked for tells whether there is a next page.
async fn json_page(state: &ApiState, query: PositionQuery) -> Result<Json<PositionPage>, ApiError> {
    let limit = query.limit;
    let mut rows = state.store.positions(PositionQuery { limit: limit + 1, ..query }).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor::encode(pages::cursor_of(row)));
    Ok(Json(PositionPage { positions: rows.iter().map(PositionRow::from).collect(), next_cursor }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_from_one_to_ten_thousand() {
        assert_eq!(parse_limit(None).unwrap(), 1000);
        assert_eq!(parse_limit(Some("10000")).unwrap(), 10_000);
        for bad in ["0", "10001", "-1", "many", "", "1e3"] {
            assert!(matches!(parse_limit(Some(bad)), Err(ApiError::BadLimit { .. })), "{bad:?}");
        }
    }
}
