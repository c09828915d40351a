//! The last lines of the log, in memory.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing_subscriber::fmt::MakeWriter;

/// What a technician reads at once, and a diagnostics bundle carries.
const MAX_LINES: usize = 200;
/// All lines together, so that 200 long ones cost no more.
const MAX_BYTES: usize = 64 * 1024;
/// Of one line; what is longer is cut.
const MAX_LINE_BYTES: usize = 2 * 1024;

/// One line, numbered from 1 since the agent started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub number: u64,
    pub text: String,
}

/// Clones share the lines.
#[derive(Clone, Debug, Default)]
pub struct LogRing(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<LogLine>,
    bytes: usize,
    last: u64,
}

impl LogRing {
    /// Lines behind `number`, oldest first, as far as they are still there.
    #[must_use]
    pub fn after(&self, number: u64) -> Vec<LogLine> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.iter().filter(|line| line.number > number).cloned().collect()
    }

    /// Everything that is kept, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.after(0).into_iter().map(|line| line.text).collect()
    }

    fn push(&self, line: &str) {
        let mut cut = line.len().min(MAX_LINE_BYTES);
        while !line.is_char_boundary(cut) {
            cut -= 1;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.last += 1;
        lines.bytes += cut;
        let number = lines.last;
        lines.kept.push_back(LogLine { number, text: line[..cut].to_owned() });
        while lines.kept.len() > MAX_LINES || lines.bytes > MAX_BYTES {
            let Some(gone) = lines.kept.pop_front() else { return };
            lines.bytes -= gone.text.len();
        }
    }
}

/// The log's formatter writes a whole event at once; each line of it becomes one of ours.
impl io::Write for &LogRing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        String::from_utf8_lossy(bytes).lines().for_each(|line| self.push(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogRing {
    type Writer = &'a LogRing;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_lines_are_kept_and_their_numbers_go_on() {
        let ring = LogRing::default();
        for number in 1..=MAX_LINES + 50 {
            (&ring).write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let lines = ring.after(0);
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[0], LogLine { number: 51, text: "line 51".to_owned() });
        assert_eq!(ring.after(249).len(), 1);
        assert!(ring.after(250).is_empty());
    }

    #[test]
    fn long_lines_are_cut_and_many_of_them_push_others_out() {
        let ring = LogRing::default();
        for _ in 0..100 {
            (&ring).write_all("ü".repeat(5_000).as_bytes()).unwrap();
        }
        let lines = ring.after(0);
        assert!(lines.iter().all(|line| line.text.len() <= MAX_LINE_BYTES));
        assert!(lines.iter().map(|line| line.text.len()).sum::<usize>() <= MAX_BYTES);
        assert_eq!(lines.last().unwrap().number, 100);
    }
}
