//! Opening the buffer, and what to do when it cannot be opened or is not the one that was closed.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use avl_shared::link::LossReason;
use avl_shared::sequence::Epoch;

use super::ends::{Ends, Shown};
use super::epochs;
use super::extent::{self, Extent};
use super::outbox::{Bounds, BufferError, Outbox};
use super::salvage::{SalvageError, Salvaged, salvage};
use super::sled_table::SledTable;
use super::space;
use super::table::TableError;

/// A damaged file can make sled panic, and a gateway's build ends the process then. After so many openings in a
/// row that did not end, the file is taken for damaged. More than one, because a power cut or a kill looks the same.
const MAX_UNFINISHED_OPENINGS: u32 = 10;

/// sled writes a segment or two when it opens. On a full disk it must not even try: the failure would look like damage.
const ROOM_TO_OPEN: u64 = 1 << 20;

/// In a set-aside store: it was searched for what can be saved.
const SALVAGED_MARK: &str = "salvaged";

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Buffer(#[from] BufferError),
    #[error("{action} {path}: {source}: avl-edge needs to own its state_dir and write there", path = path.display())]
    Directory { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{path} has {free} bytes free and the buffer needs {ROOM_TO_OPEN} to open: make room on that file system",
        path = path.display()
    )]
    NoRoom { path: PathBuf, free: u64 },
    #[error("there is no buffer in {path} yet: 'avl-edge run' makes it", path = path.display())]
    Absent { path: PathBuf },
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    #[error("the system gives no thread for the buffer: {0}")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// The flash does not work now, but may later; the agent need not end.
    #[must_use]
    pub const fn is_flash(&self) -> bool {
        match self {
            Self::Buffer(BufferError::Table(TableError::Locked { .. }))
            | Self::Absent { .. }
            | Self::Thread(_) => false,
            Self::Buffer(_) | Self::Directory { .. } | Self::NoRoom { .. } | Self::Salvage(_) => true,
        }
    }
}

/// An opened buffer, and what became of the one before it.
pub struct Opened {
    pub outbox: Outbox,
    pub set_aside: Option<SetAsideStore>,
    /// The old epoch whose store is not where it was written, and so may be an old copy.
    pub moved: Option<Epoch>,
}

#[derive(Debug)]
pub struct SetAsideStore {
    pub moved_to: PathBuf,
    pub cause: String,
    /// What can still be delivered, under the old epoch.
    pub salvaged: Option<Salvaged>,
}

impl From<u64> for Bounds {
    fn from(max_bytes: u64) -> Self {
        Self::bytes(max_bytes)
    }
}

/// Opens the buffer under `state_dir`, makes one, or sets a damaged one aside, saves what is whole of it, and makes
/// a new one. A store that was put there from a copy is delivered under its epoch and gets no new numbers.
///
/// # Errors
/// When another agent has it, or the disk refuses.
pub fn open(state_dir: &Path, bounds: impl Into<Bounds>, fresh_epoch: Epoch) -> Result<Opened, OpenError> {
    let bounds = bounds.into();
    let directory = directory(state_dir);
    fs::create_dir_all(&directory).map_err(|source| failed("cannot create", &directory, source))?;
    prove_writable(state_dir)?;
    finish_salvage(state_dir)?;
    let tally = state_dir.join("buffer.opening");
    let unfinished =
        fs::read_to_string(&tally).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0_u32);
    let opened = if unfinished >= MAX_UNFINISHED_OPENINGS {
        Err(BufferError::Table(TableError::Corrupt(format!("opening it failed {unfinished} times in a row"))))
    } else {
        fs::write(&tally, (unfinished + 1).to_string())
            .map_err(|source| failed("cannot write", &tally, source))?;
        open_whole(state_dir, &directory, bounds, fresh_epoch)?
            .and_then(|(outbox, cut_short)| give_up(outbox, cut_short))
    };
    let opened = match opened {
        Ok(outbox) => match moved_epoch(state_dir, &directory, &outbox) {
            None => Ok(Opened { outbox, set_aside: None, moved: None }),
            Some(epoch) => {
                let cursor = outbox.cursor().to_vec();
                drop(outbox);
                let target = epochs::path(state_dir, epoch);
                fs::rename(&directory, &target)
                    .map_err(|source| failed("cannot move away", &directory, source))?;
                fresh(&directory, bounds, fresh_epoch, cursor).map(|outbox| Opened {
                    outbox,
                    set_aside: None,
                    moved: Some(epoch),
                })
            }
        },
        Err(error @ (BufferError::Table(TableError::Corrupt(_)) | BufferError::State)) => {
            let moved_to = set_aside(state_dir, &directory)?;
            let salvaged = finish_salvage(state_dir)?;
            let cursor = salvaged.as_ref().map(|saved| saved.cursor.clone()).unwrap_or_default();
            fresh(&directory, bounds, fresh_epoch, cursor).map(|outbox| Opened {
                outbox,
                set_aside: Some(SetAsideStore { moved_to, cause: error.to_string(), salvaged }),
                moved: None,
            })
        }
        Err(error) => Err(error),
    };
    // It came back, with whatever result: the next opening starts to count anew.
    fs::remove_file(&tally)
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .map_err(|source| failed("cannot remove", &tally, source))?;
    Ok(opened?)
}

