//! Reads the flash's meters: free space, size, bytes written. Seldom, because all of it is for people.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::extent::{self, Extent};
use super::outbox::Status;
use super::space;
use super::view::FlashView;
use super::wear::{self, Wear};

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The extent is written at the first change and then each time so many numbers were given: five minutes at 1 Hz.
const EXTENT_EVERY: u64 = 300;

pub(super) struct Gauge {
    state_dir: PathBuf,
    store: PathBuf,
    max_bytes: u64,
    min_free: u64,
    endurance_tib: Option<f64>,
    wear: Wear,
    begun: Instant,
    looked: Option<Instant>,
    view: FlashView,
    extent: Option<Extent>,
}

impl Gauge {
    pub(super) fn new(
        state_dir: &Path,
        store: &Path,
        max_bytes: u64,
        min_free: u64,
        endurance_tib: Option<f64>,
        now: Instant,
    ) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            store: store.to_owned(),
            max_bytes,
            min_free,
            endurance_tib,
            wear: Wear::resume(state_dir, wear::process_bytes().unwrap_or(0)),
            begun: now,
            looked: None,
            view: FlashView::default(),
            extent: Extent::read(state_dir),
        }
    }

    /// What the buffer may hold, as free space has it.
    pub(super) fn max_bytes(&mut self, held_bytes: u64) -> u64 {
        // Without the figure, the configured bound must do.
        self.view.free_bytes = space::free_bytes(&self.state_dir).ok();
        let free = self.view.free_bytes.unwrap_or(u64::MAX);
        let low = free < self.min_free;
        if low && !self.view.free_is_low {
            tracing::warn!(
                free,
                min_free = self.min_free,
                "little free space: the buffer does not grow any more"
            );
        }
        self.view.free_is_low = low;
        space::bound(self.max_bytes, held_bytes, free, self.min_free)
    }

    /// Puts the meters into the status.
    pub(super) fn show(&mut self, status: &mut Status, now: Instant) {
        if self.looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_EVERY) {
            self.looked = Some(now);
            self.view.taken_bytes = space::taken_bytes(&self.store).unwrap_or(0);
            if let Ok(bytes) = wear::process_bytes() {
                let written = self.wear.observe(bytes, now.saturating_duration_since(self.begun));
                self.view.written_bytes_per_day = written.bytes_per_day();
                self.view.life_years = self.endurance_tib.and_then(|tib| written.life_years(tib));
            }
        }
        let FlashView { store, waiting_fixes, dropped_fixes, .. } = std::mem::take(&mut status.flash);
        status.flash = FlashView { store, waiting_fixes, dropped_fixes, ..self.view.clone() };
    }

    /// Notes how far the numbers go, now and then.
    pub(super) fn note_extent(&mut self, status: &Status) {
        if !status.flash.store.is_open() {
            return;
        }
        let due = self.extent.is_none_or(|extent| {
            extent.epoch != status.epoch || status.next_sequence >= extent.next + EXTENT_EVERY
        });
        if due {
            self.write_extent(status);
        }
    }

    fn write_extent(&mut self, status: &Status) {
        let written = extent::inode(&self.store).and_then(|inode| {
            let extent = Extent { epoch: status.epoch, next: status.next_sequence, inode };
            extent.write(&self.state_dir)?;
            Ok(extent)
        });
        match written {
            Ok(extent) => self.extent = Some(extent),
            Err(error) => tracing::debug!(%error, "the buffer's extent is not noted"),
        }
    }

    /// An orderly end: what is on flash now is exactly known.
    pub(super) fn save(&mut self, status: &Status) {
        self.wear.save();
        let noted = self
            .extent
            .is_some_and(|extent| extent.epoch == status.epoch && extent.next == status.next_sequence);
        if status.flash.store.is_open() && !noted {
            self.write_extent(status);
        }
    }
}
