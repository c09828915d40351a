//! What is said on the live stream.

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::shape::LiveVehicle;
use crate::live::LiveUpdate;
use crate::store::VehicleSummary;

/// A message from the server to a viewer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum LiveMessage {
    /// Every vehicle that has a position. It replaces all the viewer knew.
    Snapshot { vehicles: Vec<LiveVehicle> },
    /// The newest position of each vehicle that changed.
    Update { vehicles: Vec<LiveVehicle> },
    /// The viewer fell behind and missed updates; a snapshot follows.
    Resync,
}

impl LiveMessage {
    pub(super) fn snapshot(vehicles: &[VehicleSummary]) -> Self {
        let known = |summary: &VehicleSummary| {
            summary.newest.as_ref().map(|position| LiveVehicle::new(&summary.vehicle, position))
        };
        Self::Snapshot { vehicles: vehicles.iter().filter_map(known).collect() }
    }

    pub(super) fn update<'a>(updates: impl Iterator<Item = &'a LiveUpdate>) -> Self {
        Self::Update {
            vehicles: updates.map(|update| LiveVehicle::new(&update.vehicle, &update.position)).collect(),
        }
    }

    pub(super) fn to_text(&self) -> Result<Utf8Bytes, serde_json::Error> {
        serde_json::to_string(self).map(Utf8Bytes::from)
    }
}
