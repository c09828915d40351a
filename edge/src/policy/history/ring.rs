//! The files: an append log in segments, each record a header and a wire batch.
//!
//! Header, 32 bytes, little endian: mark, length of the batch, first and last GNSS time in it (ms), 0, CRC-32C of the
//! 28 bytes before. The batch vouches for itself. Fixes are numbered from 0; a segment is named by its first number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use avl_shared::batch::{self, Batch, MAX_BYTES};
use avl_shared::fix::Fix;
use avl_shared::sequence::Epoch;
use crc::{CRC_32_ISCSI, Crc};

const MARK: u32 = u32::from_le_bytes(*b"AVH1");
const HEADER_BYTES: usize = 32;
static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// Dropping one drops a sixteenth of what is remembered.
const SEGMENTS: u64 = 16;

#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {source}: check that the disk is mounted writable and has free space", path = path.display())]
pub struct RingError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Where reading goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    segment: u64,
    offset: u64,
}

/// Consecutive fixes of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub first: u64,
    pub fixes: Vec<Fix>,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    bytes: u64,
}

#[derive(Debug)]
pub struct Ring {
    directory: PathBuf,
    max_bytes: u64,
    /// Tells this history from one that was deleted.
    id: u32,
    /// Oldest first.
    segments: Vec<Segment>,
    next: u64,
    open: Option<File>,
    damaged: u64,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    length: usize,
    from_ms: i64,
    to_ms: i64,
}

impl Header {
    fn encode(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MARK.to_le_bytes());
        out[4..8].copy_from_slice(&u32::try_from(self.length).unwrap_or(u32::MAX).to_le_bytes());
        out[8..16].copy_from_slice(&self.from_ms.to_le_bytes());
        out[16..24].copy_from_slice(&self.to_ms.to_le_bytes());
        let crc = CRC.checksum(&out[..28]);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let four = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let eight = |at: usize| Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if four(0)? != MARK || four(28)? != CRC.checksum(&bytes[..28]) {
            return None;
        }
        let length = usize::try_from(four(4)?).ok().filter(|length| *length <= MAX_BYTES)?;
        Some(Self { length, from_ms: eight(8)?, to_ms: eight(16)? })
    }
}

impl Ring {
    /// Opens the history in `directory`, or makes one; a torn end is cut off.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(directory: &Path, max_bytes: u64, fresh_id: u32) -> Result<Self, RingError> {
        let failed = |action, source| RingError { action, path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(|error| failed("cannot create", error))?;
        let mut segments = Vec::new();
        for entry in fs::read_dir(directory).map_err(|error| failed("cannot read", error))? {
            let entry = entry.map_err(|error| failed("cannot read", error))?;
            let name = entry.file_name();
            let first = name.to_str().and_then(|name| name.strip_suffix(".seg")?.parse().ok());
            if let Some(first) = first {
                let bytes = entry.metadata().map_err(|error| failed("cannot read", error))?.len();
                segments.push(Segment { first, bytes });
            }
        }
        segments.sort_by_key(|segment| segment.first);
        let mut ring = Self {
            directory: directory.to_owned(),
            max_bytes,
            id: fresh_id,
            segments,
            next: 0,
            open: None,
            damaged: 0,
        };
        ring.find_end()?;
        Ok(ring)
    }