/// [`open`] for the agent: a random fresh epoch, and what was found goes to the log.
pub(super) fn open_loudly(state_dir: &Path, bounds: Bounds) -> Result<Outbox, OpenError> {
    let Opened { outbox, set_aside, moved } = open(state_dir, bounds, Epoch(rand::random()))?;
    if let Some(SetAsideStore { moved_to, cause, salvaged }) = set_aside {
        let (saved, lost) = salvaged.map_or((0, 0), |saved| (saved.held.count(), saved.lost.count()));
        tracing::error!(
            cause,
            moved_to = %moved_to.display(),
            saved,
            lost,
            "the buffer was damaged: set aside, and a new one started under a new epoch; what could be saved goes to the cloud under the old one, the rest is declared lost"
        );
    }
    if let Some(epoch) = moved {
        tracing::warn!(
            %epoch,
            "the buffer is a copy of the one that was written: what it holds goes to the cloud as it is, new fixes come under a new epoch"
        );
    }
    Ok(outbox)
}

/// Opens the buffer to look at it: never makes one, never moves one away.
///
/// # Errors
/// When there is none, another agent has it, or it is damaged.
pub fn inspect(state_dir: &Path) -> Result<Outbox, OpenError> {
    let directory = directory(state_dir);
    if !directory.join("db").exists() {
        return Err(OpenError::Absent { path: state_dir.to_owned() });
    }
    // No append happens, so neither the bound nor the epoch of a fresh buffer matters.
    let (outbox, _) = open_whole(state_dir, &directory, Bounds::bytes(u64::MAX), Epoch(0))??;
    Ok(outbox)
}

/// Where a state directory has its store.
#[must_use]
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("buffer")
}

pub(super) fn open_once(directory: &Path, bounds: Bounds, fresh_epoch: Epoch) -> Result<Outbox, BufferError> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        Outbox::open(Box::new(SledTable::open(directory)?), bounds, fresh_epoch)
    }));
    attempt.unwrap_or_else(|_| {
        Err(BufferError::Table(TableError::Corrupt("sled panicked while reading it".to_owned())))
    })
}

/// A new store, which takes over where the source continues.
fn fresh(
    directory: &Path,
    bounds: Bounds,
    fresh_epoch: Epoch,
    cursor: Vec<u8>,
) -> Result<Outbox, BufferError> {
    let mut outbox = open_once(directory, bounds, fresh_epoch)?;
    outbox.adopt_cursor(cursor)?;
    Ok(outbox)
}

/// Opens the store and sees to it that it shows everything that was synced to it. How far that went is looked up before sled
/// can cut anything off, and kept, should this process not come to the end of it. Also returns how many numbers a write had
/// that was cut short.
fn open_whole(
    state_dir: &Path,
    directory: &Path,
    bounds: Bounds,
    fresh_epoch: Epoch,
) -> Result<Result<(Outbox, u64), BufferError>, OpenError> {
    let ends = Ends::read(directory, Extent::read(state_dir))
        .map_err(|source| failed("cannot read", directory, source))?;
    keep_reach(state_dir, |epoch| ends.of(epoch).proven)?;
    let opened = open_once(directory, bounds, fresh_epoch).and_then(|outbox| whole(&ends, outbox));
    if let Err(BufferError::Table(TableError::Corrupt(_)) | BufferError::State) = &opened {
        // The last write may have been sent as well, so it counts for what is declared lost.
        keep_reach(state_dir, |epoch| ends.of(epoch).last)?;
    }
    Ok(opened)
}

