//! What a message from a vehicle leads to. The topic is the sender's name: the broker admits a vehicle to its own
//! topics only.
//!
//! There is no session: any process of the group may get any message, so a batch is taken by what it says itself (its
//! epoch and numbers), and each answer goes to the vehicle's own topic. The broker may forget a message when the journal has
//! it on disk, or when it can never be taken; it gets them back in the order in which it sent them.

use std::sync::Arc;

use avl_shared::batch;
use avl_shared::identity::VehicleKey;
use avl_shared::link::mqtt::{Up, vehicle_of};
use avl_shared::link::{
    Ack, DeclareLost, Hello, LaneFrame, PROTOCOL, Reject, ToCloud, ranges_to_message, to_cloud, to_vehicle,
};
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use prost::Message;
use rumqttc::v5::mqttbytes::v5::Publish;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::answers::{Address, Answers, Due};
use super::client::{Gone, Lost, Outbox};
use super::orders::Orders;
use crate::ingest::greeting::{MAX_RANGES, agent, welcome};
use crate::ingest::session::Context;
use crate::ingest::verify::{Verified, known, lost_ranges, verify};
use crate::journal::{JournalError, Kind, Record, Transport};
use crate::meters;
use crate::store::MAX_SEQUENCE;
use crate::time::now_utc;

/// Follows when a message and all before it are settled.
enum Then {
    Nothing,
    Durable { address: Address, ranges: Vec<SequenceRange>, ack_wanted: bool },
    Welcome { vehicle: VehicleKey, hello: Hello, received: RangeSet },
    Reject { vehicle: VehicleKey, reject: Reject },
}

struct Settled {
    publish: Publish,
    then: Then,
}

enum Event {
    Settled(Result<Settled, JournalError>),
    AckDue,
    /// These vehicles may have new orders.
    Orders(Vec<VehicleKey>),
    Arrived(Publish),
    Stop,
    Gone,
}

/// The worker of one connection to the broker.
pub(super) struct Intake<'a> {
    context: &'a Context,
    outbox: Outbox,
    answers: &'a mut Answers,
    orders: &'a mut Orders,
    pending: FuturesOrdered<BoxFuture<'static, Result<Settled, JournalError>>>,
    most_pending: usize,
}

impl From<Gone> for Lost {
    fn from(_: Gone) -> Self {
        Self::Broker("the connection is gone".to_owned())
    }
}

