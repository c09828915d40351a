//! A whole period as one file, streamed: whatever its length, one page of rows is in memory.

use avl_shared::identity::VehicleKey;
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::super::guard::limits::permit;
use super::super::period::{Period, compact};
use super::super::problem::ApiError;
use super::super::state::ApiState;
use super::pages::Pages;
use crate::store::{Position, StoreError};

#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot be written as {format}: {cause}")]
    Write { format: &'static str, cause: String },
}

/// A file format that is written row by row.
pub(super) trait ExportFormat: Send + 'static {
    const MEDIA_TYPE: &'static str;
    const EXTENSION: &'static str;

    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ExportError>;
    fn rows(&mut self, rows: &[Position], out: &mut Vec<u8>) -> Result<(), ExportError>;
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ExportError>;
}

pub(super) fn respond<F: ExportFormat>(
    state: &ApiState,
    vehicle: &VehicleKey,
    period: Period,
    format: F,
) -> Result<Response, ApiError> {
    let permit = permit(&state.exports, "exports at one time (api.max_exports)")?;
    let name = file_name(vehicle, period, F::EXTENSION);
    let pages = Pages::new(state.store.clone(), vehicle.clone(), period);
    let export = Export { pages, format, stage: Stage::Begin, _permit: permit };
    let chunks = stream::try_unfold(export, |mut export| async move {
        match export.chunk().await {
            Ok(Some(chunk)) => Ok(Some((chunk, export))),
            Ok(None) => Ok(None),
            Err(error) => {
                // The status is long sent: the connection breaks off, so that nobody takes a part for the whole.
                tracing::error!(%error, "export broke off");
                Err(error)
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, F::MEDIA_TYPE.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// The permit frees its place when the reader has the file or has gone.
struct Export<F> {
    pages: Pages,
    format: F,
    stage: Stage,
    _permit: OwnedSemaphorePermit,
}

enum Stage {
    Begin,
    Rows,
    Done,
}

impl<F: ExportFormat> Export<F> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, ExportError> {
        let mut out = Vec::new();
        match self.stage {
            Stage::Begin => {
                self.format.begin(&mut out)?;
                self.stage = Stage::Rows;
            }
            Stage::Rows => {
                let rows = self.pages.next().await?;
                if rows.is_empty() {
                    self.format.end(&mut out)?;
                    self.stage = Stage::Done;
                } else {
                    self.format.rows(&rows, &mut out)?;
                }
            }
            Stage::Done => return Ok(None),
        }
        Ok(Some(out.into()))
    }
}

/// `acme_truck-7_20261122T000000Z_20261123T000000Z.csv`; ids hold nothing that a file name or a header could not.
fn file_name(vehicle: &VehicleKey, period: Period, extension: &str) -> String {
    let mut name = format!("{}_{}", vehicle.fleet, vehicle.vehicle);
    for (time, open) in [(period.from, "start"), (period.to, "now")] {
        name.push('_');
        name.push_str(&compact(time).unwrap_or_else(|| open.to_owned()));
    }
    format!("{name}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_vehicle_and_period() {
        let vehicle = "acme/truck-7".parse().unwrap();
        let period = Period { from: 1_795_336_200_040, ..Period::EVERYTHING };
        assert_eq!(file_name(&vehicle, period, "csv"), "acme_truck-7_20261122T083000Z_now.csv");
        assert_eq!(file_name(&vehicle, Period::EVERYTHING, "gpx"), "acme_truck-7_start_now.gpx");
    }
}
