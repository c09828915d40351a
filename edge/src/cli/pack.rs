use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use avl_edge::policy::Column;
use avl_edge::receiver::{Observation, Receiver};
use avl_edge::sensors::Odometer;
use avl_shared::batch::{self, Batch};
use avl_shared::fix::Fix;
use avl_shared::sequence::Epoch;
use clap::Args;

use super::decode;

/// Measure what a recorded log costs on the wire: pack its fixes into batches, unpack them and compare
///
/// Prints one line; exits with 1 if a fix came back changed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The log, as the receiver sent it; '-' is standard input
    #[arg(value_name = "FILE")]
    log: PathBuf,
    /// Fixes in a batch
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=batch::MAX_FIXES as i64))]
    batch: u16,
    /// With these optional columns beside: what they cost
    #[arg(long, value_name = "COLUMNS", value_enum, value_delimiter = ',')]
    with: Vec<With>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum With {
    Vdop,
    Pdop,
    InView,
    Mode,
    /// As a gateway counts it
    Odometer,
}

impl With {
    fn column(self) -> Option<Column> {
        Some(match self {
            Self::Vdop => Column::Vdop,
            Self::Pdop => Column::Pdop,
            Self::InView => Column::InView,
            Self::Mode => Column::Mode,
            Self::Odometer => return None,
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut bytes = Vec::new();
    decode::open(&arguments.log)?
        .read_to_end(&mut bytes)
        .with_context(|| format!("reading {} stopped", arguments.log.display()))?;
    let mut fixes = Vec::new();
    let mut receiver = Receiver::recorded();
    let columns: Vec<Column> = arguments.with.iter().filter_map(|with| with.column()).collect();
    let mut take = |observed: Observation| {
        let mut fix = observed.fix;
        columns.iter().for_each(|column| column.copy(&observed.extras, &mut fix));
        fixes.push(fix);
    };
    receiver.push(&bytes, None, &mut take);
    receiver.finish(None, &mut take);
    anyhow::ensure!(
        !fixes.is_empty(),
        "{} holds no fix: is it what a receiver sends (NMEA 0183, with checksums)?",
        arguments.log.display()
    );

    if arguments.with.contains(&With::Odometer) {
        let mut odometer = Odometer::gnss(0);
        for fix in &mut fixes {
            odometer.fix(fix);
            fix.odometer = Some(odometer.metres());
        }
    }

    let packed = pack(&fixes, usize::from(arguments.batch))?;
    println!("{packed}");
    Ok(if packed.lossless { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Debug, PartialEq)]
struct Packed {
    bytes: usize,
    fixes: usize,
    batch: usize,
    lossless: bool,
}

fn pack(fixes: &[Fix], batch: usize) -> anyhow::Result<Packed> {
    let mut packed = Packed { bytes: 0, fixes: fixes.len(), batch, lossless: true };
    let mut first = 0;
    for fixes in fixes.chunks(batch) {
        let sent = Batch { epoch: Epoch(0), first, boot_id: None, fixes: fixes.to_vec() };
        let encoded = batch::encode(&sent).context("a batch was refused by the encoder")?;
        packed.bytes += encoded.len();
        packed.lossless &= batch::decode(&encoded).is_ok_and(|received| received == sent);
        first += fixes.len() as u64;
    }
    Ok(packed)
}

impl std::fmt::Display for Packed {
    #[allow(clippy::cast_precision_loss)]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, fixes, batch, lossless } = self;
        let bytes_per_fix = *bytes as f64 / *fixes as f64;
        let lossless = if *lossless { "yes" } else { "no" };
        write!(f, "bytes_per_fix={bytes_per_fix:.2} fixes={fixes} batch={batch} lossless={lossless}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_form_that_scripts_read() {
        let packed = Packed { bytes: 7075, fixes: 1653, batch: 60, lossless: true };
        assert_eq!(packed.to_string(), "bytes_per_fix=4.28 fixes=1653 batch=60 lossless=yes");
    }
}
