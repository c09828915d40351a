//! Replays a recorded log from a file or from standard input, as fast as it goes or by the fixes' own time.
//!
//! A regular file can be taken up again: its fixes carry a cursor. A cursor names its file by the hash of the file's
//! first bytes, so a log that has grown is continued and another log under the same name is not.
//!
//! Reading blocks, so it has a thread of its own, which is never more than [`CHUNKS_AHEAD`] chunks ahead and ends when
//! nobody takes them any more (or, stuck in a read of standard input, with the process).

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::cursor::FileHead;
use super::{Observed, ReceiverView, ReplayCursor, SourceConfig, SourceError, SourceState};
use crate::fix_json::FixRow;
use crate::health::View;
use crate::receiver::{Counts, Observation, Receiver};
use crate::run::uptime_ms;

const CHUNK_BYTES: usize = 16 * 1024;
const CHUNKS_AHEAD: usize = 2;

/// Enough to tell two logs apart (the first seconds of a drive), little enough to read at every start.
const HEAD_BYTES: u64 = 4096;

/// A longer silence in a log is the night between two drives: real time does not wait for it.
const LONGEST_PAUSE_MS: i64 = 60_000;

/// The pace of fixes that have no time.
const UNTIMED_STEP_MS: i64 = 1000;

pub(super) async fn run(
    config: SourceConfig,
    resume: Option<ReplayCursor>,
    fixes: mpsc::Sender<Observed>,
    view: &View<ReceiverView>,
) -> Result<Counts, SourceError> {
    let log = config.path.unwrap_or_default();
    let failed = |error: io::Error| read_error(&log, error);
    let path = log.clone();
    let opened = tokio::task::spawn_blocking(move || open(&path, resume)).await;
    let Opened { input, head, mut receiver } =
        opened.unwrap_or_else(|stopped| Err(io::Error::other(stopped))).map_err(failed)?;

    let mut chunks = read_ahead(input).map_err(failed)?;
    view.update(|view| view.state = SourceState::Reading);
    let mut pace = Pace::new(config.speed);
    let mut over = false;
    while !over {
        let mut observed = Vec::new();
        match chunks.recv().await {
            Some(chunk) => {
                receiver.push(&chunk.map_err(failed)?, None, |observation| observed.push(observation));
            }
            None => {
                over = true;
                receiver.finish(None, |observation| observed.push(observation));
            }
        }
        for Observation { fix, extras, resume } in observed {
            if let Some(due) = pace.due(fix.time, Instant::now()) {
                tokio::select! {
                    () = sleep_until(due) => {}
                    () = fixes.closed() => return Ok(receiver.counts()),
                }
            }
            let cursor = head.map(|head| ReplayCursor { head, resume });
            let row = FixRow::from(&fix);
            view.update(|view| {
                (view.last_fix, view.last_fix_uptime_ms, view.extras) = (Some(row), uptime_ms(), extras);
                view.counts = receiver.counts();
                view.doubt(fix.verdict);
            });
            if fixes.send(Observed { fix, extras, cursor }).await.is_err() {
                return Ok(receiver.counts());
            }
        }
    }
    let counts = receiver.counts();
    view.update(|view| (view.state, view.counts) = (SourceState::Over, counts));
    Ok(counts)
}

struct Opened {
    input: Box<dyn Read + Send>,
    /// Of a file that can be wound back.
    head: Option<FileHead>,
    receiver: Receiver,
}

fn open(path: &Path, resume: Option<ReplayCursor>) -> io::Result<Opened> {
    if path == Path::new("-") {
        return Ok(Opened { input: Box::new(io::stdin()), head: None, receiver: Receiver::recorded() });
    }
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Ok(Opened { input: Box::new(file), head: None, receiver: Receiver::recorded() });
    }
    if let Some(cursor) = resume {
        if cursor.offset() <= metadata.len() && head(&mut file, u64::from(cursor.head.bytes))? == cursor.head
        {
            file.seek(SeekFrom::Start(cursor.offset()))?;
            tracing::info!(path = %path.display(), offset = cursor.offset(), "replay goes on where it was stopped");
            let receiver = Receiver::resumed(&cursor.resume);
            return Ok(Opened { input: Box::new(file), head: Some(cursor.head), receiver });
        }
        tracing::warn!(path = %path.display(), "not the log whose replay was stopped: starting at its beginning");
    }
    let head = head(&mut file, HEAD_BYTES)?;
    file.rewind()?;
    Ok(Opened { input: Box::new(file), head: Some(head), receiver: Receiver::recorded() })
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): tells logs apart, protects from nobody.
fn head(file: &mut File, bytes: u64) -> io::Result<FileHead> {
    let mut start = Vec::new();
    file.rewind()?;
    file.by_ref().take(bytes.min(HEAD_BYTES)).read_to_end(&mut start)?;
    let hash = start.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Ok(FileHead { bytes: u32::try_from(start.len()).unwrap_or(u32::MAX), hash })
}

fn read_ahead(mut input: Box<dyn Read + Send>) -> io::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    thread::Builder::new().name("replay".to_owned()).spawn(move || {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = match input.read(&mut chunk) {
                Ok(0) => return,
                Ok(read) => {
                    chunk.truncate(read);
                    Ok(chunk)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(chunks)
}

fn read_error(path: &Path, cause: io::Error) -> SourceError {
    let cure = match cause.kind() {
        ErrorKind::NotFound => "check source.path (it is relative to where the agent was started)",
        ErrorKind::PermissionDenied => "let the agent's user read it",
        ErrorKind::IsADirectory => "name a log in it",
        _ => "check the disk it is on",
    };
    SourceError::Read { path: path.display().to_string(), cause, cure }
}

/// When each fix is due.
struct Pace {
    speed: f64,
    last: Option<(Option<i64>, Instant)>,
}

impl Pace {
    fn new(speed: f64) -> Self {
        Self { speed, last: None }
    }

    /// `None`: at once.
    fn due(&mut self, time: Option<i64>, now: Instant) -> Option<Instant> {
        if self.speed <= 0.0 {
            return None;
        }
        let due = match self.last {
            None => now,
            Some((before, due)) => {
                let step =
                    before.zip(time).map_or(UNTIMED_STEP_MS, |(before, time)| time.saturating_sub(before));
                let step = if (0..=LONGEST_PAUSE_MS).contains(&step) { step } else { 0 };
                due + Duration::from_millis(step.unsigned_abs()).div_f64(self.speed)
            }
        };
        self.last = Some((time, due));
        Some(due)
    }
}

#[cfg(test)]
mod tests;
