//! Groups fixes into blocks: a block is written when it is full, or when its first fix has waited for the
//! durability period. One write for many fixes is what keeps the flash alive.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::boot::{Boot, uptime_ms};
use crate::buffer::{BLOCK_FIXES, Buffer, BufferError};
use crate::source::Observed;

#[derive(Clone, Copy, Debug)]
pub struct RecorderSettings {
    /// The longest that a fix is in memory only.
    pub durability: Duration,
    pub boot: Boot,
}

/// What the recorder is given.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // nearly all are fixes: a box for each would cost more than room for a few
pub enum Intake {
    Fix(Observed),
    /// Write what there is now; the answer is the number below which every fix is durable.
    Flush(oneshot::Sender<u64>),
}

/// Asks a recorder for what it has in memory. Does not keep it running.
#[derive(Clone, Debug)]
pub struct Flush(mpsc::WeakSender<Intake>);

impl Flush {
    #[must_use]
    pub fn of(recorder: &mpsc::Sender<Intake>) -> Self {
        Self(recorder.downgrade())
    }

    /// Returns when it is durable, or there is no recorder any more.
    pub async fn now(&self) {
        let (done, answer) = oneshot::channel();
        if let Some(recorder) = self.0.upgrade()
            && recorder.send(Intake::Flush(done)).await.is_ok()
        {
            drop(recorder);
            let _ = answer.await;
        }
    }
}

/// What a recorder has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    pub fixes: u64,
    pub blocks: u64,
}

/// Writes fixes to the buffer until the source ends, the last ones included.
///
/// # Errors
/// When the buffer cannot write: no promise can be kept any more.
pub async fn record(
    mut intake: mpsc::Receiver<Intake>,
    buffer: &Buffer,
    settings: RecorderSettings,
) -> Result<Recorded, BufferError> {
    let mut recorded = Recorded::default();
    let durable_below = || buffer.status().borrow().next_sequence;
    while let Some(first) = intake.recv().await {
        let deadline = Instant::now() + settings.durability;
        let (mut block, mut cursor) = (Vec::with_capacity(BLOCK_FIXES), None);
        let (mut next, mut flush) = (Some(first), None);
        while let Some(taken) = next.take() {
            let Observed { mut fix, cursor: behind, .. } = match taken {
                Intake::Fix(observed) => observed,
                Intake::Flush(done) => {
                    flush = Some(done);
                    break;
                }
            };
            // Without GNSS time, the time since boot is the only order there is.
            if fix.time.is_none() {
                fix.uptime = uptime_ms();
            }
            cursor = behind;
            block.push(fix);
            if block.len() < BLOCK_FIXES {
                next = timeout_at(deadline, intake.recv()).await.unwrap_or_default();
            }
        }
        if !block.is_empty() {
            recorded.fixes += block.len() as u64;
            recorded.blocks += 1;
            let cursor = cursor.map(|cursor| cursor.to_bytes());
            buffer.append(block, settings.boot.id, cursor).await?;
        }
        if let Some(done) = flush {
            // Whoever asked may have gone.
            let _ = done.send(durable_below());
        }
    }
    Ok(recorded)
}
