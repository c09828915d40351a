//! Orders to vehicles: commands, configurations, releases; and what the vehicles answer.
//!
//! What it promises: an order is durable before anybody is told that it was given; it is delivered on every connection of
//! its vehicle until it is settled or expired, and at once while the vehicle is connected; an answer is durable before the
//! vehicle is told to forget it, and told twice it is stored once. How messages travel is not its concern: a transport
//! holds a [`Delivery`] for each connection and moves messages. Orders may come from another process (`avl-cloud
//! command`): the store is looked at every second.

mod action;
#[cfg(test)]
mod conformance;
mod delivery;
mod files;
mod postgres;
pub mod releases;
mod sqlite;
mod table;

#[cfg(test)]
mod tests;

pub(super) use releases::postgres::keep as keep_file;

pub use action::{Action, BadAction};
pub use delivery::Delivery;
pub use files::{ReleaseFiles, router as release_router};
pub use table::{CommandRecord, ConfigurationRecord, ResultRecord};

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::interval;

use super::StorageError;
use super::database::FleetDatabase;
use crate::store::sqlite::OpenError;
use crate::time::now_utc;
use table::OrderTable;

/// How soon a command given by another process is on its way.
const LOOK: Duration = Duration::from_secs(1);

/// Who falls behind by more than this looks after all its vehicles at once.
const UNHEARD_NEWS: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("orders cannot be read or written: {0}")]
    Storage(#[from] StorageError),
    #[error(
        "vehicle {0} is not known here: it must have connected once; names are in 'GET /api/v1/vehicles'"
    )]
    UnknownVehicle(VehicleKey),
    #[error("{vehicle} has {limit} orders waiting already: wait until it connects, or until they expire")]
    TooMany { vehicle: VehicleKey, limit: u32 },
    #[error("vehicle {vehicle} has no command {id}: 'GET …/commands' lists them")]
    UnknownCommand { vehicle: VehicleKey, id: String },
    #[error("{0}")]
    BadConfiguration(String),
    #[error(transparent)]
    Release(#[from] releases::ReleaseError),
    #[error("the server is shutting down")]
    Stopped,
}

impl From<OpenError> for ControlError {
    fn from(error: OpenError) -> Self {
        StorageError::from(error).into()
    }
}

impl From<rusqlite::Error> for ControlError {
    fn from(error: rusqlite::Error) -> Self {
        StorageError::from(error).into()
    }
}

impl From<tokio_postgres::Error> for ControlError {
    fn from(error: tokio_postgres::Error) -> Self {
        StorageError::from(error).into()
    }
}

/// Cloning shares it.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    table: Box<dyn OrderTable>,
    /// Who is connected, to be told of a new order.
    connected: Mutex<HashMap<VehicleKey, Arc<Notify>>>,
    /// Whom new orders are for.
    news: broadcast::Sender<VehicleKey>,
    /// TCP port of the listener that serves releases; 0: the link's number.
    release_port: AtomicU32,
}

