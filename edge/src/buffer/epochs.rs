//! Stores of old epochs: saved from damage, or of a state directory that was restored. They get no new numbers; what
//! they hold and declare is delivered on a connection of its own, under their epoch, and then they go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use avl_shared::sequence::Epoch;

use super::attic::Attic;
use super::open::open_once;
use super::outbox::{Bounds, BufferError, Outbox};
use super::service::{Buffer, BufferThread};
use super::sled_table::SledTable;
use super::table::TableError;

const PREFIX: &str = "buffer.old-";

/// Where the store of an old epoch is kept.
#[must_use]
pub(super) fn path(state_dir: &Path, epoch: Epoch) -> PathBuf {
    state_dir.join(format!("{PREFIX}{epoch}"))
}

/// The stores of old epochs that wait for delivery.
#[must_use]
pub fn waiting(state_dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(state_dir) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let epoch = path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX));
            epoch.is_some_and(|epoch| epoch.len() == 8 && u32::from_str_radix(epoch, 16).is_ok())
        })
        .collect();
    found.sort();
    found
}

/// Gives a buffer a new epoch, and puts what belongs to the old one beside it ([`Outbox::renew`]).
///
/// # Errors
/// When the disk refuses.
pub(super) fn renew(outbox: &mut Outbox, state_dir: &Path, fresh: Epoch) -> Result<(), BufferError> {
    let target = path(state_dir, outbox.status().epoch);
    let unfinished = target.with_extension("new");
    let io = |result: io::Result<()>| result.map_err(|error| BufferError::Table(TableError::Io(error)));
    let _ = fs::remove_dir_all(&unfinished);
    io(fs::create_dir_all(&unfinished))?;
    let mut table = SledTable::open(&unfinished)?;
    let worth_keeping = outbox.renew(fresh, &mut table)?;
    drop(table);
    if worth_keeping {
        let _ = fs::remove_dir_all(&target);
        io(fs::rename(&unfinished, &target))
    } else {
        io(fs::remove_dir_all(&unfinished))
    }
}

/// One of them, opened.
pub struct OldEpoch {
    pub buffer: Buffer,
    thread: BufferThread,
    path: PathBuf,
}

impl OldEpoch {
    /// Blocks for as long as the store takes to open.
    ///
    /// # Errors
    /// When it cannot be opened. One that is damaged is removed, because nobody could ever deliver it.
    pub fn open(state_dir: &Path, path: &Path) -> Result<Self, BufferError> {
        let outbox = open_once(path, Bounds::bytes(u64::MAX), Epoch(0)).inspect_err(|error| {
            if matches!(error, BufferError::State | BufferError::Table(super::TableError::Corrupt(_))) {
                tracing::error!(path = %path.display(), %error, "what was saved of an old epoch is damaged: removed");
                let _ = fs::remove_dir_all(path);
            }
        })?;
        let (buffer, thread) =
            Buffer::start(outbox, Attic::new(state_dir)).map_err(|_| BufferError::Stopped)?;
        Ok(Self { buffer, thread, path: path.to_owned() })
    }

    /// Closes it, and removes it when everything is acknowledged. Blocks. Returns whether it is gone.
    #[must_use]
    pub fn close(self) -> bool {
        let settled = self.buffer.status().borrow().is_settled();
        drop(self.buffer);
        self.thread.join();
        settled && fs::remove_dir_all(&self.path).is_ok()
    }
}
