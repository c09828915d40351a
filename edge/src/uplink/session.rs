//! One connection, from its welcome to its end: carries out what [`Lanes`] decides.

use std::time::Duration;

use avl_shared::batch;
use avl_shared::link::{
    DeclareLost, Draining, LaneFrame, LossReason, Reject, ToCloud, ToVehicle, ranges_from_message,
    ranges_to_message, to_cloud, to_vehicle,
};
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use chrono::Utc;
use rand::Rng;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::budget::Allowance;
use super::lane::{Decision, LaneName, LanePolicy, Lanes, Next};
use super::{Desk, Link, LinkEnd, Outgoing, Pace, Ports};
use crate::buffer::{Buffer, BufferError, Status, UploadLimits};
use crate::control::{Feed, Port};
use crate::run::Flush;

/// A range costs up to 22 bytes.
const MAX_DECLARED_RANGES: usize = 2_000;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// Everything is acknowledged, and no more fixes will come.
    Done,
    /// The cloud asked to connect elsewhere.
    Drained,
    /// Nothing to say on either side for so long that the connection lapsed. No failure.
    Lapsed,
    /// A request for an acknowledgement stayed unanswered.
    Unanswered,
    /// The budget is used up, or the vehicle roams and must not.
    Forbidden,
    /// Another transport has connected already.
    Superseded,
    Broken(String),
}

pub(crate) struct Session<'a> {
    link: Link,
    buffer: &'a Buffer,
    status: watch::Receiver<Status>,
    finish: watch::Receiver<bool>,
    pace: watch::Receiver<Pace>,
    control: Option<Port>,
    flush: Option<Flush>,
    /// What the cloud is to be told on this connection.
    reports: Option<Feed>,
    lanes: Lanes,
    epoch: Epoch,
    /// Losses that were declared on this connection.
    declared: RangeSet,
    max_bytes: usize,
    /// A format that is next to be sent and that the cloud does not take.
    untaken: Option<u8>,
    /// When to leave a draining server.
    leave_at: Option<Instant>,
    desk: Desk,
}

impl<'a> Session<'a> {
    /// Takes over a welcomed link; the buffer must have forgotten what the welcome called durable.
    pub(crate) fn new(link: Link, buffer: &'a Buffer, ports: &Ports, policy: LanePolicy, desk: Desk) -> Self {
        let status = buffer.status();
        let now = status.borrow().clone();
        // 0 is what a cloud sends that does not say.
        let max_bytes = match usize::try_from(link.welcome.max_batch_bytes) {
            Ok(limit) if limit > 0 => limit.min(batch::MAX_BYTES),
            _ => batch::MAX_BYTES,
        };
        Self {
            buffer,
            finish: ports.finish.clone(),
            pace: ports.pace.clone(),
            control: ports.control.clone(),
            flush: ports.flush.clone(),
            reports: ports.control.as_ref().map(Port::feed),
            lanes: Lanes::new(policy, &now, Instant::now()),
            epoch: now.epoch,
            declared: RangeSet::new(),
            max_bytes,
            untaken: None,
            leave_at: None,
            desk,
            link,
            status,
        }
    }

    /// Runs until the connection ends or is no longer wanted, and closes it.
    ///
    /// # Errors
    /// When the buffer fails; the agent cannot go on without it.
    pub(crate) async fn run(mut self) -> Result<SessionEnd, BufferError> {
        let end = self.exchange().await?;
        // The close is sent by the transport's own task; a transport that hangs must not hang the agent.
        drop((self.link.outgoing, self.link.backlog));
        if !self.link.end.is_finished() {
            let _ = tokio::time::timeout(Duration::from_secs(2), self.link.end).await;
        }
        Ok(end)
    }

