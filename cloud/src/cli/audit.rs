//! `avl-cloud audit`: proves that nothing of a vehicle is missing, or says what is.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use avl_cloud::audit::{EpochReport, Report, audit, find};
use avl_cloud::config::Config;
use avl_cloud::data_dir::DataDir;
use avl_cloud::roles;
use avl_cloud::store::Store;
use avl_cloud::store::sqlite::SqliteStore;
use avl_cloud::store::timescale::TimescaleStore;
use avl_shared::identity::{FleetId, VehicleKey};

use super::database::Database;

/// Prove that no fix of a vehicle is missing, or say which are
///
/// A vehicle numbers its fixes without gaps, so what is missing is exactly what was numbered and is neither here nor
/// declared lost by the vehicle itself. Works while 'avl-cloud all' runs and when it is stopped.
/// Exit status: 0 nothing missing, 1 something missing, 2 the audit failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where avl-cloud keeps everything
    #[arg(long, value_name = "DIR", env = "AVL_CLOUD__DATA_DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    database: Database,
    /// FLEET/VEHICLE, or a vehicle that is in one fleet only
    #[arg(long, value_name = "VEHICLE")]
    vehicle: String,
    /// Fleet, where the vehicle alone does not say it
    #[arg(long, value_name = "FLEET")]
    fleet: Option<FleetId>,
    /// The journal's Kafka, as it was told to 'avl-cloud all' [default: the journal is in DIR]
    #[arg(long, value_name = "HOST:PORT[,...]")]
    kafka: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let data = DataDir::existing(&arguments.data_dir)?;
    let database = arguments.database.settings()?;
    let mut kafka = Config::load(arguments.database.config.as_deref())?.kafka;
    kafka.bootstrap = arguments.kafka.clone().or(kafka.bootstrap);
    let journal = roles::journal::archive(&kafka, &data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let store: Box<dyn Store> = match &database.url {
            Some(_) => Box::new(TimescaleStore::open(&database).await?),
            None => Box::new(SqliteStore::open_read_only(&data.store())?),
        };
        let vehicle = match (&arguments.fleet, arguments.vehicle.contains('/')) {
            (Some(fleet), false) => VehicleKey { fleet: fleet.clone(), vehicle: arguments.vehicle.parse()? },
            (_, true) => arguments.vehicle.parse()?,
            (None, false) => find(&arguments.vehicle.parse()?, &*store).await?,
        };
        anyhow::Ok(audit(&vehicle, &*journal, &*store).await?)
    })?;
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        print(&mut out, &report)?;
    }
    Ok(if report.complete { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "{}", report.vehicle)?;
    for epoch in &report.epochs {
        print_epoch(out, epoch)?;
    }
    let verdict = if report.complete { "complete" } else { "INCOMPLETE" };
    let Report { received, missing, lost, .. } = report;
    writeln!(out, "{verdict}: {received} received, {missing} missing, {lost} declared lost")
}

fn print_epoch(out: &mut impl Write, epoch: &EpochReport) -> io::Result<()> {
    writeln!(out, "  epoch {}: numbers 0 to {} were given", epoch.epoch, Below(epoch.next_sequence))?;
    writeln!(out, "    received  {}", Ranges(&epoch.received))?;
    writeln!(out, "    missing   {}", Ranges(&epoch.missing))?;
    if epoch.lost.is_empty() {
        return writeln!(out, "    lost      none");
    }
    for lost in &epoch.lost {
        writeln!(out, "    lost      {} ({})", Ranges(&[[lost.first, lost.last]]), lost.reason)?;
    }
    Ok(())
}

struct Below(u64);

impl std::fmt::Display for Below {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.checked_sub(1) {
            Some(last) => write!(f, "{last}"),
            None => f.write_str("(none)"),
        }
    }
}

struct Ranges<'a>(&'a [[u64; 2]]);

impl std::fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, [first, last]) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        Ok(())
    }
}
