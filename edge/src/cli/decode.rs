use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use avl_edge::FixRow;
use avl_edge::receiver::{Counts, Receiver};
use avl_shared::fix::Fix;
use clap::{Args, ValueEnum};

/// Print the fixes of a recorded log, one JSON object a line; a summary goes to standard error
///
/// A fix without GNSS time has `"time":null`; what the receiver did not print is null. `verdict` is "ok" or the
/// reasons for which the fix is doubted.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The log, as the receiver sent it; '-' is standard input
    #[arg(value_name = "FILE")]
    log: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One JSON object a line
    Jsonl,
}

/// Large enough that reading costs nothing, small enough that a pipe's fixes come out as they go in.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut output = BufWriter::new(io::stdout().lock());
    let counts = match arguments.format {
        Format::Jsonl => decode(open(&arguments.log)?, &mut output).and_then(|counts| {
            output.flush()?;
            Ok(counts)
        }),
    };
    match counts {
        Ok(counts) => {
            eprintln!("{}", summary(&counts));
            Ok(ExitCode::SUCCESS)
        }
        // Whoever reads has seen enough: `avl-edge decode log | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).with_context(|| format!("decoding {} stopped", arguments.log.display())),
    }
}

pub(super) fn open(log: &Path) -> anyhow::Result<Box<dyn Read>> {
    if log == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(log).with_context(|| format!("cannot open {}", log.display()))?;
    Ok(Box::new(file))
}

fn decode(mut input: impl Read, output: &mut impl Write) -> io::Result<Counts> {
    let mut receiver = Receiver::recorded();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut written = Ok(());
    loop {
        let read = match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        receiver
            .push(&chunk[..read], None, |observed| keep_first(&mut written, || print(&observed.fix, output)));
        std::mem::replace(&mut written, Ok(()))?;
        if read < CHUNK_BYTES {
            // A pipe that has no more at the moment: show what is known.
            output.flush()?;
        }
    }
    receiver.finish(None, |observed| keep_first(&mut written, || print(&observed.fix, output)));
    written?;
    Ok(receiver.counts())
}

fn keep_first(so_far: &mut io::Result<()>, next: impl FnOnce() -> io::Result<()>) {
    if so_far.is_ok() {
        *so_far = next();
    }
}

fn print(fix: &Fix, output: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *output, &FixRow::from(fix))?;
    output.write_all(b"\n")
}

fn summary(counts: &Counts) -> String {
    let Counts { sentences, bad_checksums, unknown, malformed, garbage_bytes, fragments, fixes, .. } = counts;
    let mut line = format!(
        "sentences={sentences} bad_checksums={bad_checksums} unknown={unknown} fixes={fixes} garbage_bytes={garbage_bytes}"
    );
    for (name, count) in [("malformed", malformed), ("fragments", fragments)] {
        if *count > 0 {
            line.push_str(&format!(" {name}={count}"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(log: &str) -> (Vec<serde_json::Value>, Counts) {
        let mut output = Vec::new();
        let counts = decode(log.as_bytes(), &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), counts)
    }

    const LOG: &str = "\
        $GNRMC,021417.00,A,3725.58362,N,12205.61915,W,0.028,65.13,070220,13.06,E,F,V*4A\n\
        $GNGGA,021417.00,3725.58362,N,12205.61915,W,5,12,0.76,4.4,M,-30.0,M,0.0,2000*52\n\
        $GNGGA,,,,,,0,00,99.99,,,,,,*56\n";

    #[test]
    fn a_fix_is_one_object_with_every_field() {
        let (rows, _) = lines(LOG);
        let expected = serde_json::json!({
            "time": "2020-02-07T02:14:17.000Z", "lat": 37.426_393_667, "lon": -122.093_652_5, "alt_m": 4.4,
            "speed_mps": 0.0144, "course_deg": 65.13, "hdop": 0.76, "satellites": 12, "quality": "float_rtk", "verdict": "ok",
        });
        assert_eq!(rows[0], expected);
    }

    #[test]
    fn what_was_not_printed_is_null() {
        let (rows, _) = lines(LOG);
        let expected = serde_json::json!({
            "time": null, "lat": null, "lon": null, "alt_m": null, "speed_mps": null, "course_deg": null, "hdop": null,
            "satellites": 0, "quality": "no_fix", "verdict": "no_fix,no_time",
        });
        assert_eq!(rows[1..], [expected]);
    }

    #[test]
    fn the_summary_counts_what_was_read() {
        let (_, counts) = lines(&format!("{LOG}$GPRMC,1*00\n$GPTXT,x*15\n$GPRMB,A*27\n"));
        let text = summary(&counts);
        assert!(text.starts_with("sentences=4 bad_checksums=2 unknown=1 fixes=2"), "{text}");
    }

    #[test]
    fn a_reader_that_has_gone_is_told_apart_from_a_full_disk() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(ErrorKind::BrokenPipe.into())
            }
        }
        assert_eq!(decode(LOG.as_bytes(), &mut Gone).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