    async fn exchange(&mut self) -> Result<SessionEnd, BufferError> {
        let (live, backlog) = (self.link.outgoing.clone(), self.link.backlog.clone());
        loop {
            // Acknowledgements before anything new: they make room.
            while let Ok(message) = self.link.incoming.try_recv() {
                self.take(message).await?;
            }
            if *self.finish.borrow_and_update() {
                self.lanes.finish();
            }
            let pace = *self.pace.borrow_and_update();
            let allowance = self.desk.allowance();
            if allowance == Allowance::Stop && !*self.finish.borrow() {
                return Ok(SessionEnd::Forbidden);
            }
            let orders = allowance.orders(pace);
            let (status, now) = (self.status.borrow_and_update().clone(), Instant::now());
            if self.leave_at.is_some_and(|leave| leave <= now) {
                return Ok(SessionEnd::Drained);
            }
            let report = self.reports.as_mut().and_then(Feed::next_report);
            if let Some(declaration) = report.or_else(|| self.undeclared(&status)) {
                if live.send(Outgoing::Control(declaration)).await.is_err() {
                    return Ok(self.broken(&status).await);
                }
                continue;
            }
            if let Some(format) = self.untaken {
                return Ok(SessionEnd::Broken(format!(
                    "the cloud does not take wire batches of format {format}, which this vehicle's optional columns need: upgrade the cloud; until then the fixes stay here"
                )));
            }
            let (live_next, backlog_next, wake_at) = match self.lanes.decide(&status, orders, now) {
                Decision::Done => return Ok(SessionEnd::Done),
                Decision::Unanswered => return Ok(SessionEnd::Unanswered),
                Decision::Go { live, backlog, wake_at } => (live, backlog, wake_at),
            };
            let wake_at = [wake_at, self.leave_at].into_iter().flatten().min();
            tokio::select! {
                biased;
                message = self.link.incoming.recv() => match message {
                    Some(message) => self.take(message).await?,
                    None => return Ok(self.broken(&status).await),
                },
                (permit, next) = room(&live, live_next) => {
                    let Ok(permit) = permit else { return Ok(self.broken(&status).await) };
                    let next = self.filled(next, pace).await;
                    if let Some(frame) = self.batch(LaneName::Live, next).await? {
                        permit.send(Outgoing::Batch(frame));
                    }
                }
                (permit, next) = room(&backlog, backlog_next) => {
                    let Ok(permit) = permit else { return Ok(self.broken(&status).await) };
                    if let Some(frame) = self.batch(LaneName::Backlog, next).await? {
                        permit.send(frame);
                    }
                }
                changed = self.status.changed() => changed.map_err(|_| BufferError::Stopped)?,
                Ok(()) = self.finish.changed() => {}
                Ok(()) = self.pace.changed() => {}
                () = Feed::filled(self.reports.as_mut()) => {}
                () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
            }
        }
    }

    /// With what still waits in memory: the batch costs hardly more for it, and the next one leaves so much later.
    async fn filled(&mut self, next: Next, pace: Pace) -> Next {
        let Some(flush) = self.flush.as_ref().filter(|_| self.lanes.gathers(pace)) else { return next };
        flush.now().await;
        let status = self.status.borrow_and_update().clone();
        self.lanes.filled(next, &status)
    }

    /// The batch that a lane has next; `None` when the buffer has changed under it, or it cannot be sent.
    async fn batch(&mut self, lane: LaneName, next: Next) -> Result<Option<LaneFrame>, BufferError> {
        let limits = UploadLimits {
            max_fixes: usize::try_from(next.max_fixes).unwrap_or(usize::MAX),
            max_bytes: self.max_bytes,
        };
        let upload = self.buffer.next_upload(next.from, limits).await?;
        // Another one: what was meant is no longer held, or turned out damaged. Decide anew.
        let Some(upload) = upload.filter(|upload| upload.range.contains(next.from)) else { return Ok(None) };
        if upload.bytes.len() > self.max_bytes {
            tracing::error!(range = %upload.range, bytes = upload.bytes.len(), "block exceeds what the cloud takes");
            self.buffer.give_up(upload.range, LossReason::Rejected).await?;
            return Ok(None);
        }
        if let Some(format) = self.untakeable(&upload.bytes) {
            self.untaken = Some(format);
            return Ok(None);
        }
        let status = self.status.borrow().clone();
        let bytes = upload.bytes.len();
        let ack_wanted = self.lanes.sending(lane, upload.range, bytes as u64, &status, Instant::now());
        tracing::debug!(?lane, range = %upload.range, bytes, ack_wanted, "batch sent");
        let (live_unsent, backlog_unsent) = self.lanes.depths(&status);
        self.desk.view.update(|view| {
            view.batches += 1;
            view.fixes_sent += upload.range.count();
            view.payload_bytes += bytes as u64;
            (view.live_unsent, view.backlog_unsent) = (live_unsent, backlog_unsent);
        });
        self.desk.show_use();
        Ok(Some(LaneFrame { ack_wanted, batch: upload.bytes.into() }))
    }

