//! Frames and messages off a QUIC stream, with memory reserved before it is used and a limit on how long one takes.

use std::sync::Arc;
use std::time::Duration;

use avl_shared::batch::MAX_BYTES;
use avl_shared::link::{LaneFrame, LinkError, MAX_MESSAGE_BYTES, ToCloud, announced_message, take_message};
use bytes::BytesMut;
use quinn::{ReadError, RecvStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::close::CloseReason;

/// Enough to see how long a frame is (flag byte and varint), not enough to need a reservation.
const HEAD_BYTES: usize = 6;

/// How the stream is cut into items.
pub(super) trait Framing {
    type Item;
    /// Of one item with its head.
    const MAX_BYTES: usize;
    fn announced(buffer: &[u8]) -> Result<Option<usize>, LinkError>;
    fn take(buffer: &mut BytesMut) -> Result<Option<Self::Item>, LinkError>;
}

pub(super) struct Lane;

impl Framing for Lane {
    type Item = LaneFrame;
    const MAX_BYTES: usize = MAX_BYTES + HEAD_BYTES;

    fn announced(buffer: &[u8]) -> Result<Option<usize>, LinkError> {
        LaneFrame::announced(buffer, MAX_BYTES)
    }

    fn take(buffer: &mut BytesMut) -> Result<Option<LaneFrame>, LinkError> {
        LaneFrame::take(buffer, MAX_BYTES)
    }
}

pub(super) struct Control;

impl Framing for Control {
    type Item = ToCloud;
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES + HEAD_BYTES;

    fn announced(buffer: &[u8]) -> Result<Option<usize>, LinkError> {
        announced_message(buffer)
    }

    fn take(buffer: &mut BytesMut) -> Result<Option<ToCloud>, LinkError> {
        take_message(buffer)
    }
}

/// The largest reservation that one item can need; less memory than this in all would let it wait for ever.
pub(super) const MAX_RESERVATION: usize = Lane::MAX_BYTES;

#[derive(Debug)]
pub(super) enum ReadFailure {
    /// The connection is gone; nobody is there to be told.
    Gone,
    Close(CloseReason),
}

pub(super) struct FrameReader<F> {
    stream: RecvStream,
    buffer: BytesMut,
    memory: Arc<Semaphore>,
    reserved: Option<OwnedSemaphorePermit>,
    item_timeout: Duration,
    /// When the item at the front of the buffer must be whole.
    due: Option<Instant>,
    framing: std::marker::PhantomData<F>,
}

impl<F: Framing> FrameReader<F> {
    pub(super) fn new(stream: RecvStream, memory: Arc<Semaphore>, item_timeout: Duration) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            memory,
            reserved: None,
            item_timeout,
            due: None,
            framing: std::marker::PhantomData,
        }
    }

    /// That nothing was read for so long was our wish.
    pub(super) fn forgive(&mut self, pause: Duration) {
        if let Some(due) = &mut self.due {
            *due += pause;
        }
    }

    /// The next item with the permit for its memory; `None` at the end of the stream. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<(F::Item, OwnedSemaphorePermit)>, ReadFailure> {
        loop {
            let announced = F::announced(&self.buffer).map_err(|error| ReadFailure::Close(error.into()))?;
            if let Some(bytes) = announced {
                if self.reserved.is_none() {
                    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
                    let acquired = Arc::clone(&self.memory).acquire_many_owned(permits).await;
                    self.reserved = Some(acquired.map_err(|_| ReadFailure::Close(CloseReason::Draining))?);
                    // Waiting for memory was not the vehicle's fault.
                    self.due = Some(Instant::now() + self.item_timeout);
                }
                let item = F::take(&mut self.buffer).map_err(|error| ReadFailure::Close(error.into()))?;
                if let Some(item) = item {
                    self.due = None;
                    return Ok(self.reserved.take().map(|permit| (item, permit)));
                }
            }
            // Never past the item at work: what follows it has no reservation yet.
            let wanted = announced.unwrap_or(HEAD_BYTES).saturating_sub(self.buffer.len());
            if !self.read(wanted.max(1)).await? {
                return Ok(None);
            }
        }
    }

    /// False at a clean end.
    async fn read(&mut self, at_most: usize) -> Result<bool, ReadFailure> {
        let read = self.stream.read_chunk(at_most, true);
        let outcome = match self.due {
            Some(due) => timeout_at(due, read).await.map_err(|_| ReadFailure::Close(CloseReason::Stalled))?,
            None => read.await,
        };
        match outcome {
            Ok(Some(chunk)) => {
                self.buffer.extend_from_slice(&chunk.bytes);
                self.due.get_or_insert(Instant::now() + self.item_timeout);
                Ok(true)
            }
            Ok(None) if self.buffer.is_empty() => Ok(false),
            Ok(None) | Err(ReadError::Reset(_)) => Err(ReadFailure::Close(CloseReason::Truncated)),
            Err(_) => Err(ReadFailure::Gone),
        }
    }
}
