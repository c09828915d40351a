//! Accepts connections and runs a session for each.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use quinn::{Endpoint, Incoming, VarInt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::admission::{Admission, Gate};
use super::framing::MAX_RESERVATION;
use super::mqtt::{MakeTls, MqttIngest, MqttSettings};
use super::quota::Quotas;
use super::registry::Registry;
use super::session::{self, Context};
use super::settings::IngestSettings;
use crate::fleet::control::Control;
use crate::fleet::deny::Deny;
use crate::journal::Journal;
use crate::meters;
use crate::store::Store;

/// The ingest side of the cloud.
pub struct Ingest {
    endpoint: Endpoint,
    context: Arc<Context>,
    gate: Arc<Mutex<Gate>>,
}

impl Ingest {
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        journal: Arc<dyn Journal>,
        store: Arc<dyn Store>,
        control: Control,
        deny: Deny,
        settings: IngestSettings,
    ) -> Self {
        let gate = Arc::new(Mutex::new(Gate::new(&settings)));
        let memory = settings.max_bytes_in_flight.clamp(2 * MAX_RESERVATION, Semaphore::MAX_PERMITS);
        let context = Context {
            journal,
            store,
            control,
            memory: Arc::new(Semaphore::new(memory)),
            registry: Registry::default(),
            deny,
            quotas: Quotas::new(&settings),
            settings,
        };
        Self { endpoint, context: Arc::new(context), gate }
    }

    /// The intake by MQTT, on the same journal and within the same memory.
    #[must_use]
    pub fn mqtt(&self, settings: MqttSettings, broker: (String, u16), tls: MakeTls) -> MqttIngest {
        MqttIngest::new(Arc::clone(&self.context), settings, broker, tls)
    }

    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Serves until `stop` becomes true; then nobody new is taken, and every session acknowledges what is durable
    /// and says goodbye.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut sessions = JoinSet::new();
        let stopped = stop.clone();
        loop {
            tokio::select! {
                _ = stop.wait_for(|&stop| stop) => break,
                Some(_) = sessions.join_next() => {}
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, &mut sessions, &stopped),
                    None => break,
                },
            }
        }
        self.endpoint.set_server_config(None);
        let everybody_left = async { while sessions.join_next().await.is_some() {} };
        // Each session limits itself; this is for the case that one does not.
        if timeout(self.context.settings.drain_timeout * 2, everybody_left).await.is_err() {
            tracing::warn!("some vehicles did not take their last acknowledgement in time");
        }
        self.endpoint
            .close(VarInt::from_u32(super::CloseReason::Draining.code()), b"server is stopping: reconnect");
        let _ = timeout(self.context.settings.drain_timeout, self.endpoint.wait_idle()).await;
    }

    fn admit(&self, incoming: Incoming, sessions: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        let address = incoming.remote_address().ip();
        let validated = incoming.remote_address_validated() || !incoming.may_retry();
        let admission = lock(&self.gate).knock(address, validated);
        match admission {
            Admission::Accept => {
                let place = Handshake { gate: Arc::clone(&self.gate), address, connected: false };
                let (context, stop) = (Arc::clone(&self.context), stop.clone());
                sessions.spawn(serve(incoming, place, context, stop));
            }
            Admission::Retry => {
                count("retried");
                // Cannot fail: only asked of addresses that may retry.
                let _ = incoming.retry();
            }
            Admission::Refuse => {
                count("refused");
                incoming.refuse();
            }
        }
    }
}

async fn serve(incoming: Incoming, mut place: Handshake, context: Arc<Context>, stop: watch::Receiver<bool>) {
    let address = incoming.remote_address();
    let handshake = async { incoming.accept()?.await };
    let connection = match timeout(context.settings.hello_timeout, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            count("failed");
            tracing::info!(%address, %error, "vehicle refused at the handshake");
            return;
        }
        Err(_) => {
            count("failed");
            tracing::info!(%address, "handshake not finished in time");
            return;
        }
    };
    count("accepted");
    let _place = place.connected();
    session::serve(connection, &context, stop).await;
}

fn count(outcome: &'static str) {
    metrics::counter!(meters::INGEST_HANDSHAKES, "outcome" => outcome).increment(1);
}

fn lock(gate: &Mutex<Gate>) -> std::sync::MutexGuard<'_, Gate> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place at the gate, given back when dropped.
struct Handshake {
    gate: Arc<Mutex<Gate>>,
    address: IpAddr,
    connected: bool,
}

struct Connected {
    gate: Arc<Mutex<Gate>>,
}

impl Handshake {
    fn connected(&mut self) -> Connected {
        self.connected = true;
        let mut gate = lock(&self.gate);
        gate.handshake_ended(self.address, true);
        show(&gate);
        Connected { gate: Arc::clone(&self.gate) }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if !self.connected {
            lock(&self.gate).handshake_ended(self.address, false);
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut gate = lock(&self.gate);
        gate.connection_ended();
        show(&gate);
    }
}

#[allow(clippy::cast_precision_loss)]
fn show(gate: &Gate) {
    metrics::gauge!(meters::INGEST_CONNECTIONS).set(gate.connections() as f64);
}
