//! What can still be had of a damaged store: every whole block in its file, whatever became of sled's own structure.
//!
//! A block says its length and carries its batch's CRC; a state record carries its own. So the file is read from
//! front to back and everything that proves whole is taken. The result is a store of its own under the old epoch,
//! delivered beside the new one ([`super::epochs`]): what was saved is held, everything else that the old epoch may
//! have held is lost, reason `CORRUPTION`. A log keeps old versions for a while; so
//!
//! - what the newest state record found does not hold any more is not taken from below its `next`;
//! - what a thinned block replaced is not taken beside it, or the same fix would arrive under two numbers.
//!
//! Fixes that the cloud has already may be among what is taken; it drops them by their number.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use avl_shared::batch;
use avl_shared::link::LossReason;
use avl_shared::sequence::{Epoch, RangeSet, SequenceRange};

use super::block::{self, Kind, MAX_BLOCK_BYTES};
use super::extent::Extent;
use super::sled_table::SledTable;
use super::state::{self, State};
use super::table::{Change, Durability, Table, TableError};

/// Read at once; blocks that reach into the next piece are carried over.
const PIECE_BYTES: usize = 1 << 20;
/// What blocks and state records begin with.
const MARKS: [u8; 2] = [block::MARK[0], state::MARK[0]];
/// Blocks written at once to the store of what was saved.
const PUT_AT_ONCE: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    #[error("the damaged buffer cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("what was saved cannot be written: {0}")]
    Write(#[from] TableError),
}

/// What is known of an old epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    pub epoch: Epoch,
    pub held: RangeSet,
    pub lost: RangeSet,
    /// Where the source was to continue, by the newest that says so.
    pub cursor: Vec<u8>,
}

/// One thing that proved whole.
pub(super) enum Found<'a> {
    State(State),
    Block { kind: Kind, epoch: Epoch, range: SequenceRange, cursor: Option<&'a [u8]>, bytes: &'a [u8] },
}

/// Reads the store's file in `damaged` and makes a store of what is whole where `place` says for its epoch.
/// `None` when not even the epoch can be told.
///
/// # Errors
/// When the disk refuses; nothing is at that place then.
pub(super) fn salvage(
    damaged: &Path,
    place: impl FnOnce(Epoch) -> PathBuf,
    extent: Option<Extent>,
) -> Result<Option<Salvaged>, SalvageError> {
    let mut survey = Survey::default();
    read_all(damaged, Looking::ForAll, &mut |found| {
        survey.see(&found);
        Ok(())
    })?;
    let Some(epoch) = survey.epoch(extent) else { return Ok(None) };
    let state = survey.newest_state.filter(|state| state.epoch == epoch);
    let known_next = extent.filter(|extent| extent.epoch == epoch).map_or(0, |extent| extent.next);
    let state_next = state.as_ref().map_or(0, |state| state.next);
    let next = known_next.max(state_next).max(survey.end);

    // Below the record's `next` only what it holds; behind it, and without a record, everything.
    let mut wanted = state.as_ref().map(|state| state.held.clone()).unwrap_or_default();
    numbers(state_next, next).into_iter().for_each(|range| drop(wanted.insert(range)));
    let mut allowed = wanted.clone();
    for replaced in survey.replaced.ranges() {
        allowed.remove(*replaced);
    }

    let target = place(epoch);
    let fresh = target.with_extension("new");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    let mut saved = State::new(epoch);
    saved.next = next;
    // The cloud may have any of them: none may be thinned.
    saved.sent = numbers(0, next).into_iter().collect();
    {
        let mut table = SledTable::open(&fresh)?;
        let mut put = Vec::new();
        read_all(damaged, Looking::ForAll, &mut |found| {
            let Found::Block { epoch: of, range, bytes, .. } = found else { return Ok(()) };
            let useful = allowed.within(range);
            if of != epoch || useful.is_empty() || saved.held.covers(range) {
                return Ok(());
            }
            saved.held.extend_from(&useful);
            saved.bytes += bytes.len() as u64;
            put.push((range.first(), bytes.to_vec()));
            if put.len() >= PUT_AT_ONCE {
                let change =
                    Change { state: Some(saved.encode()), put: std::mem::take(&mut put), remove: Vec::new() };
                table.commit(change, Durability::Later)?;
            }
            Ok(())
        })?;
        if let Some(state) = &state {
            saved.lost = state.lost.clone();
        }
        let mut missing = wanted;
        saved.held.ranges().iter().for_each(|range| missing.remove(*range));
        // What was replaced is in the thinned block, or was declared with it.
        survey.replaced.ranges().iter().for_each(|range| missing.remove(*range));
        saved.lost.insert(LossReason::Corruption, &missing);
        table.commit(Change { state: Some(saved.encode()), put, remove: Vec::new() }, Durability::Now)?;
    }
    let _ = fs::remove_dir_all(&target);
    fs::rename(&fresh, &target)?;
    if let Some(parent) = target.parent() {
        File::open(parent)?.sync_all()?;
    }
    let appended = survey.cursor.filter(|(of, end, _)| *of == epoch && *end > state_next);
    let cursor = appended.map(|(.., cursor)| cursor).or(state.map(|state| state.cursor)).unwrap_or_default();
    Ok(Some(Salvaged { epoch, held: saved.held, lost: saved.lost.all(), cursor }))
}

