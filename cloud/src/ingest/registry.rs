//! Which vehicle is on which connection: one each, the newest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use avl_shared::identity::VehicleKey;
use quinn::Connection;

use super::close::CloseReason;

#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    connected: Arc<Mutex<HashMap<VehicleKey, Connection>>>,
}

/// Takes the vehicle off the registry when its session ends, unless a newer one has its place.
pub(super) struct Registered {
    registry: Registry,
    vehicle: VehicleKey,
    connection: usize,
}

impl Registry {
    /// A vehicle that lost its network comes back before the cloud has noticed; its old connection is closed.
    pub(super) fn enter(&self, vehicle: &VehicleKey, connection: &Connection) -> Registered {
        let older = self.lock().insert(vehicle.clone(), connection.clone());
        if let Some(older) = older {
            CloseReason::Replaced.close(&older);
        }
        Registered { registry: self.clone(), vehicle: vehicle.clone(), connection: connection.stable_id() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<VehicleKey, Connection>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut connected = self.registry.lock();
        if connected.get(&self.vehicle).is_some_and(|current| current.stable_id() == self.connection) {
            connected.remove(&self.vehicle);
        }
    }
}