    /// The batch's format, when the cloud has not said that it takes it.
    fn untakeable(&self, bytes: &[u8]) -> Option<u8> {
        let format = batch::format(bytes).ok().filter(|format| *format > 1)?;
        (!self.link.welcome.batch_versions.contains(&u32::from(format))).then_some(format)
    }

    async fn take(&mut self, message: ToVehicle) -> Result<(), BufferError> {
        match message.message {
            Some(to_vehicle::Message::Ack(ack)) if ack.epoch == self.epoch.0 => {
                match ranges_from_message(&ack.ranges) {
                    Ok(ranges) => {
                        tracing::debug!(%ranges, "acknowledged");
                        let acknowledged = self.held_of(&ranges);
                        self.buffer.forget(ranges).await?;
                        let status = self.status.borrow().clone();
                        self.desk.view.update(|view| {
                            view.fixes_acked += acknowledged;
                            view.last_ack_ms = Some(Utc::now().timestamp_millis());
                        });
                        self.desk.show_use();
                        self.lanes.acknowledged(&status, Instant::now());
                    }
                    Err(error) => tracing::warn!(%error, "acknowledgement ignored"),
                }
            }
            Some(to_vehicle::Message::Reject(Reject { epoch, first, count, reason }))
                if epoch == self.epoch.0 =>
            {
                if let Some(range) = SequenceRange::starting_at(first, u64::from(count)) {
                    tracing::error!(%range, reason, "the cloud refuses a batch for good: set aside and declared lost");
                    self.buffer.give_up(range, LossReason::Rejected).await?;
                }
            }
            Some(to_vehicle::Message::Draining(Draining { reconnect_within_ms })) => {
                let within = Duration::from_millis(u64::from(reconnect_within_ms));
                let wait = within.mul_f64(rand::rng().random_range(0.0..=1.0));
                tracing::info!(?wait, "the cloud asks to connect elsewhere");
                self.leave_at.get_or_insert(Instant::now() + wait);
            }
            // Control's, or of another epoch, or from a newer cloud: nothing of ours depends on it.
            other => {
                let left = match (&self.control, other) {
                    (Some(control), Some(message)) => control.deliver(message).err(),
                    (_, other) => other,
                };
                tracing::debug!(?left, "message not for the lanes");
            }
        }
        Ok(())
    }

    fn held_of(&self, ranges: &RangeSet) -> u64 {
        let status = self.status.borrow();
        ranges.ranges().iter().map(|range| status.held.within(*range).count()).sum()
    }

    /// The next loss that this connection has not heard of.
    fn undeclared(&mut self, status: &Status) -> Option<ToCloud> {
        let (reason, ranges) = status.lost.sets().iter().find_map(|(reason, set)| {
            let fresh: RangeSet = set
                .ranges()
                .iter()
                .flat_map(|range| self.declared.missing_within(*range).ranges().to_vec())
                // A message has 64 KiB; the others go in the next one.
                .take(MAX_DECLARED_RANGES)
                .collect();
            (!fresh.is_empty()).then_some((*reason, fresh))
        })?;
        tracing::warn!(%ranges, reason = reason.as_str_name(), "declaring lost");
        self.declared.extend_from(&ranges);
        let declaration =
            DeclareLost { epoch: self.epoch.0, ranges: ranges_to_message(&ranges), reason: reason.into() };
        Some(ToCloud { message: Some(to_cloud::Message::DeclareLost(declaration)) })
    }

    async fn broken(&mut self, status: &Status) -> SessionEnd {
        match (&mut self.link.end).await {
            Ok(LinkEnd::Silent) if self.lanes.is_quiet(status) => SessionEnd::Lapsed,
            Ok(LinkEnd::Superseded) => SessionEnd::Superseded,
            Ok(LinkEnd::Silent) => SessionEnd::Broken("nothing heard from the cloud any more".to_owned()),
            Ok(LinkEnd::Lost(cause)) => SessionEnd::Broken(cause),
            Err(error) => SessionEnd::Broken(error.to_string()),
        }
    }
}

/// Waits for a lane to take the batch that it has next; for ever when it has none.
async fn room<T>(
    lane: &mpsc::Sender<T>,
    next: Option<Next>,
) -> (Result<mpsc::Permit<'_, T>, mpsc::error::SendError<()>>, Next) {
    match next {
        Some(next) => (lane.reserve().await, next),
        None => std::future::pending().await,
    }
}