/// What the first reading tells.
#[derive(Default)]
struct Survey {
    newest_state: Option<State>,
    /// Blocks counted by epoch: a store has one, so this is short.
    epochs: Vec<(Epoch, u64)>,
    end: u64,
    replaced: RangeSet,
    /// Of the block that reaches farthest: its epoch, where it ends, and where its source continues.
    cursor: Option<(Epoch, u64, Vec<u8>)>,
}

impl Survey {
    fn see(&mut self, found: &Found<'_>) {
        match found {
            Found::State(state) => {
                if self.newest_state.as_ref().is_none_or(|known| known.next <= state.next) {
                    self.newest_state = Some(state.clone());
                }
            }
            Found::Block { kind, epoch, range, cursor, .. } => {
                match self.epochs.iter_mut().find(|(known, _)| known == epoch) {
                    Some((_, count)) => *count += 1,
                    None => self.epochs.push((*epoch, 1)),
                }
                let end = range.last().saturating_add(1);
                if let Some(cursor) = cursor
                    && self.cursor.as_ref().is_none_or(|(_, known, _)| *known < end)
                {
                    self.cursor = Some((*epoch, end, cursor.to_vec()));
                }
                self.end = self.end.max(end);
                if let Kind::Thinned(replaced) = kind {
                    self.replaced.insert(*replaced);
                }
            }
        }
    }

    fn epoch(&self, extent: Option<Extent>) -> Option<Epoch> {
        let of_state = self.newest_state.as_ref().map(|state| state.epoch);
        let of_blocks = self.epochs.iter().max_by_key(|(_, count)| *count).map(|(epoch, _)| *epoch);
        of_state.or(extent.map(|extent| extent.epoch)).or(of_blocks)
    }
}

fn numbers(from: u64, end: u64) -> Option<SequenceRange> {
    end.checked_sub(1).and_then(|last| SequenceRange::new(from, last))
}

/// What a reading is after. To prove a block whole it has to be decoded, so only those are that matter.
#[derive(Clone, Copy)]
pub(super) enum Looking {
    ForAll,
    /// All state records, and all blocks but those of this epoch that lie below its number.
    Beyond(Extent),
}

impl Looking {
    fn wants(self, batch: &[u8]) -> bool {
        match self {
            Self::ForAll => true,
            Self::Beyond(Extent { epoch, next, .. }) => {
                batch::peek(batch).is_ok_and(|header| header.epoch != epoch || header.range.last() >= next)
            }
        }
    }
}

pub(super) fn read_all(
    directory: &Path,
    looking: Looking,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), SalvageError>,
) -> Result<(), SalvageError> {
    let path = directory.join("db");
    match File::open(&path) {
        Ok(file) => read_pieces(file, looking, visit),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn read_pieces(
    mut file: impl Read,
    looking: Looking,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), SalvageError>,
) -> Result<(), SalvageError> {
    let (mut window, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    loop {
        let read = match file.read(&mut piece) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A sector that cannot be read ends the file for us: what stands before it is saved.
            Err(error) => {
                tracing::warn!(%error, "the damaged buffer cannot be read to its end");
                0
            }
        };
        window.extend_from_slice(piece.get(..read).unwrap_or_default());
        // What begins before this point is whole in the window, if it is whole at all.
        let sure = if read == 0 { window.len() } else { window.len().saturating_sub(MAX_BLOCK_BYTES) };
        let mut at = 0;
        while at < sure {
            let rest = window.get(at..sure).unwrap_or_default();
            let Some(ahead) = rest.iter().position(|byte| MARKS.contains(byte)) else { break };
            at += ahead + inspect(window.get(at + ahead..).unwrap_or_default(), looking, visit)?;
        }
        if read == 0 {
            return Ok(());
        }
        window.drain(..sure.max(at.min(window.len())));
    }
}

/// Looks at what may begin here; returns how far to go on.
fn inspect(
    bytes: &[u8],
    looking: Looking,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), SalvageError>,
) -> Result<usize, SalvageError> {
    if let Some((state, length)) = State::prefix(bytes) {
        visit(Found::State(state))?;
        return Ok(length);
    }
    let Some((block, length)) = block::prefix(bytes).filter(|(block, _)| looking.wants(block.batch)) else {
        return Ok(1);
    };
    let Ok(batch) = batch::decode(block.batch) else { return Ok(1) };
    let Some(range) = SequenceRange::starting_at(batch.first, batch.fixes.len() as u64) else { return Ok(1) };
    let whole = bytes.get(..length).unwrap_or_default();
    visit(Found::Block { kind: block.kind, epoch: batch.epoch, range, cursor: block.cursor, bytes: whole })?;
    Ok(length)
}

#[cfg(test)]
#[path = "salvage_tests.rs"]
mod tests;
