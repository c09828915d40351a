//! The buffer on its own thread: flash blocks for milliseconds, sometimes for seconds, and the link must not wait for it.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use avl_shared::fix::Fix;
use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};
use chrono::Utc;
use tokio::sync::{mpsc, oneshot, watch};

use super::attic::Attic;
use super::config::BufferConfig;
use super::epochs;
use super::gauge::Gauge;
use super::keeper::{Keeper, Opener};
use super::open::{self, OpenError};
use super::outbox::{BufferError, Outbox, Status, Upload, UploadLimits};
use super::pending::{MEMORY_BYTES, Unwritten};

/// Work waiting for the flash. Each caller waits for its answer, so this is about the number of callers.
const QUEUED_JOBS: usize = 4;
/// How long [`Buffer::next_upload`] waits for flash that is away, so that a caller that asks again does not spin.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

/// What the thread works with.
struct Desk {
    keeper: Keeper,
    gauge: Option<Gauge>,
    attic: Attic,
    publish: watch::Sender<Status>,
}

/// A handle to the buffer; clones share it. The thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct Buffer {
    jobs: mpsc::Sender<Job>,
    status: watch::Receiver<Status>,
    state_dir: Option<Arc<Path>>,
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
    /// Opens the buffer of a state directory, or waits in memory until it can be opened, and goes on whatever
    /// happens to the flash.
    ///
    /// # Errors
    /// When another agent has the buffer, or the system gives no thread.
    pub fn launch(state_dir: &Path, config: &BufferConfig) -> Result<(Self, BufferThread), OpenError> {
        let now = Instant::now();
        let bounds = config.bounds();
        let first = match open::open_loudly(state_dir, bounds) {
            Ok(outbox) => Ok(outbox),
            Err(error) if error.is_flash() => {
                tracing::error!(%error, "the buffer cannot be opened: fixes wait in memory, and opening it is tried again");
                Err(error.to_string())
            }
            Err(error) => return Err(error),
        };
        let folder = state_dir.to_owned();
        let opener: Opener =
            Box::new(move || open::open_loudly(&folder, bounds).map_err(|error| error.to_string()));
        let store = open::directory(state_dir);
        let gauge =
            Gauge::new(state_dir, &store, config.max_bytes.0, config.min_free.0, config.flash_endurance, now);
        let keeper = Keeper::new(first, opener, MEMORY_BYTES, now, Utc::now().timestamp_millis());
        let (mut buffer, thread) =
            Self::spawn(keeper, Some(gauge), Attic::new(state_dir)).map_err(OpenError::Thread)?;
        buffer.state_dir = Some(state_dir.into());
        Ok((buffer, thread))
    }

    /// Over an outbox that the caller has opened. When its store fails it stays away.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(outbox: Outbox, attic: Attic) -> std::io::Result<(Self, BufferThread)> {
        let opener: Opener = Box::new(|| Err("it was not opened by its folder".to_owned()));
        let keeper =
            Keeper::new(Ok(outbox), opener, MEMORY_BYTES, Instant::now(), Utc::now().timestamp_millis());
        Self::spawn(keeper, None, attic)
    }

    fn spawn(keeper: Keeper, gauge: Option<Gauge>, attic: Attic) -> std::io::Result<(Self, BufferThread)> {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUED_JOBS);
        let (publish, status) = watch::channel(keeper.status());
        let mut desk = Desk { keeper, gauge, attic, publish };
        desk.show();
        // Only for a wait with a limit: the work itself blocks.
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread =
            std::thread::Builder::new().name("buffer".to_owned()).spawn(move || desk.work(queue, &clock))?;
        Ok((Self { jobs, status, state_dir: None }, BufferThread(thread)))
    }

    /// Where stores of old epochs may wait beside it ([`super::old_epochs`]).
    #[must_use]
    pub fn state_dir(&self) -> Option<&Path> {
        self.state_dir.as_deref()
    }

    /// What the buffer holds, and word of every change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Waits until the store was open once: from then on the epoch is known.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn opened(&self) -> Result<(), BufferError> {
        let known = |status: &Status| !matches!(status.flash.store, super::StoreState::Unopened { .. });
        self.status.clone().wait_for(known).await.map(drop).map_err(|_| BufferError::Stopped)
    }

    /// Where the source continues; empty for nowhere, and while the store is away.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn cursor(&self) -> Result<Vec<u8>, BufferError> {
        let cursor = self.call(|desk| desk.on_flash(|outbox, _| Ok(outbox.cursor().to_vec()))).await?;
        Ok(cursor.unwrap_or_default())
    }

    /// What the history remembers of its recalls; `None` while the store is away.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn recalls(&self) -> Result<Option<Vec<u8>>, BufferError> {
        self.call(|desk| desk.on_flash(|outbox, _| Ok(outbox.recalls().to_vec()))).await
    }

    /// The largest odometer total that was ever recorded; `None` also while the store is away.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn odometer_m(&self) -> Result<Option<u64>, BufferError> {
        Ok(self.call(|desk| desk.on_flash(|outbox, _| Ok(outbox.odometer_m()))).await?.flatten())
    }

    /// See [`Outbox::append_recalled`]. False, and nothing done, while the store is away.
    ///
    /// # Errors
    /// When the fixes cannot be encoded, or the thread has ended.
    pub async fn append_recalled(&self, fixes: Vec<Fix>, recalls: Vec<u8>) -> Result<bool, BufferError> {
        let done =
            self.call(move |desk| desk.on_flash(|outbox, _| outbox.append_recalled(fixes, recalls))).await?;
        Ok(done.is_some())
    }

    /// See [`Outbox::append`]: on flash when it returns; in memory, bounded, while the flash takes nothing.
    ///
    /// # Errors
    /// When the fixes cannot be encoded, or the thread has ended.
    pub async fn append(
        &self,
        fixes: Vec<Fix>,
        boot_id: u32,
        cursor: Option<Vec<u8>>,
    ) -> Result<(), BufferError> {
        self.call(move |desk| desk.append(Unwritten { fixes, boot_id, cursor })).await
    }

    /// Without effect while the flash is away: what is not forgotten is sent once more.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn forget(&self, durable: RangeSet) -> Result<(), BufferError> {
        self.call(move |desk| desk.on_flash(|outbox, _| outbox.forget(&durable))).await.map(drop)
    }

    /// The cloud has numbers that this buffer has not given out: from now on a new epoch. Returns whether there is one;
    /// not without a state directory of its own, and not while the flash is away.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn renew(&self) -> Result<bool, BufferError> {
        let Some(state_dir) = self.state_dir.clone() else { return Ok(false) };
        let fresh = Epoch(rand::random());
        let done = self
            .call(move |desk| desk.on_flash(|outbox, _| epochs::renew(outbox, &state_dir, fresh)))
            .await?;
        Ok(done.is_some())
    }

    /// Without effect while the flash is away: what is not given up is sent, and refused, once more.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn give_up(&self, range: SequenceRange, reason: LossReason) -> Result<(), BufferError> {
        self.call(move |desk| {
            desk.on_flash(|outbox, attic| {
                let keep = keeper(outbox, attic);
                outbox.give_up(range, reason, &mut { keep })
            })
        })
        .await
        .map(drop)
    }

    /// `None` also while the flash is away, then after a pause.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn next_upload(&self, from: u64, limits: UploadLimits) -> Result<Option<Upload>, BufferError> {
        let upload = self
            .call(move |desk| {
                desk.on_flash(|outbox, attic| {
                    let keep = keeper(outbox, attic);
                    outbox.next_upload(from, limits, &mut { keep })
                })
            })
            .await?;
        if upload.is_none() {
            let mut status = self.status.clone();
            let back = status.wait_for(|status| status.flash.store.is_open());
            // Either way the caller decides anew.
            let _ = tokio::time::timeout(AWAY_PAUSE, back).await;
        }
        Ok(upload.flatten())
    }

    /// Returns when everything that was asked before is done: the thread lives and the flash answers.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn probe(&self) -> Result<(), BufferError> {
        self.call(|_| Ok(())).await
    }

    async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Desk) -> Result<R, BufferError> + Send + 'static,
    ) -> Result<R, BufferError> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |desk| {
            let done = work(desk);
            // Before the answer: whoever has it may rely on the status being at least as new.
            desk.show();
            // A caller that went away does not need the answer.
            let _ = answer.send(done);
        });
        self.jobs.send(job).await.map_err(|_| BufferError::Stopped)?;
        result.await.map_err(|_| BufferError::Stopped)?
    }
}