    /// Finds the next number and the id, and cuts off what a power cut left half-written.
    fn find_end(&mut self) -> Result<(), RingError> {
        let Some(last) = self.segments.last().map(|segment| segment.first) else { return Ok(()) };
        self.next = last;
        let path = self.path(last);
        let failed = |action, source| RingError { action, path: path.clone(), source };
        let mut reader = BufReader::new(File::open(&path).map_err(|error| failed("cannot read", error))?);
        let mut end = 0;
        while let Some((header, bytes)) =
            read_record(&mut reader, None).map_err(|error| failed("cannot read", error))?
        {
            let Ok(batch) = batch::decode(&bytes) else { break };
            (self.id, self.next) = (batch.epoch.0, batch.first + batch.fixes.len() as u64);
            end += (HEADER_BYTES + header.length) as u64;
        }
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(|error| failed("cannot open", error))?;
        if let Some(segment) = self.segments.last_mut().filter(|segment| segment.bytes != end) {
            tracing::warn!(path = %path.display(), cut = segment.bytes.saturating_sub(end), "the history's end was torn by a power cut: cut off");
            file.set_len(end).map_err(|error| failed("cannot cut", error))?;
            segment.bytes = end;
        }
        // A segment whose first record is torn does not tell the id; one before it does.
        if end == 0 {
            for segment in self.segments.iter().rev().skip(1) {
                let path = self.path(segment.first);
                let Ok(file) = File::open(&path) else { continue };
                if let Ok(Some((_, bytes))) = read_record(&mut BufReader::new(file), None)
                    && let Ok(batch) = batch::decode(&bytes)
                {
                    self.id = batch.epoch.0;
                    break;
                }
            }
        }
        self.open = Some(file);
        Ok(())
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The oldest number that is still here, and the next one.
    #[must_use]
    pub fn numbers(&self) -> (u64, u64) {
        (self.segments.first().map_or(self.next, |segment| segment.first), self.next)
    }

    /// Blocks that could not be read.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Adds the fixes as one block, durable on return, and drops the oldest segments beyond the bound.
    ///
    /// # Errors
    /// When the disk refuses; then nothing of them is there.
    pub fn append(&mut self, fixes: Vec<Fix>) -> Result<(), RingError> {
        let times = || fixes.iter().filter_map(|fix| fix.time);
        let (from_ms, to_ms) = (times().min().unwrap_or(i64::MIN), times().max().unwrap_or(i64::MAX));
        let count = fixes.len() as u64;
        // Held-back fixes have a time; an uptime would need the boot it counts from.
        let fixes = fixes.into_iter().map(|fix| Fix { uptime: None, ..fix }).collect();
        let batch = Batch { epoch: Epoch(self.id), first: self.next, boot_id: None, fixes };
        let encoded = batch::encode(&batch)
            .map_err(|error| self.failed("cannot encode for", io::Error::other(error)))?;
        let segment_bytes = (self.max_bytes / SEGMENTS).max(1);
        if self.open.is_none() || self.segments.last().is_none_or(|segment| segment.bytes >= segment_bytes) {
            self.begin_segment()?;
        }
        let header = Header { length: encoded.len(), from_ms, to_ms };
        let record = [&header.encode()[..], &encoded].concat();
        let whole = self.segments.last().map_or(0, |segment| segment.bytes);
        if let Some(file) = &mut self.open {
            let written = file.write_all(&record).and_then(|()| file.sync_data());
            if let Err(error) = written {
                // Half a record would hide those behind it; should this fail too, opening cuts it off.
                let _ = file.set_len(whole);
                return Err(self.failed("cannot write to", error));
            }
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.bytes += record.len() as u64;
        }
        self.next += count;
        self.drop_oldest()
    }

    fn begin_segment(&mut self) -> Result<(), RingError> {
        let path = self.path(self.next);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| self.failed("cannot make a file in", error))?;
        file.set_len(0).map_err(|error| self.failed("cannot write to", error))?;
        // Its name must be as durable as what it will hold.
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| self.failed("cannot sync", error))?;
        self.open = Some(file);
        self.segments.retain(|segment| segment.first != self.next);
        self.segments.push(Segment { first: self.next, bytes: 0 });
        Ok(())
    }

    fn drop_oldest(&mut self) -> Result<(), RingError> {
        while self.segments.len() > 1 && self.bytes() > self.max_bytes {
            let oldest = self.segments.remove(0);
            fs::remove_file(self.path(oldest.first))
                .map_err(|error| self.failed("cannot remove the oldest of", error))?;
        }
        Ok(())
    }

    /// The next block, from `position` on, that has fixes of the period; and where to go on. Damaged ones are skipped.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn next_block(
        &mut self,
        mut position: Position,
        period: (i64, i64),
    ) -> Result<Option<(Block, Position)>, RingError> {
        loop {
            let Some(index) = self.segments.iter().position(|segment| segment.first >= position.segment)
            else {
                return Ok(None);
            };
            let segment = self.segments[index].first;
            if segment != position.segment {
                position = Position { segment, offset: 0 };
            }
            if let Some(found) = self.next_in_segment(&mut position, period)? {
                return Ok(Some((found, position)));
            }
            position = Position { segment: segment + 1, offset: 0 };
        }
    }

    fn next_in_segment(
        &mut self,
        position: &mut Position,
        period: (i64, i64),
    ) -> Result<Option<Block>, RingError> {
        let path = self.path(position.segment);
        let failed = |source| RingError { action: "cannot read", path: path.clone(), source };
        let mut reader = BufReader::new(File::open(&path).map_err(failed)?);
        reader.seek(SeekFrom::Start(position.offset)).map_err(failed)?;
        while let Some((header, bytes)) = read_record(&mut reader, Some(period)).map_err(failed)? {
            position.offset += (HEADER_BYTES + header.length) as u64;
            if bytes.is_empty() {
                continue;
            }
            match batch::decode(&bytes) {
                Ok(Batch { first, fixes, .. }) => return Ok(Some(Block { first, fixes })),
                Err(error) => {
                    self.damaged += 1;
                    tracing::warn!(path = %path.display(), offset = position.offset, %error, "a block of the history is damaged: skipped");
                }
            }
        }
        let read_to = position.offset;
        let known = self.segments.iter().find(|segment| segment.first == position.segment);
        if known.is_some_and(|segment| segment.bytes > read_to) {
            self.damaged += 1;
            tracing::warn!(path = %path.display(), offset = read_to, "the history's segment is damaged: the rest of it is skipped");
        }
        Ok(None)
    }

    fn path(&self, first: u64) -> PathBuf {
        self.directory.join(format!("{first:020}.seg"))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> RingError {
        RingError { action, path: self.directory.clone(), source }
    }
}

/// The next record; its bytes are left out (and skipped) when it has nothing of the period. `None` at the end, or
/// where what follows is no record.
fn read_record(
    reader: &mut BufReader<File>,
    period: Option<(i64, i64)>,
) -> io::Result<Option<(Header, Vec<u8>)>> {
    let mut header = [0; HEADER_BYTES];
    match reader.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let Some(header) = Header::decode(&header) else { return Ok(None) };
    if period.is_some_and(|(from, to)| header.to_ms < from || header.from_ms > to) {
        reader.seek_relative(i64::try_from(header.length).unwrap_or(0))?;
        return Ok(Some((header, Vec::new())));
    }
    let mut bytes = vec![0; header.length];
    match reader.read_exact(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(Some((header, bytes))),
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
