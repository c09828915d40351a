//! The buffer on its own thread: flash blocks for milliseconds, sometimes for seconds, and the link must not wait for it.

use std::thread::JoinHandle;

use avl_shared::fix::Fix;
use avl_shared::link::LossReason;
use avl_shared::sequence::{RangeSet, SequenceRange};
use tokio::sync::{mpsc, oneshot, watch};

use super::attic::Attic;
use super::outbox::{BufferError, Outbox, Status, Upload, UploadLimits};

/// Work waiting for the flash. Each caller waits for its answer, so this is about the number of callers.
const QUEUED_JOBS: usize = 4;

type Job = Box<dyn FnOnce(&mut Outbox, &Attic, &watch::Sender<Status>) + Send>;

/// A handle to the buffer; clones share it. The thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct Buffer {
    jobs: mpsc::Sender<Job>,
    status: watch::Receiver<Status>,
}

/// The thread behind a [`Buffer`].
pub struct BufferThread(JoinHandle<()>);

impl BufferThread {
    /// Waits until all handles are gone, the queue is worked off and the store is closed.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the buffer's thread panicked; what it had reported durable is on flash");
        }
    }
}

impl Buffer {
    /// # Errors
    /// When the system gives no thread.
    pub fn start(mut outbox: Outbox, attic: Attic) -> std::io::Result<(Self, BufferThread)> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUED_JOBS);
        let (publish, status) = watch::channel(outbox.status());
        let thread = std::thread::Builder::new().name("buffer".to_owned()).spawn(move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut outbox, &attic, &publish);
            }
        })?;
        Ok((Self { jobs, status }, BufferThread(thread)))
    }

    /// What the buffer holds, and word of every change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// See [`Outbox::append`]: durable when it returns.
    ///
    /// # Errors
    /// When it is not durable.
    pub async fn append(
        &self,
        fixes: Vec<Fix>,
        boot_id: u32,
        cursor: Option<Vec<u8>>,
    ) -> Result<(), BufferError> {
        self.call(move |outbox, _| outbox.append(fixes, boot_id, cursor)).await
    }

    /// # Errors
    /// When the store cannot be written.
    pub async fn forget(&self, durable: RangeSet) -> Result<(), BufferError> {
        self.call(move |outbox, _| outbox.forget(&durable)).await
    }

    /// # Errors
    /// When the store cannot be written.
    pub async fn give_up(&self, range: SequenceRange, reason: LossReason) -> Result<(), BufferError> {
        self.call(move |outbox, attic| {
            let keep = keeper(outbox, attic);
            outbox.give_up(range, reason, &mut { keep })
        })
        .await
    }

    /// # Errors
    /// When the store cannot be read.
    pub async fn next_upload(&self, from: u64, limits: UploadLimits) -> Result<Option<Upload>, BufferError> {
        self.call(move |outbox, attic| {
            let keep = keeper(outbox, attic);
            outbox.next_upload(from, limits, &mut { keep })
        })
        .await
    }

    async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Outbox, &Attic) -> Result<R, BufferError> + Send + 'static,
    ) -> Result<R, BufferError> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |outbox, attic, publish| {
            let done = work(outbox, attic);
            // Before the answer: whoever has it may rely on the status being at least as new.
            let now = outbox.status();
            publish.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
            // A caller that went away does not need the answer.
            let _ = answer.send(done);
        });
        self.jobs.send(job).await.map_err(|_| BufferError::Stopped)?;
        result.await.map_err(|_| BufferError::Stopped)?
    }
}

/// Puts blocks that leave undelivered into the attic, and says so.
fn keeper<'a>(outbox: &Outbox, attic: &'a Attic) -> impl FnMut(u64, LossReason, &[u8]) + use<'a> {
    let epoch = outbox.status().epoch;
    move |first, reason, block| match attic.keep(epoch, first, reason, block) {
        Ok(path) => {
            tracing::warn!(first, reason = reason.as_str_name(), path = %path.display(), "block set aside");
        }
        Err(error) => {
            tracing::error!(first, reason = reason.as_str_name(), %error, "block lost: it cannot be set aside");
        }
    }
}