/// Writes down how far the numbers went, where that is farther than is known.
fn keep_reach(state_dir: &Path, reach: impl Fn(Epoch) -> u64) -> Result<(), OpenError> {
    let Some(extent) = Extent::read(state_dir) else { return Ok(()) };
    let next = reach(extent.epoch);
    if next <= extent.next {
        return Ok(());
    }
    Extent { next, ..extent }.write(state_dir).map_err(|source| failed("cannot write to", state_dir, source))
}

fn whole(ends: &Ends, outbox: Outbox) -> Result<(Outbox, u64), BufferError> {
    let status = outbox.status();
    match ends.judge(status.epoch, status.next_sequence) {
        Shown::All => Ok((outbox, 0)),
        Shown::Without(numbers) => Ok((outbox, numbers)),
        Shown::Damaged => {
            let cause = format!("its newest fixes, from number {} on, are gone", status.next_sequence);
            Err(TableError::Corrupt(cause).into())
        }
    }
}

/// The numbers of an append that was cut short are not used again, because their fixes may still have been sent.
fn give_up(mut outbox: Outbox, cut_short: u64) -> Result<Outbox, BufferError> {
    if cut_short > 0 {
        let next = outbox.status().next_sequence;
        tracing::warn!(next, numbers = cut_short, "the last write was cut short: its numbers are lost");
        outbox.append_gap(cut_short, LossReason::Corruption)?;
    }
    Ok(outbox)
}

/// A healthy store on a full or read-only disk must not be taken for a damaged one.
fn prove_writable(state_dir: &Path) -> Result<(), OpenError> {
    let free = space::free_bytes(state_dir).unwrap_or(u64::MAX);
    if free < ROOM_TO_OPEN {
        return Err(OpenError::NoRoom { path: state_dir.to_owned(), free });
    }
    let probe = state_dir.join("buffer.probe");
    fs::write(&probe, [0x55; 4096])
        .and_then(|()| fs::File::open(&probe)?.sync_all())
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|source| failed("cannot write", &probe, source))
}

/// The epoch of a store that lies on another file than it was written to: only its old numbers can be relied on.
fn moved_epoch(state_dir: &Path, directory: &Path, outbox: &Outbox) -> Option<Epoch> {
    let epoch = outbox.status().epoch;
    let known = Extent::read(state_dir).filter(|extent| extent.epoch == epoch && extent.inode != 0)?;
    let now = extent::inode(directory).ok().filter(|inode| *inode != 0)?;
    (now != known.inode).then_some(epoch)
}

/// One damaged store is kept for study; an older one makes room for it.
fn set_aside(state_dir: &Path, directory: &Path) -> Result<PathBuf, OpenError> {
    let target = damaged(state_dir);
    if target.exists() {
        fs::remove_dir_all(&target).map_err(|source| failed("cannot remove", &target, source))?;
    }
    fs::rename(directory, &target).map_err(|source| failed("cannot move away", directory, source))?;
    fs::create_dir_all(directory).map_err(|source| failed("cannot create", directory, source))?;
    Ok(target)
}

/// Saves what is whole of a damaged store, unless that was done; also when an agent before us did not get so far.
fn finish_salvage(state_dir: &Path) -> Result<Option<Salvaged>, OpenError> {
    let damaged = damaged(state_dir);
    let mark = damaged.join(SALVAGED_MARK);
    if !damaged.exists() || mark.exists() {
        return Ok(None);
    }
    let extent = Extent::read(state_dir);
    let salvaged = salvage(&damaged, |epoch| epochs::path(state_dir, epoch), extent)?;
    fs::write(&mark, "").map_err(|source| failed("cannot write", &mark, source))?;
    Ok(salvaged)
}

fn damaged(state_dir: &Path) -> PathBuf {
    state_dir.join("buffer.damaged")
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Directory { action, path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