impl From<JournalError> for Lost {
    fn from(_: JournalError) -> Self {
        // The journal has said why. The broker sends again what it was not released from, on the next connection.
        Self::Journal
    }
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        context: &'a Context,
        outbox: Outbox,
        answers: &'a mut Answers,
        orders: &'a mut Orders,
        most_pending: usize,
    ) -> Self {
        Self { context, outbox, answers, orders, pending: FuturesOrdered::new(), most_pending }
    }

    /// Until `stop`; then what has arrived becomes durable, and everybody gets the acknowledgement that is due.
    pub(super) async fn run(
        mut self,
        mut arrived: mpsc::Receiver<Publish>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Lost> {
        loop {
            match self.next_event(&mut arrived, &mut stop).await {
                Event::Stop => break,
                Event::Settled(settled) => self.settle(settled?).await?,
                Event::AckDue => {
                    while let Some(due) = self.answers.take_due(Instant::now()) {
                        self.acknowledge(due).await?;
                    }
                }
                Event::Orders(vehicles) => {
                    for vehicle in vehicles {
                        self.deliver(&vehicle).await?;
                    }
                }
                Event::Arrived(publish) => self.take(publish).await?,
                Event::Gone => return Err(Gone.into()),
            }
        }
        let limit = self.context.settings.drain_timeout;
        let drain = async {
            while let Some(settled) = self.pending.next().await {
                self.settle(settled?).await?;
            }
            while let Some(due) = self.answers.take_oldest() {
                self.acknowledge(due).await?;
            }
            Ok::<(), Lost>(())
        };
        timeout(limit, drain).await.unwrap_or(Ok(()))
    }

    /// What is done comes before what is new.
    async fn next_event(
        &mut self,
        arrived: &mut mpsc::Receiver<Publish>,
        stop: &mut watch::Receiver<bool>,
    ) -> Event {
        let room = self.pending.len() < self.most_pending;
        let ack_at = self.answers.next_deadline();
        tokio::select! {
            biased;
            _ = stop.wait_for(|&stop| stop) => Event::Stop,
            Some(settled) = self.pending.next() => Event::Settled(settled),
            () = sleep_until(ack_at.unwrap_or_else(Instant::now)), if ack_at.is_some() => Event::AckDue,
            vehicles = self.orders.changed() => Event::Orders(vehicles),
            publish = arrived.recv(), if room => publish.map_or(Event::Gone, Event::Arrived),
        }
    }

    async fn take(&mut self, mut publish: Publish) -> Result<(), Lost> {
        // The payload goes its own way; the rest waits for the release.
        let payload = std::mem::take(&mut publish.payload);
        let topic = std::mem::take(&mut publish.topic);
        let Some(vehicle) = std::str::from_utf8(&topic).ok().and_then(vehicle_of) else {
            let topic = String::from_utf8_lossy(&topic[..topic.len().min(80)]).escape_debug().to_string();
            tracing::warn!(topic, "message on a topic of no vehicle");
            return self.refuse(publish, "topic");
        };
        if self.context.deny.denies_name(&vehicle) {
            tracing::info!(%vehicle, "message of a revoked vehicle");
            return self.refuse(publish, "revoked");
        }
        match Up::decode(payload) {
            Ok(Up::Batch(frame)) => self.batch(publish, vehicle, frame).await,
            Ok(Up::Message(message)) => self.message(publish, vehicle, message).await,
            Err(error) => {
                tracing::warn!(%vehicle, %error, "message that cannot be decoded");
                self.refuse(publish, "malformed")
            }
        }
    }

    async fn batch(&mut self, publish: Publish, vehicle: VehicleKey, frame: LaneFrame) -> Result<(), Lost> {
        let LaneFrame { ack_wanted, batch } = frame;
        let Ok(header) = batch::peek(&batch) else {
            // Nothing tells which numbers could be given back.
            tracing::warn!(%vehicle, bytes = batch.len(), "batch without a readable header");
            return self.refuse(publish, "malformed");
        };
        match verify(&batch, header.epoch) {
            Verified::Batch(range) => {
                metrics::counter!(meters::INGEST_BATCHES).increment(1);
                metrics::counter!(meters::INGEST_FIXES).increment(range.count());
                metrics::counter!(meters::INGEST_BYTES).increment(batch.len() as u64);
                if !self.orders.is_present(&vehicle) {
                    self.orders.enter(&vehicle, None);
                    self.deliver(&vehicle).await?;
                }
                let address = (vehicle.clone(), header.epoch);
                let then = Then::Durable { address, ranges: vec![range], ack_wanted };
                self.append(Kind::Batch, vehicle, batch, Settled { publish, then }).await
            }
            Verified::Reject(reject) => {
                metrics::counter!(meters::INGEST_REJECTS).increment(1);
                let Reject { first, count, reason, .. } = &reject;
                tracing::warn!(%vehicle, first, count, reason, "batch rejected for good");
                self.settled(Settled { publish, then: Then::Reject { vehicle, reject } });
                Ok(())
            }
            Verified::Close(reason) => {
                tracing::warn!(%vehicle, "batch left with the vehicle: {reason}");
                self.refuse(publish, reason.label())
            }
        }
    }

    async fn message(&mut self, publish: Publish, vehicle: VehicleKey, message: ToCloud) -> Result<(), Lost> {
        match message.message {
            Some(to_cloud::Message::Hello(hello)) => self.hello(publish, vehicle, hello).await,
            Some(to_cloud::Message::DeclareLost(lost)) => self.declare_lost(publish, vehicle, lost).await,
            Some(answer @ (to_cloud::Message::CommandResult(_) | to_cloud::Message::ConfigState(_))) => {
                if let Some(receipt) = self.orders.take(&vehicle, answer).await {
                    self.outbox.say(&vehicle, receipt).await?;
                }
                self.settled(Settled { publish, then: Then::Nothing });
                Ok(())
            }
            // A newer vehicle may say what this release does not know; it does not need an answer.
            None => {
                self.settled(Settled { publish, then: Then::Nothing });
                Ok(())
            }
        }
    }

    async fn hello(&mut self, publish: Publish, vehicle: VehicleKey, hello: Hello) -> Result<(), Lost> {
        if hello.protocol != PROTOCOL || hello.next_sequence > MAX_SEQUENCE {
            tracing::warn!(%vehicle, protocol = hello.protocol, next = hello.next_sequence, "hello not understood");
            return self.refuse(publish, "protocol");
        }
        let epoch = Epoch(hello.epoch);
        let ledgers = self.context.store.ledgers(&vehicle).await.unwrap_or_else(|error| {
            tracing::error!(%vehicle, %error, "ledger cannot be read; what is sent again will be dropped again");
            Vec::new()
        });
        let ledger = ledgers.into_iter().find(|ledger| ledger.epoch == epoch);
        let (received, next) =
            ledger.map_or((RangeSet::new(), 0), |ledger| (ledger.received, ledger.next_sequence));
        tracing::info!(%vehicle, %epoch, next = hello.next_sequence, agent = agent(&hello), "vehicle connected by MQTT");
        let record = (hello.next_sequence > next).then(|| known(&hello));
        let then = Then::Welcome { vehicle: vehicle.clone(), hello, received };
        match record {
            Some(value) => self.append(Kind::Known, vehicle, value, Settled { publish, then }).await,
            None => {
                self.settled(Settled { publish, then });
                Ok(())
            }
        }
    }

    async fn declare_lost(
        &mut self,
        publish: Publish,
        vehicle: VehicleKey,
        lost: DeclareLost,
    ) -> Result<(), Lost> {
        let ranges = match lost_ranges(&lost) {
            Ok(ranges) => ranges,
            Err(reason) => {
                tracing::warn!(%vehicle, "declaration not understood: {reason}");
                return self.refuse(publish, reason.label());
            }
        };
        if ranges.is_empty() {
            self.settled(Settled { publish, then: Then::Nothing });
            return Ok(());
        }
        metrics::counter!(meters::INGEST_DECLARED_LOST).increment(ranges.count());
        tracing::warn!(%vehicle, %ranges, reason = lost.reason, "vehicle declared fixes lost");
        let address = (vehicle.clone(), Epoch(lost.epoch));
        let then = Then::Durable { address, ranges: ranges.ranges().to_vec(), ack_wanted: true };
        self.append(Kind::Lost, vehicle, lost.encode_to_vec().into(), Settled { publish, then }).await
    }

    /// Counted, and never seen again: a message that stayed with the broker would block those behind it.
    #[allow(clippy::unnecessary_wraps)]
    fn refuse(&mut self, publish: Publish, reason: &'static str) -> Result<(), Lost> {
        metrics::counter!(meters::MQTT_REFUSED, "reason" => reason).increment(1);
        self.settled(Settled { publish, then: Then::Nothing });
        Ok(())
    }

    /// In its turn, after all that came before it.
    fn settled(&mut self, settled: Settled) {
        self.pending.push_back(Box::pin(async { Ok(settled) }));
    }

    async fn append(
        &mut self,
        kind: Kind,
        vehicle: VehicleKey,
        value: Bytes,
        settled: Settled,
    ) -> Result<(), Lost> {
        let permit = memory(self.context, value.len()).await?;
        let record = Record { vehicle, kind, transport: Transport::Mqtt, received_at: now_utc(), value };
        let receipt = self.context.journal.append(record).await?;
        self.pending.push_back(Box::pin(async move {
            receipt.await?;
            // Held until here: memory is free only when the value has left it.
            drop(permit);
            Ok(settled)
        }));
        Ok(())
    }

    async fn settle(&mut self, settled: Settled) -> Result<(), Lost> {
        self.outbox.release(&settled.publish).await?;
        match settled.then {
            Then::Nothing => {}
            Then::Durable { address, ranges, ack_wanted } => {
                for due in self.answers.durable(&address, &ranges, Instant::now()) {
                    self.acknowledge(due).await?;
                }
                if ack_wanted && let Some(ranges) = self.answers.take(&address) {
                    self.acknowledge((address, ranges)).await?;
                }
            }
            Then::Welcome { vehicle, hello, mut received } => {
                // What is durable and not in the ledger yet: the vehicle need not send it again.
                if let Some(ranges) = self.answers.take(&(vehicle.clone(), Epoch(hello.epoch))) {
                    received.extend_from(&ranges);
                }
                let welcome = welcome(&received, &hello, now_utc());
                self.outbox.say(&vehicle, to_vehicle::Message::Welcome(welcome)).await?;
                self.orders.enter(&vehicle, Some(hello.config_version));
                self.deliver(&vehicle).await?;
            }
            Then::Reject { vehicle, reject } => {
                self.outbox.say(&vehicle, to_vehicle::Message::Reject(reject)).await?;
            }
        }
        Ok(())
    }

    async fn deliver(&mut self, vehicle: &VehicleKey) -> Result<(), Lost> {
        for message in self.orders.due(vehicle).await {
            self.outbox.say(vehicle, message).await?;
        }
        Ok(())
    }

    async fn acknowledge(&mut self, ((vehicle, epoch), ranges): Due) -> Result<(), Lost> {
        for part in ranges_to_message(&ranges).chunks(MAX_RANGES) {
            metrics::counter!(meters::INGEST_ACKS).increment(1);
            let ack = Ack { epoch: epoch.0, ranges: part.to_vec() };
            self.outbox.say(&vehicle, to_vehicle::Message::Ack(ack)).await?;
        }
        Ok(())
    }
}

/// A share of what all vehicles, on whatever transport, may occupy.
async fn memory(context: &Context, bytes: usize) -> Result<OwnedSemaphorePermit, Lost> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Arc::clone(&context.memory).acquire_many_owned(bytes).await.map_err(|_| Gone.into())
}
