//! One vehicle on one connection: hello, welcome, then batches and declarations in, acknowledgements out.
//!
//! Completion comes before intake: what has become durable is settled before more is read, and no more than
//! [`MAX_PENDING`] appends wait for the disk, so a vehicle that sends faster than the disk writes is slowed down by
//! QUIC's flow control. Appends become durable in the order in which they came, so an acknowledgement that is asked
//! for with a batch covers everything sent before it on its lane; between lanes there is no order.

use std::sync::Arc;
use std::time::Duration;

use avl_shared::identity::VehicleKey;
use avl_shared::link::{
    Ack, DeclareLost, Draining, Hello, Reject, ToVehicle, frame_message, ranges_to_message, to_cloud,
    to_vehicle,
};
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use prost::Message;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::acks::AckPolicy;
use super::close::CloseReason;
use super::framing::{Control, FrameReader, Lane, ReadFailure};
use super::greeting::{Heard, MAX_RANGES, agent, hear, identify, welcome};
use super::quota::{Quota, Quotas};
use super::registry::{Registered, Registry};
use super::settings::IngestSettings;
use super::verify::{Verified, known, lost_ranges, verify};
use crate::fleet::control::{Control as Orders, Delivery};
use crate::fleet::deny::Deny;
use crate::journal::{Journal, JournalError, Kind, Record, Transport};
use crate::meters;
use crate::store::Store;
use crate::time::now_utc;

const MAX_PENDING: usize = 64;
/// Live and backlog. A vehicle may open them in any order, or only one.
pub(super) const LANES: usize = 2;
/// A vehicle that takes longer to make room for an acknowledgement is gone or hostile.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What all sessions share.
pub(super) struct Context {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) store: Arc<dyn Store>,
    pub(super) control: Orders,
    pub(super) memory: Arc<Semaphore>,
    pub(super) registry: Registry,
    pub(super) deny: Deny,
    pub(super) quotas: Quotas,
    pub(super) settings: IngestSettings,
}

/// How a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The vehicle closed, or its connection is lost.
    Gone,
    Close(CloseReason),
}

impl From<ReadFailure> for End {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Gone => Self::Gone,
            ReadFailure::Close(reason) => Self::Close(reason),
        }
    }
}

impl From<CloseReason> for End {
    fn from(reason: CloseReason) -> Self {
        Self::Close(reason)
    }
}

impl From<JournalError> for End {
    fn from(_: JournalError) -> Self {
        // The journal has said why in the log; the vehicle needs to know only that it must come back.
        Self::Close(CloseReason::Unavailable)
    }
}

pub(super) async fn serve(connection: Connection, context: &Context, stop: watch::Receiver<bool>) {
    let (vehicle, certificate) = match identify(&connection) {
        Ok(known) => known,
        Err(reason) => return close(&connection, None, &reason),
    };
    let serving = async {
        // What is over is not to be kept in memory for as long as the connection lasts: boxed here and below.
        match Box::pin(begin(&connection, &vehicle, context)).await {
            Ok((session, _registered)) => session.run(stop).await,
            Err(end) => end,
        }
    };
    // What a revoked vehicle has sent and nobody has acknowledged is still on it, and comes again if it is let in again.
    let end = tokio::select! {
        biased;
        reason = context.deny.until_revoked(&vehicle, &certificate) => End::Close(CloseReason::Revoked(reason)),
        end = serving => end,
    };
    match end {
        End::Close(reason) => close(&connection, Some(&vehicle), &reason),
        // Only the registry closes a connection behind its session's back.
        End::Gone if matches!(connection.close_reason(), Some(ConnectionError::LocallyClosed)) => {
            close(&connection, Some(&vehicle), &CloseReason::Replaced);
        }
        End::Gone => {
            let cause = connection.close_reason().map_or_else(String::new, |reason| reason.to_string());
            metrics::counter!(meters::INGEST_CLOSED, "reason" => "gone").increment(1);
            tracing::debug!(%vehicle, cause, "vehicle left");
        }
    }
}

fn close(connection: &Connection, vehicle: Option<&VehicleKey>, reason: &CloseReason) {
    metrics::counter!(meters::INGEST_CLOSED, "reason" => reason.label()).increment(1);
    let vehicle = vehicle.map_or_else(|| connection.remote_address().to_string(), ToString::to_string);
    if *reason == CloseReason::Draining {
        tracing::debug!(vehicle, "connection closed: {reason}");
    } else {
        tracing::warn!(vehicle, "connection closed: {reason}");
    }
    reason.close(connection);
}

