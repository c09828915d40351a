//! One virtual vehicle: it drives, packs, sends, and forgets only what is acknowledged.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use avl_shared::fix::{Fix, UtcMillis};
use avl_shared::link::{self, ToCloud, ToVehicle, to_cloud, to_vehicle};
use avl_shared::sequence::Epoch;
use avl_shared::tls;
use bytes::BytesMut;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use rand::Rng as _;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::enrolment::Identity;
use super::mischief::Mischief;
use super::outbox::Outbox;
use crate::drive::{Drive, Reading};
use crate::oracle::truth::{self, Truth};
use crate::receiver::ublox;

/// Every certificate of the cloud has this name.
const SERVER_NAME: &str = "localhost";
/// A cloud that is gone is noticed within this time; tests kill it often.
const IDLE: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Between two attempts to connect, at most.
const BACKOFF_MS: u64 = 500;

/// How virtual vehicles drive and report.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub seed: u64,
    /// GNSS time of the first fix.
    pub start: UtcMillis,
    /// Fixes a second of GNSS time.
    pub rate_hz: u32,
    /// GNSS time passes so many times as fast as real time.
    pub speed_up: f64,
    /// Fixes in a batch.
    pub batch: usize,
    /// Parks by itself behind so many fixes.
    pub fixes: Option<u64>,
    /// Whether to remember every fix for the oracle. A fleet that drives for days without one should not.
    pub remember: bool,
}

/// How they send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Orderly,
    /// Some batches come twice, and some behind their successors.
    Mischievous,
}

#[derive(Debug, Default)]
struct Shared {
    readings: Mutex<Vec<Reading>>,
    emitted: AtomicU64,
    acknowledged: AtomicU64,
    linked: AtomicBool,
    parking: AtomicBool,
    park: Notify,
}

