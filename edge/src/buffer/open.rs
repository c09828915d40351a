//! Opening the buffer, and what to do when it cannot be opened.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use avl_shared::sequence::Epoch;

use super::outbox::{BufferError, Outbox};
use super::sled_table::SledTable;
use super::table::TableError;

/// A damaged file can make sled panic, and a gateway's build ends the process then. After so many openings in a
/// row that did not end, the file is taken for damaged. More than one, because a power cut or a kill looks the same.
const MAX_UNFINISHED_OPENINGS: u32 = 5;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Buffer(#[from] BufferError),
    #[error("{action} {path}: {source}: avl-edge needs to own its state_dir and write there", path = path.display())]
    Directory { action: &'static str, path: PathBuf, source: io::Error },
    #[error("there is no buffer in {path} yet: 'avl-edge run' makes it", path = path.display())]
    Absent { path: PathBuf },
}

/// An opened buffer, and where the damaged one before it went.
pub struct Opened {
    pub outbox: Outbox,
    pub set_aside: Option<SetAsideStore>,
}

#[derive(Debug)]
pub struct SetAsideStore {
    pub moved_to: PathBuf,
    pub cause: String,
}

/// Opens the buffer under `state_dir`, makes one, or sets a damaged one aside and makes a new one.
///
/// # Errors
/// When another agent has it, or the disk refuses.
pub fn open(state_dir: &Path, max_bytes: u64, fresh_epoch: Epoch) -> Result<Opened, OpenError> {
    let directory = directory(state_dir);
    fs::create_dir_all(&directory).map_err(|source| failed("cannot create", &directory, source))?;
    let tally = state_dir.join("buffer.opening");
    let unfinished =
        fs::read_to_string(&tally).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0_u32);
    let opened = if unfinished >= MAX_UNFINISHED_OPENINGS {
        Err(BufferError::Table(TableError::Corrupt(format!("opening it failed {unfinished} times in a row"))))
    } else {
        fs::write(&tally, (unfinished + 1).to_string())
            .map_err(|source| failed("cannot write", &tally, source))?;
        open_once(&directory, max_bytes, fresh_epoch)
    };
    let opened = match opened {
        Ok(outbox) => Ok(Opened { outbox, set_aside: None }),
        Err(error @ (BufferError::Table(TableError::Corrupt(_)) | BufferError::State)) => {
            let moved_to = set_aside(state_dir, &directory)?;
            open_once(&directory, max_bytes, fresh_epoch).map(|outbox| Opened {
                outbox,
                set_aside: Some(SetAsideStore { moved_to, cause: error.to_string() }),
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
    Ok(open_once(&directory, u64::MAX, Epoch(0))?)
}

fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("buffer")
}

fn open_once(directory: &Path, max_bytes: u64, fresh_epoch: Epoch) -> Result<Outbox, BufferError> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        Outbox::open(Box::new(SledTable::open(directory)?), max_bytes, fresh_epoch)
    }));
    attempt.unwrap_or_else(|_| {
        Err(BufferError::Table(TableError::Corrupt("sled panicked while reading it".to_owned())))
    })
}

/// One damaged store is kept for study; an older one makes room for it.
fn set_aside(state_dir: &Path, directory: &Path) -> Result<PathBuf, OpenError> {
    let target = state_dir.join("buffer.damaged");
    if target.exists() {
        fs::remove_dir_all(&target).map_err(|source| failed("cannot remove", &target, source))?;
    }
    fs::rename(directory, &target).map_err(|source| failed("cannot move away", directory, source))?;
    fs::create_dir_all(directory).map_err(|source| failed("cannot create", directory, source))?;
    Ok(target)
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Directory { action, path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
