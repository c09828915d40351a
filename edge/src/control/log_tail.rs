//! The last log lines, in memory, for a diagnostics bundle.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Some hundred lines: what happened in the last hours of a healthy agent, and the last minutes of a sick one.
const MAX_BYTES: usize = 64 * 1024;

/// Clones share the same lines.
#[derive(Clone, Debug, Default)]
pub struct LogTail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

impl LogTail {
    /// Oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.iter().cloned().collect()
    }

    fn keep(&self, line: &str) {
        let line: String = line.trim_end().chars().take(2000).collect();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.len();
        kept.lines.push_back(line);
        while kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.len();
        }
    }
}

/// One event: its text arrives in one or several writes.
pub struct Line {
    tail: LogTail,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.tail.keep(&String::from_utf8_lossy(&self.text));
    }
}

impl<'a> MakeWriter<'a> for LogTail {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { tail: self.clone(), text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_within_the_bound() {
        let tail = LogTail::default();
        for n in 0..5000 {
            writeln!(tail.make_writer(), "line {n} {}", "x".repeat(100)).unwrap();
        }
        let lines = tail.lines();
        assert!(lines.last().is_some_and(|line| line.starts_with("line 4999 ")));
        assert!(lines.iter().map(String::len).sum::<usize>() <= MAX_BYTES);
        writeln!(tail.make_writer(), "{}", "y".repeat(1_000_000)).unwrap();
        assert!(tail.lines().iter().map(String::len).sum::<usize>() <= MAX_BYTES);
    }
}