/// Dropping it takes it off the road.
#[derive(Debug)]
pub struct VirtualVehicle {
    name: String,
    shared: Arc<Shared>,
    parked: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl VirtualVehicle {
    /// # Errors
    /// When its certificate cannot be used.
    pub fn drive_off(
        name: &str,
        identity: &Identity,
        endpoint: Endpoint,
        link: SocketAddr,
        script: Script,
    ) -> anyhow::Result<Self> {
        Self::drive_off_to(name, identity, endpoint, &[link], script, Conduct::Orderly)
    }

    /// As [`VirtualVehicle::drive_off`], where several servers take it: it goes to the next when one sends it away.
    ///
    /// # Errors
    /// When its certificate cannot be used.
    pub fn drive_off_to(
        name: &str,
        identity: &Identity,
        endpoint: Endpoint,
        links: &[SocketAddr],
        script: Script,
        conduct: Conduct,
    ) -> anyhow::Result<Self> {
        let config = tls::link_client(identity.credentials.clone(), &identity.authorities)?;
        let config = quinn::crypto::rustls::QuicClientConfig::try_from(config)?;
        let mut config = ClientConfig::new(Arc::new(config));
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(Some(IDLE.try_into()?)).keep_alive_interval(Some(KEEP_ALIVE));
        config.transport_config(Arc::new(transport));

        let shared = Arc::new(Shared::default());
        let (parked_sender, parked) = watch::channel(false);
        let driver = Driver {
            drive: Drive::seeded(script.seed, script.start, script.rate_hz),
            outbox: Outbox::new(Epoch(rand::random())),
            script,
            shared: Arc::clone(&shared),
            unpacked: Vec::new(),
            mischief: (conduct == Conduct::Mischievous).then(|| Mischief::seeded(script.seed)),
        };
        let task = tokio::spawn(driver.run(endpoint, config, links.to_vec(), parked_sender));
        Ok(Self { name: name.to_owned(), shared, parked, task })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn emitted(&self) -> u64 {
        self.shared.emitted.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.shared.linked.load(Ordering::Relaxed)
    }

    /// Every fix it emitted, as its receiver would have printed it, if its script says to remember them.
    #[must_use]
    pub fn truth(&self) -> Vec<Truth> {
        let readings = self.shared.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let text: Vec<u8> = readings.iter().flat_map(ublox::print).collect();
        truth::read(&text)
    }

    /// No more fixes; what it holds is still sent.
    pub fn park(&self) {
        self.shared.parking.store(true, Ordering::Relaxed);
        self.shared.park.notify_one();
    }

    /// Returns when it has parked and everything it emitted is acknowledged.
    pub async fn parked(&self) {
        let _ = self.parked.clone().wait_for(|parked| *parked).await;
    }
}

impl Drop for VirtualVehicle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Driver {
    drive: Drive,
    outbox: Outbox,
    script: Script,
    shared: Arc<Shared>,
    /// Emitted, not yet in a batch.
    unpacked: Vec<Fix>,
    mischief: Option<Mischief>,
}

impl Driver {
    async fn run(
        mut self,
        endpoint: Endpoint,
        config: ClientConfig,
        links: Vec<SocketAddr>,
        parked: watch::Sender<bool>,
    ) {
        let mut clock = self.clock();
        // A fleet spreads over its servers.
        let mut next = rand::rng().random_range(0..links.len().max(1));
        while !self.is_done() {
            let Some(&link) = links.get(next % links.len().max(1)) else { break };
            next += 1;
            let connecting = endpoint.connect_with(config.clone(), link, SERVER_NAME);
            let connection = match connecting {
                // Time goes on while the link is down: the receiver prints.
                Ok(connecting) => self.meanwhile(&mut clock, connecting).await.ok(),
                Err(_) => None,
            };
            if let Some(connection) = connection {
                if let Err(error) = self.session(&mut clock, &connection).await {
                    tracing::debug!("virtual vehicle: {error:#}");
                }
                self.shared.linked.store(false, Ordering::Relaxed);
                connection.close(0_u32.into(), b"");
            }
            let pause = Duration::from_millis(rand::rng().random_range(0..BACKOFF_MS));
            if !self.is_done() {
                self.meanwhile(&mut clock, tokio::time::sleep(pause)).await;
            }
        }
        parked.send_replace(true);
    }

    fn clock(&self) -> tokio::time::Interval {
        let period = f64::from(self.drive.period_ms()) / 1000.0 / self.script.speed_up.max(0.001);
        let period = Duration::from_secs_f64(period.max(0.000_1));
        // Vehicles do not print in step with each other.
        let first = Instant::now() + period.mul_f64(rand::rng().random::<f64>());
        let mut clock = tokio::time::interval_at(first, period);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        clock
    }

    async fn meanwhile<F: Future>(&mut self, clock: &mut tokio::time::Interval, work: F) -> F::Output {
        tokio::pin!(work);
        loop {
            tokio::select! {
                output = &mut work => return output,
                _ = clock.tick(), if !self.is_parking() => self.emit(),
            }
        }
    }

    fn is_done(&self) -> bool {
        self.is_parking() && self.unpacked.is_empty() && self.outbox.is_empty()
    }

    fn is_parking(&self) -> bool {
        self.shared.parking.load(Ordering::Relaxed)
    }

    /// One fix; and when enough are together, or the vehicle parks, a batch.
    fn emit(&mut self) {
        if self.outbox.is_full() {
            return;
        }
        let Some(reading) = self.drive.next() else { return };
        self.unpacked.push(reading.fix());
        if self.script.remember {
            self.shared.readings.lock().unwrap_or_else(PoisonError::into_inner).push(reading);
        }
        let emitted = self.shared.emitted.fetch_add(1, Ordering::Relaxed) + 1;
        if self.script.fixes.is_some_and(|fixes| emitted >= fixes) {
            self.shared.parking.store(true, Ordering::Relaxed);
        }
        if self.unpacked.len() >= self.script.batch || self.is_parking() {
            self.pack();
        }
    }

    fn pack(&mut self) {
        let fixes = std::mem::take(&mut self.unpacked);
        if fixes.is_empty() {
            return;
        }
        if let Err(error) = self.outbox.push(fixes) {
            tracing::error!("virtual vehicle cannot pack its fixes: {error:#}");
        }
    }

    async fn session(
        &mut self,
        clock: &mut tokio::time::Interval,
        connection: &Connection,
    ) -> anyhow::Result<()> {
        let (mut control, answers) = connection.open_bi().await?;
        let mut answers = Answers { stream: answers, buffer: BytesMut::new() };
        let hello = ToCloud { message: Some(to_cloud::Message::Hello(self.outbox.hello())) };
        control.write_all(&link::frame_message(&hello)).await?;
        let first = self.meanwhile(clock, answers.next()).await?;
        let Some(to_vehicle::Message::Welcome(welcome)) = first.message else {
            anyhow::bail!("the first answer is not a Welcome: {first:?}")
        };
        // A Welcome speaks of the epoch that the Hello named.
        self.acknowledge(hello_epoch(&hello), &welcome.durable)?;
        self.shared.linked.store(true, Ordering::Relaxed);

        if let Some(mischief) = &mut self.mischief {
            mischief.forget();
        }
        let mut lane = connection.open_uni().await?;
        let mut wire = BytesMut::new();
        loop {
            if self.is_parking() {
                self.pack();
                if self.outbox.is_empty() {
                    lane.finish()?;
                    return Ok(());
                }
            }
            while let Some(frame) = self.outbox.next_frame(self.is_parking()) {
                match &mut self.mischief {
                    Some(mischief) => mischief.write(frame, &mut wire),
                    None => frame.write(&mut wire),
                }
            }
            let park = Arc::clone(&self.shared);
            tokio::select! {
                sent = send(&mut lane, &mut wire), if !wire.is_empty() => sent?,
                answer = answers.next() => self.heard(answer?)?,
                _ = clock.tick(), if !self.is_parking() => self.emit(),
                () = park.park.notified() => {}
            }
        }
    }

    fn heard(&mut self, answer: ToVehicle) -> anyhow::Result<()> {
        match answer.message.context("an empty message")? {
            to_vehicle::Message::Ack(ack) => self.acknowledge(ack.epoch, &ack.ranges),
            to_vehicle::Message::Draining(_) => anyhow::bail!("the cloud is draining"),
            to_vehicle::Message::Reject(reject) => {
                anyhow::bail!("the cloud refused a batch: {}", reject.reason)
            }
            to_vehicle::Message::Welcome(_) => anyhow::bail!("a second Welcome"),
            // Orders: these vehicles take none.
            _ => Ok(()),
        }
    }

    fn acknowledge(&mut self, epoch: u32, ranges: &[link::message::Range]) -> anyhow::Result<()> {
        let durable = link::ranges_from_message(ranges)?;
        let forgotten = self.outbox.acknowledge(epoch, &durable);
        self.shared.acknowledged.fetch_add(forgotten, Ordering::Relaxed);
        Ok(())
    }
}

fn hello_epoch(hello: &ToCloud) -> u32 {
    match &hello.message {
        Some(to_cloud::Message::Hello(hello)) => hello.epoch,
        _ => 0,
    }
}

/// Writes some of `wire`; cancelling it loses nothing.
async fn send(lane: &mut SendStream, wire: &mut BytesMut) -> anyhow::Result<()> {
    let count = lane.write(wire).await?;
    let _ = wire.split_to(count);
    Ok(())
}

struct Answers {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Answers {
    /// The next message; cancelling it loses nothing.
    async fn next(&mut self) -> anyhow::Result<ToVehicle> {
        loop {
            if let Some(message) = link::take_message(&mut self.buffer)? {
                return Ok(message);
            }
            let chunk =
                self.stream.read_chunk(4096, true).await?.context("the cloud closed the control stream")?;
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }
}
