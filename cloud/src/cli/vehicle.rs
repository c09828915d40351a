//! Which vehicle an operator means.

use avl_cloud::audit::find;
use avl_shared::identity::{FleetId, VehicleKey};

use super::place::Place;

/// `FLEET/VEHICLE`, or a vehicle that is in one fleet only.
pub(super) async fn named(
    place: &Place,
    fleet: Option<&FleetId>,
    vehicle: &str,
) -> anyhow::Result<VehicleKey> {
    Ok(match (fleet, vehicle.contains('/')) {
        (Some(fleet), false) => VehicleKey { fleet: fleet.clone(), vehicle: vehicle.parse()? },
        (_, true) => vehicle.parse()?,
        (None, false) => find(&vehicle.parse()?, &*place.store().await?).await?,
    })
}