impl Control {
    /// Opens the tables in the store's file, and makes them when they are missing.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(store: &Path) -> Result<Self, ControlError> {
        Ok(Self::over(Box::new(sqlite::SqliteOrders::open(store)?)))
    }

    /// In the database that processes share.
    #[must_use]
    pub fn shared(database: &FleetDatabase) -> Self {
        Self::over(Box::new(postgres::PostgresOrders(database.clone())))
    }

    fn over(table: Box<dyn OrderTable>) -> Self {
        let shared = Shared {
            table,
            connected: Mutex::default(),
            news: broadcast::Sender::new(UNHEARD_NEWS),
            release_port: AtomicU32::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Told to vehicles with an update.
    pub fn serve_releases_at(&self, port: u16) {
        self.shared.release_port.store(u32::from(port), Ordering::Relaxed);
    }

    /// Gives an order; durable when it returns.
    ///
    /// # Errors
    /// When the vehicle is unknown or has too many orders waiting, or a release is missing.
    pub async fn order(
        &self,
        vehicle: &VehicleKey,
        action: Action,
        life: Duration,
    ) -> Result<CommandRecord, ControlError> {
        let given = self.table().order(vehicle, &action, life, now_utc()).await?;
        self.tell(vehicle);
        Ok(given)
    }

    /// Lays `toml` over the vehicle's own configuration; durable when it returns.
    ///
    /// # Errors
    /// When the vehicle is unknown, or `toml` is none.
    pub async fn configure(
        &self,
        vehicle: &VehicleKey,
        toml: String,
    ) -> Result<ConfigurationRecord, ControlError> {
        let given = self.table().configure(vehicle, &toml, now_utc()).await?;
        self.tell(vehicle);
        Ok(given)
    }

    /// The newest first, at most `limit`.
    ///
    /// # Errors
    /// When the vehicle is unknown.
    pub async fn commands(
        &self,
        vehicle: &VehicleKey,
        limit: u32,
    ) -> Result<Vec<CommandRecord>, ControlError> {
        self.table().commands(vehicle, limit).await
    }

    /// # Errors
    /// When the vehicle has no such command.
    pub async fn command(&self, vehicle: &VehicleKey, id: &str) -> Result<CommandRecord, ControlError> {
        self.table().command(vehicle, id).await
    }

    /// What a command brought, once it is all here.
    ///
    /// # Errors
    /// When the vehicle has no such command.
    pub async fn result(&self, vehicle: &VehicleKey, id: &str) -> Result<Option<ResultRecord>, ControlError> {
        self.table().result(vehicle, id).await
    }

    /// The newest configuration that was ordered.
    ///
    /// # Errors
    /// When the vehicle is unknown.
    pub async fn configuration(
        &self,
        vehicle: &VehicleKey,
    ) -> Result<Option<ConfigurationRecord>, ControlError> {
        self.table().configuration(vehicle).await
    }

    /// For one connection of a vehicle, which uses the configuration of this version.
    #[must_use]
    pub fn connect(&self, vehicle: &VehicleKey, config_version: u64) -> Delivery {
        let notify = Arc::new(Notify::new());
        // What waits already.
        notify.notify_one();
        self.connected().insert(vehicle.clone(), Arc::clone(&notify));
        Delivery::new(self.clone(), vehicle.clone(), Some(config_version), notify)
    }

    /// For a transport without connections: what is due now, and where answers go. Who wants to know of new orders
    /// [listens](Self::news). The version of the configuration in use, where the vehicle has told it.
    #[must_use]
    pub fn visit(&self, vehicle: &VehicleKey, config_version: Option<u64>) -> Delivery {
        Delivery::new(self.clone(), vehicle.clone(), config_version, Arc::new(Notify::new()))
    }

    /// Looks for orders of other processes, and ends those whose time is over, until `stop` becomes true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut look = interval(LOOK);
        let bell = self.table().bell();
        let mut seen = None;
        loop {
            tokio::select! {
                _ = stop.wait_for(|&stop| stop) => return,
                _ = look.tick() => {}
                () = bell.rung() => {}
            }
            match self.table().fresh(seen, now_utc()).await {
                Ok((vehicles, now_seen)) => {
                    if seen.replace(now_seen).is_none() {
                        // What came before this first look, and after a vehicle had connected.
                        let connected: Vec<VehicleKey> = self.connected().keys().cloned().collect();
                        connected.iter().for_each(|vehicle| self.tell(vehicle));
                    }
                    vehicles.iter().for_each(|vehicle| self.tell(vehicle));
                }
                Err(error) => tracing::warn!(%error, "orders cannot be looked at; trying again"),
            }
        }
    }

    /// Vehicles that may have new orders, for transports without connections.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<VehicleKey> {
        self.shared.news.subscribe()
    }

    fn tell(&self, vehicle: &VehicleKey) {
        // Nobody may be listening.
        let _ = self.shared.news.send(vehicle.clone());
        if let Some(notify) = self.connected().get(vehicle) {
            notify.notify_one();
        }
    }

    fn disconnect(&self, vehicle: &VehicleKey, notify: &Arc<Notify>) {
        let mut connected = self.connected();
        if connected.get(vehicle).is_some_and(|current| Arc::ptr_eq(current, notify)) {
            connected.remove(vehicle);
        }
    }

    fn release_port(&self) -> u32 {
        self.shared.release_port.load(Ordering::Relaxed)
    }

    fn connected(&self) -> MutexGuard<'_, HashMap<VehicleKey, Arc<Notify>>> {
        self.shared.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> &dyn OrderTable {
        &*self.shared.table
    }
}

/// An id that sorts by time and that nobody guesses.
fn new_id(now: UtcMillis) -> String {
    format!("{now:011x}-{:08x}", rand::random::<u32>())
}
