//! Orders to vehicles that come by the broker, and their answers.
//!
//! A connection is what QUIC delivers orders on; here it is a vehicle's last hello to this process, or the first sign of life that
//! this process has of it: after a restart vehicles go on without a word. A vehicle that has shown itself to another process
//! of the group gets its orders from that one too; it carries each out once.

use std::collections::HashMap;

use avl_shared::identity::VehicleKey;
use avl_shared::link::{to_cloud, to_vehicle};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::fleet::control::{Control, Delivery};

pub(super) struct Orders {
    control: Control,
    news: broadcast::Receiver<VehicleKey>,
    present: HashMap<VehicleKey, Delivery>,
    most: usize,
}

impl Orders {
    /// For at most `most` vehicles; beyond it all are forgotten, and come back with their next message.
    pub(super) fn new(control: &Control, most: usize) -> Self {
        Self { control: control.clone(), news: control.news(), present: HashMap::new(), most }
    }

    /// Vehicles that are present and may have new orders.
    pub(super) async fn changed(&mut self) -> Vec<VehicleKey> {
        loop {
            match self.news.recv().await {
                Ok(vehicle) if self.present.contains_key(&vehicle) => return vec![vehicle],
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return self.present.keys().cloned().collect(),
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    pub(super) fn is_present(&self, vehicle: &VehicleKey) -> bool {
        self.present.contains_key(vehicle)
    }

    /// It has said hello, and uses this configuration; or, without one, has only shown itself.
    pub(super) fn enter(&mut self, vehicle: &VehicleKey, config_version: Option<u64>) {
        if self.present.len() >= self.most {
            self.present.clear();
        }
        self.present.insert(vehicle.clone(), self.control.visit(vehicle, config_version));
    }

    /// What it is to be sent and was not yet. An order that cannot be read now is no reason to lose fixes.
    pub(super) async fn due(&mut self, vehicle: &VehicleKey) -> Vec<to_vehicle::Message> {
        let Some(delivery) = self.present.get_mut(vehicle) else { return Vec::new() };
        delivery.due().await.unwrap_or_else(|error| {
            tracing::warn!(%vehicle, %error, "orders are not delivered");
            Vec::new()
        })
    }

    /// Stores an answer and returns its receipt; what is not stored has none, and the vehicle repeats it.
    pub(super) async fn take(
        &mut self,
        vehicle: &VehicleKey,
        answer: to_cloud::Message,
    ) -> Option<to_vehicle::Message> {
        if !self.is_present(vehicle) {
            self.enter(vehicle, None);
        }
        match self.present.get_mut(vehicle)?.take(answer).await {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::warn!(%vehicle, %error, "a vehicle's answer is not stored");
                None
            }
        }
    }
}