/// From the hello to the welcome.
async fn begin<'a>(
    connection: &Connection,
    vehicle: &VehicleKey,
    context: &'a Context,
) -> Result<(Box<Session<'a>>, Registered), End> {
    let settings = &context.settings;
    let memory = Arc::clone(&context.memory);
    let heard = timeout(settings.hello_timeout, hear(connection, memory, settings.frame_timeout)).await;
    let Heard { send, control, hello } = heard.map_err(|_| CloseReason::NoHello)??;
    let registered = context.registry.enter(vehicle, connection);
    let epoch = Epoch(hello.epoch);
    // A store that is away keeps no vehicle out: what is acknowledged is what the journal has.
    let ledgers = context.store.ledgers(vehicle).await.unwrap_or_else(|error| {
        tracing::error!(%vehicle, %error, "ledger cannot be read; what is sent again will be dropped again");
        Vec::new()
    });
    let ledger = ledgers.into_iter().find(|ledger| ledger.epoch == epoch);
    let (received, known) =
        ledger.map_or((RangeSet::new(), 0), |ledger| (ledger.received, ledger.next_sequence));
    tracing::info!(
        %vehicle, %epoch, next = hello.next_sequence, agent = agent(&hello),
        address = %connection.remote_address(), "vehicle connected"
    );
    let mut session = Box::new(Session {
        connection: connection.clone(),
        vehicle: vehicle.clone(),
        epoch,
        context,
        send,
        control: Some(control),
        lanes: [None, None],
        pending: FuturesOrdered::new(),
        acks: AckPolicy::new(settings.ack_interval),
        quota: context.quotas.enter(vehicle, Instant::now()),
        orders: context.control.connect(vehicle, hello.config_version),
    });
    if hello.next_sequence > known {
        session.know(&hello).await?;
    }
    session.say(to_vehicle::Message::Welcome(welcome(&received, &hello, now_utc()))).await?;
    Ok((session, registered))
}

/// Something that was handed to the journal, or a question that waits for all before it.
struct Settled {
    ranges: Vec<SequenceRange>,
    ack_wanted: bool,
}

struct Session<'a> {
    connection: Connection,
    vehicle: VehicleKey,
    epoch: Epoch,
    context: &'a Context,
    send: SendStream,
    /// `None` once the vehicle has finished it.
    control: Option<FrameReader<Control>>,
    lanes: [Option<FrameReader<Lane>>; LANES],
    pending: FuturesOrdered<BoxFuture<'static, Result<Settled, JournalError>>>,
    acks: AckPolicy,
    quota: Quota,
    /// Commands and the configuration for this vehicle, and its answers.
    orders: Delivery,
}

enum Event {
    Orders,
    Settled(Result<Settled, JournalError>),
    AckDue,
    /// The vehicle, or its fleet, has waited for what it sent too fast.
    Resume,
    Message(Result<Option<(avl_shared::link::ToCloud, OwnedSemaphorePermit)>, ReadFailure>),
    /// Of the lane with this index.
    Frame(usize, LaneRead),
    LaneOpened(RecvStream),
    Stop,
    Gone,
}