impl Desk {
    fn work(mut self, mut queue: mpsc::Receiver<Job>, clock: &tokio::runtime::Runtime) {
        loop {
            let job = match self.keeper.wake_at() {
                None => queue.blocking_recv(),
                Some(at) => {
                    let wait = at.saturating_duration_since(Instant::now());
                    match clock.block_on(async { tokio::time::timeout(wait, queue.recv()).await }) {
                        Ok(job) => job,
                        Err(_) => {
                            self.tick();
                            continue;
                        }
                    }
                }
            };
            let Some(job) = job else { break };
            job(&mut self);
        }
        let lost = self.keeper.finish(Instant::now(), Utc::now().timestamp_millis());
        if lost > 0 {
            tracing::error!(
                fixes = lost,
                "the agent ends while its flash takes nothing: these fixes are lost"
            );
        }
        if let Some(gauge) = &mut self.gauge {
            gauge.save(&self.keeper.status());
        }
    }

    fn tick(&mut self) {
        if let Err(error) = self.keeper.tick(Instant::now(), Utc::now().timestamp_millis()) {
            tracing::error!(%error, "what waits in memory cannot be written");
        }
        self.show();
    }

    fn append(&mut self, block: Unwritten) -> Result<(), BufferError> {
        if let (Some(gauge), Some(outbox)) = (&mut self.gauge, self.keeper.outbox()) {
            let held = outbox.status().bytes;
            outbox.set_max_bytes(gauge.max_bytes(held));
        }
        self.keeper.append(block, Instant::now(), Utc::now().timestamp_millis())
    }

    fn on_flash<R>(
        &mut self,
        work: impl FnOnce(&mut Outbox, &Attic) -> Result<R, BufferError>,
    ) -> Result<Option<R>, BufferError> {
        let attic = &self.attic;
        self.keeper.attempt(Instant::now(), Utc::now().timestamp_millis(), |outbox| work(outbox, attic))
    }

    /// Tells the others how things stand now.
    fn show(&mut self) {
        let mut now = self.keeper.status();
        if let Some(gauge) = &mut self.gauge {
            gauge.note_extent(&now);
            gauge.show(&mut now, Instant::now());
        }
        self.publish.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }
}

/// Puts batches that leave undelivered into the attic, and says so.
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
