//! Orders and answers of one connection, whatever it is made of.

use std::collections::HashSet;
use std::sync::Arc;

use avl_shared::identity::VehicleKey;
use avl_shared::link::{Command, Configuration, ReportAck, command, to_cloud, to_vehicle};
use tokio::sync::Notify;

use super::{Control, ControlError};
use crate::time::now_utc;

/// Held for as long as the connection lasts.
pub struct Delivery {
    control: Control,
    vehicle: VehicleKey,
    /// The configuration that the vehicle uses, as its hello said; `None` when its hello was not heard here.
    config_version: Option<u64>,
    /// What this connection has been sent: commands by their id, the configuration by its version.
    sent: HashSet<String>,
    config_sent: u64,
    notify: Arc<Notify>,
}

impl Delivery {
    pub(super) fn new(
        control: Control,
        vehicle: VehicleKey,
        config_version: Option<u64>,
        notify: Arc<Notify>,
    ) -> Self {
        Self { control, vehicle, config_version, sent: HashSet::new(), config_sent: 0, notify }
    }

    /// Resolves when [`Delivery::due`] may have something; at once on a new connection.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }

    /// What is to be sent on this connection and was not yet.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn due(&mut self) -> Result<Vec<to_vehicle::Message>, ControlError> {
        let (commands, configuration) = self.control.table().open_orders(&self.vehicle, now_utc()).await?;
        let mut due = Vec::new();
        if let Some((version, toml, settled)) = configuration {
            // A vehicle that was reflashed does not have what it had applied.
            let expected = if toml.trim().is_empty() { 0 } else { version };
            let in_use = self.config_version.is_none_or(|used| used == expected);
            if self.config_sent != version && !(settled && in_use) {
                self.config_sent = version;
                due.push(to_vehicle::Message::Configuration(Configuration { version, toml }));
            }
        }
        for mut order in commands {
            if self.sent.insert(order.id.clone()) {
                self.address(&mut order);
                due.push(to_vehicle::Message::Command(order));
            }
        }
        let sent: Vec<String> = self.sent.iter().cloned().collect();
        if !due.is_empty() {
            self.control.table().sent(&self.vehicle, sent, self.config_sent, now_utc()).await?;
        }
        Ok(due)
    }

    /// Stores an answer; when it returns, the vehicle may be told to forget it. `None` for a message that is no answer.
    ///
    /// # Errors
    /// When it is not stored: the vehicle repeats it.
    pub async fn take(
        &mut self,
        message: to_cloud::Message,
    ) -> Result<Option<to_vehicle::Message>, ControlError> {
        let table = self.control.table();
        let receipt = match message {
            to_cloud::Message::CommandResult(result) => {
                let receipt = result.receipt;
                table.take_result(&self.vehicle, result, now_utc()).await?;
                receipt
            }
            to_cloud::Message::ConfigState(state) => {
                let receipt = state.receipt;
                self.config_version = Some(state.version);
                table.take_config_state(&self.vehicle, state, now_utc()).await?;
                receipt
            }
            _ => return Ok(None),
        };
        Ok(Some(to_vehicle::Message::ReportAck(ReportAck { receipts: vec![receipt] })))
    }

    /// Where a release is served may have changed since the order was given.
    fn address(&self, order: &mut Command) {
        if let Some(command::Action::Update(update)) = &mut order.action {
            update.port = self.control.release_port();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.control.disconnect(&self.vehicle, &self.notify);
    }
}
