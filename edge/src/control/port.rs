//! Where control and the uplink meet: what the cloud says goes one way, reports go the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use avl_shared::link::{Command, Configuration, ReportAck, to_vehicle};
use tokio::sync::{mpsc, watch};

use super::reports::{Feed, Reports};

/// Messages that wait for control. The cloud repeats on the next connection what does not fit.
const QUEUED: usize = 32;

/// What the cloud asks of this vehicle.
#[derive(Clone, Debug, PartialEq)]
pub enum Downlink {
    Command(Command),
    Configuration(Configuration),
    ReportAck(ReportAck),
}

/// The uplink's end; clones share it.
#[derive(Clone, Debug)]
pub struct Port {
    incoming: mpsc::Sender<Downlink>,
    reports: Reports,
    welcomes: Arc<watch::Sender<u64>>,
    config_version: Arc<AtomicU64>,
}

/// Control's end.
#[derive(Debug)]
pub struct Inbox {
    pub(super) incoming: mpsc::Receiver<Downlink>,
    /// Counts welcomes.
    pub(super) welcomes: watch::Receiver<u64>,
}

impl Port {
    #[must_use]
    pub fn new(reports: Reports, config_version: u64) -> (Self, Inbox) {
        let (incoming, queue) = mpsc::channel(QUEUED);
        let welcomes = watch::Sender::new(0);
        let inbox = Inbox { incoming: queue, welcomes: welcomes.subscribe() };
        let config_version = Arc::new(AtomicU64::new(config_version));
        (Self { incoming, reports, welcomes: Arc::new(welcomes), config_version }, inbox)
    }

    /// For the hello: the remote configuration in use.
    #[must_use]
    pub fn config_version(&self) -> u64 {
        self.config_version.load(Ordering::Relaxed)
    }

    /// The cloud has welcomed the vehicle.
    pub fn welcomed(&self) {
        self.welcomes.send_modify(|count| *count += 1);
    }

    /// Takes a message that is control's; gives back any other.
    ///
    /// # Errors
    /// The message, when it is none of control's.
    pub fn deliver(&self, message: to_vehicle::Message) -> Result<(), to_vehicle::Message> {
        let downlink = match message {
            to_vehicle::Message::Command(command) => Downlink::Command(command),
            to_vehicle::Message::Configuration(configuration) => Downlink::Configuration(configuration),
            to_vehicle::Message::ReportAck(ack) => Downlink::ReportAck(ack),
            other => return Err(other),
        };
        if self.incoming.try_send(downlink).is_err() {
            tracing::warn!(
                "the cloud sends orders faster than they are taken: dropped, it repeats them on the next connection"
            );
        }
        Ok(())
    }

    /// What to tell the cloud on one connection.
    #[must_use]
    pub fn feed(&self) -> Feed {
        self.reports.feed()
    }
}