impl Session<'_> {
    async fn run(mut self: Box<Self>, mut stop: watch::Receiver<bool>) -> End {
        loop {
            let event = self.next_event(&mut stop).await;
            let handled = match event {
                Event::Stop => return Box::pin(self.drain()).await,
                Event::Gone => Err(End::Gone),
                event => Box::pin(self.handle(event)).await,
            };
            if let Err(end) = handled {
                return Box::pin(self.settle(end)).await;
            }
        }
    }

    async fn next_event(&mut self, stop: &mut watch::Receiver<bool>) -> Event {
        let paused_until = self.quota.paused_until();
        let room = self.pending.len() < MAX_PENDING && paused_until.is_none();
        let ack_at = self.acks.deadline();
        let may_open = self.lanes.iter().any(Option::is_none);
        tokio::select! {
            biased;
            _ = stop.wait_for(|&stop| stop) => Event::Stop,
            Some(settled) = self.pending.next() => Event::Settled(settled),
            () = sleep_until(ack_at.unwrap_or_else(Instant::now)), if ack_at.is_some() => Event::AckDue,
            () = sleep_until(paused_until.unwrap_or_else(Instant::now)), if paused_until.is_some() => Event::Resume,
            () = self.orders.changed() => Event::Orders,
            message = read(self.control.as_mut()), if room => Event::Message(message),
            (lane, frame) = read_lanes(&mut self.lanes), if room => Event::Frame(lane, frame),
            opened = self.connection.accept_uni(), if may_open => opened.map_or(Event::Gone, Event::LaneOpened),
            _ = self.connection.closed() => Event::Gone,
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Settled(settled) => {
                let settled = settled?;
                self.acks.durable(&settled.ranges, Instant::now());
                if settled.ack_wanted {
                    self.acks.asked();
                }
                self.acknowledge_due().await
            }
            Event::AckDue => self.acknowledge_due().await,
            Event::Resume => {
                let pause = self.quota.resume();
                self.control.iter_mut().for_each(|control| control.forgive(pause));
                self.lanes.iter_mut().flatten().for_each(|lane| lane.forgive(pause));
                Ok(())
            }
            Event::Orders => self.deliver().await,
            Event::Message(message) => match message? {
                Some((message, permit)) => {
                    self.quota.took(permit.num_permits(), Instant::now());
                    self.message(message.message, permit).await
                }
                None => {
                    self.control = None;
                    Ok(())
                }
            },
            Event::Frame(lane, frame) => match frame? {
                Some((frame, permit)) => {
                    self.quota.took(permit.num_permits(), Instant::now());
                    self.frame(frame.batch, frame.ack_wanted, permit).await
                }
                None => {
                    self.lanes[lane] = None;
                    // The vehicle has nothing more to send: it waits for what is durable.
                    self.ask();
                    Ok(())
                }
            },
            Event::LaneOpened(stream) => {
                let memory = Arc::clone(&self.context.memory);
                let reader = FrameReader::new(stream, memory, self.context.settings.frame_timeout);
                if let Some(free) = self.lanes.iter_mut().find(|lane| lane.is_none()) {
                    *free = Some(reader);
                }
                Ok(())
            }
            Event::Stop | Event::Gone => Ok(()),
        }
    }

    async fn frame(
        &mut self,
        bytes: Bytes,
        ack_wanted: bool,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), End> {
        match verify(&bytes, self.epoch) {
            Verified::Batch(range) => {
                metrics::counter!(meters::INGEST_BATCHES).increment(1);
                metrics::counter!(meters::INGEST_FIXES).increment(range.count());
                metrics::counter!(meters::INGEST_BYTES).increment(bytes.len() as u64);
                self.append(Kind::Batch, bytes, Settled { ranges: vec![range], ack_wanted }, permit).await
            }
            Verified::Reject(reject) => {
                metrics::counter!(meters::INGEST_REJECTS).increment(1);
                let Reject { first, count, reason, .. } = &reject;
                tracing::warn!(vehicle = %self.vehicle, first, count, reason, "batch rejected for good");
                if ack_wanted {
                    self.ask();
                }
                self.say(to_vehicle::Message::Reject(reject)).await
            }
            Verified::Close(reason) => Err(reason.into()),
        }
    }

    async fn message(
        &mut self,
        message: Option<to_cloud::Message>,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), End> {
        match message {
            Some(to_cloud::Message::Hello(_)) => Err(CloseReason::SecondHello.into()),
            Some(to_cloud::Message::DeclareLost(lost)) => self.declare_lost(lost, permit).await,
            Some(answer @ (to_cloud::Message::CommandResult(_) | to_cloud::Message::ConfigState(_))) => {
                self.answered(answer).await
            }
            // A newer vehicle may say what this release does not know; it does not need an answer.
            None => Ok(()),
        }
    }

    async fn declare_lost(&mut self, lost: DeclareLost, permit: OwnedSemaphorePermit) -> Result<(), End> {
        let found = Epoch(lost.epoch);
        if found != self.epoch {
            return Err(CloseReason::OtherEpoch { expected: self.epoch, found }.into());
        }
        let ranges = lost_ranges(&lost)?;
        if ranges.is_empty() {
            return Ok(());
        }
        metrics::counter!(meters::INGEST_DECLARED_LOST).increment(ranges.count());
        tracing::warn!(vehicle = %self.vehicle, %ranges, reason = lost.reason, "vehicle declared fixes lost");
        // Seldom, and the vehicle repeats it on every connection until it is answered: at once.
        let settled = Settled { ranges: ranges.ranges().to_vec(), ack_wanted: true };
        self.append(Kind::Lost, lost.encode_to_vec().into(), settled, permit).await
    }

    /// An order that cannot be read now is no reason to lose fixes: it is delivered on the next connection.
    async fn deliver(&mut self) -> Result<(), End> {
        match self.orders.due().await {
            Ok(due) => {
                for message in due {
                    self.say(message).await?;
                }
            }
            Err(error) => tracing::warn!(vehicle = %self.vehicle, %error, "orders are not delivered"),
        }
        Ok(())
    }

    /// What is not stored is not acknowledged, and the vehicle repeats it.
    async fn answered(&mut self, answer: to_cloud::Message) -> Result<(), End> {
        match self.orders.take(answer).await {
            Ok(Some(receipt)) => self.say(receipt).await,
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::warn!(vehicle = %self.vehicle, %error, "a vehicle's answer is not stored");
                Ok(())
            }
        }
    }

    /// Makes durable that every number below the hello's next one was given to a fix: gaps are known from then on.
    async fn know(&mut self, hello: &Hello) -> Result<(), End> {
        let record = self.record(Kind::Known, known(hello));
        let receipt = self.context.journal.append(record).await?;
        self.pending.push_back(Box::pin(async move {
            receipt.await?;
            Ok(Settled { ranges: Vec::new(), ack_wanted: false })
        }));
        Ok(())
    }

    async fn append(
        &mut self,
        kind: Kind,
        value: Bytes,
        settled: Settled,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), End> {
        let receipt = self.context.journal.append(self.record(kind, value)).await?;
        self.pending.push_back(Box::pin(async move {
            receipt.await?;
            // Held until here: memory is free only when the value has left it.
            drop(permit);
            Ok(settled)
        }));
        Ok(())
    }

    fn record(&self, kind: Kind, value: Bytes) -> Record {
        let vehicle = self.vehicle.clone();
        Record { vehicle, kind, transport: Transport::Quic, received_at: now_utc(), value }
    }

    /// Acknowledge as soon as everything handed over before now is durable.
    fn ask(&mut self) {
        self.pending.push_back(Box::pin(async { Ok(Settled { ranges: Vec::new(), ack_wanted: true }) }));
    }

    async fn acknowledge_due(&mut self) -> Result<(), End> {
        match self.acks.take_due(Instant::now()) {
            Some(ranges) => self.acknowledge(&ranges).await,
            None => Ok(()),
        }
    }

    async fn acknowledge(&mut self, ranges: &RangeSet) -> Result<(), End> {
        for part in ranges_to_message(ranges).chunks(MAX_RANGES) {
            metrics::counter!(meters::INGEST_ACKS).increment(1);
            let ack = Ack { epoch: self.epoch.0, ranges: part.to_vec() };
            self.say(to_vehicle::Message::Ack(ack)).await?;
        }
        Ok(())
    }

    async fn say(&mut self, message: to_vehicle::Message) -> Result<(), End> {
        let bytes = frame_message(&ToVehicle { message: Some(message) });
        match timeout(WRITE_TIMEOUT, self.send.write_chunk(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(CloseReason::NotReading.into()),
        }
    }

    /// The server stops: nothing more is read, what was read becomes durable and is acknowledged.
    async fn drain(mut self: Box<Self>) -> End {
        let wait = self.context.settings.drain_timeout;
        let within = u32::try_from(self.context.settings.reconnect_within.as_millis()).unwrap_or(u32::MAX);
        let goodbye = async {
            self.say(to_vehicle::Message::Draining(Draining { reconnect_within_ms: within })).await?;
            self.say_last_acknowledgement().await
        };
        // The close follows whether or not the vehicle listened.
        let _ = timeout(wait, goodbye).await;
        End::Close(CloseReason::Draining)
    }

    /// The session ends by the vehicle's fault or the journal's: what is durable is acknowledged before the close, so
    /// that a vehicle with one bad batch does not send all the good ones again for ever.
    async fn settle(mut self: Box<Self>, end: End) -> End {
        if matches!(end, End::Close(_)) {
            let wait = self.context.settings.drain_timeout;
            let _ = timeout(wait, self.say_last_acknowledgement()).await;
        }
        end
    }

    async fn say_last_acknowledgement(&mut self) -> Result<(), End> {
        while let Some(settled) = self.pending.next().await {
            let Ok(settled) = settled else { break };
            self.acks.durable(&settled.ranges, Instant::now());
        }
        if let Some(ranges) = self.acks.take() {
            self.acknowledge(&ranges).await?;
        }
        // A close discards what is still on its way: wait until the vehicle has it.
        if self.send.finish().is_ok() {
            let _ = self.send.stopped().await;
        }
        Ok(())
    }
}

type LaneRead = Result<Option<(avl_shared::link::LaneFrame, OwnedSemaphorePermit)>, ReadFailure>;

/// Whichever lane has a frame; a busy one does not starve the other.
async fn read_lanes(lanes: &mut [Option<FrameReader<Lane>>; LANES]) -> (usize, LaneRead) {
    let [first, second] = lanes;
    tokio::select! {
        frame = read(first.as_mut()) => (0, frame),
        frame = read(second.as_mut()) => (1, frame),
    }
}

/// Waits for ever on a stream that is not there.
async fn read<F: super::framing::Framing>(
    reader: Option<&mut FrameReader<F>>,
) -> Result<Option<(F::Item, OwnedSemaphorePermit)>, ReadFailure> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}
