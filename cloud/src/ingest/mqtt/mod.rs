//! Vehicles that come by an MQTT broker: the same messages, verified, journaled and acknowledged as on QUIC.
//!
//! What it promises: the broker is released from a message only when the journal has it on disk, so nothing is lost when
//! this process or its machine ends; what is taken from the broker at one time is bounded (its receive maximum, and the memory
//! that all vehicles share), and beyond it the broker holds back; a message that can never be taken is counted,
//! logged and released, and blocks nobody. What it does not do: judge who may publish where. That is the
//! broker's part (`deploy/mosquitto`).
//!
//! A group of processes shares the vehicles' messages by a shared subscription. Its broker must speak MQTT 5.

mod answers;
mod client;
mod intake;
mod orders;
mod settings;

pub use settings::{MqttSettings, MqttSettingsError};

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use self::answers::Answers;
use self::client::Lost;
use self::intake::Intake;
use self::orders::Orders;
use super::session::Context;
use crate::meters;

/// Waits between attempts double from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A connection that lasted this long begins a new count.
const STABLE: Duration = Duration::from_secs(60);
/// For our last releases and the goodbye to leave.
const CLOSING: Duration = Duration::from_secs(2);
/// Beside the receive maximum: messages that their senders do not want acknowledged.
const UNACKNOWLEDGED_ARRIVALS: usize = 64;

/// Makes the TLS configuration of a connection: certificates are renewed while the process runs.
pub type MakeTls = Box<dyn Fn() -> anyhow::Result<ClientConfig> + Send + Sync>;

/// The MQTT side of the cloud.
pub struct MqttIngest {
    context: Arc<Context>,
    settings: MqttSettings,
    host: String,
    port: u16,
    tls: MakeTls,
}

impl MqttIngest {
    pub(super) fn new(
        context: Arc<Context>,
        settings: MqttSettings,
        (host, port): (String, u16),
        tls: MakeTls,
    ) -> Self {
        Self { context, settings, host, port, tls }
    }

    /// Serves until `stop` becomes true; then what has arrived becomes durable and is acknowledged. A broker that is away is
    /// waited for: vehicles have QUIC meanwhile, and their buffers.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut answers = Answers::new(self.context.settings.ack_interval, self.settings.max_waiting);
        let mut orders = Orders::new(&self.context.control, self.settings.max_waiting);
        let mut failures = 0_u32;
        loop {
            let since = Instant::now();
            let outcome = self.serve(&mut answers, &mut orders, stop.clone()).await;
            metrics::gauge!(meters::MQTT_CONNECTED).set(0.0);
            let Err(lost) = outcome else { return };
            if since.elapsed() >= STABLE {
                failures = 0;
            }
            let ceiling = FIRST_WAIT.saturating_mul(1 << failures.min(16)).min(LONGEST_WAIT);
            let wait = ceiling.mul_f64(rand::rng().random_range(0.5..=1.0));
            failures += 1;
            tracing::warn!(broker = self.host, port = self.port, ?wait, "no MQTT: {lost:#}");
            tokio::select! {
                _ = stop.wait_for(|&stop| stop) => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// One connection to the broker, to its end.
    async fn serve(
        &self,
        answers: &mut Answers,
        orders: &mut Orders,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let (outbox, mut events) = client::open(&self.settings, &self.host, self.port, (self.tls)()?);
        let (arrivals, arrived) =
            mpsc::channel(usize::from(self.settings.receive_maximum) + UNACKNOWLEDGED_ARRIVALS);
        let most_pending = usize::from(self.settings.receive_maximum);
        let pump = client::pump(&mut events, &outbox, &self.settings, &arrivals);
        let working =
            Intake::new(&self.context, outbox.clone(), answers, orders, most_pending).run(arrived, stop);
        tokio::pin!(pump);
        let worked = tokio::select! {
            lost = &mut pump => return Ok(lost?),
            worked = working => worked,
        };
        // What the worker handed over last must still leave.
        let leaving = async {
            tokio::join!(outbox.close(), async {
                let _: Result<(), Lost> = pump.await;
            });
        };
        let _ = timeout(CLOSING, leaving).await;
        Ok(worked?)
    }
}
