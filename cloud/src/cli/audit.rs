//! `avl-cloud audit`: proves that nothing of a vehicle is missing, or says what is.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use avl_cloud::audit::{EpochReport, Report, audit, find};
use avl_cloud::config::Config;
use avl_cloud::data_dir::DataDir;
use avl_cloud::journal::kafka::KafkaSettings;
use avl_cloud::roles;
use avl_cloud::store::Store;
use avl_cloud::store::sqlite::SqliteStore;
use avl_cloud::store::timescale::{
    DatabaseSettings, FleetAccount, Latency, TimescaleStore, VehicleAccount, account,
};
use avl_cloud::time::now_utc;
use avl_shared::identity::{FleetId, VehicleKey};

use humantime_serde::re::humantime::parse_duration;

use super::database::Database;

/// Prove that no fix of a vehicle, or of a fleet, is missing, or say which are
///
/// A vehicle numbers its fixes without gaps, so what is missing is exactly what was numbered and is neither here nor
/// declared lost by the vehicle itself. Without --vehicle, and with a database, the account of a whole fleet: counts by vehicle, and how
/// long fixes took from their GNSS time to their receipt. Works while 'avl-cloud all' runs and when it is stopped.
/// Exit status: 0 nothing missing, 1 something missing, 2 the audit failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where avl-cloud keeps everything
    #[arg(long, value_name = "DIR", env = "AVL_CLOUD__DATA_DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: Database,
    /// FLEET/VEHICLE, or a vehicle that is in one fleet only
    #[arg(long, value_name = "VEHICLE")]
    vehicle: Option<String>,
    /// Without --vehicle: latencies of fixes of this time before now
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    since: Duration,
    /// Fleet, where the vehicle alone does not say it; without --vehicle: this fleet only
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
    let database = arguments.database.settings()?;
    let mut kafka = Config::load(arguments.database.config.as_deref())?.kafka;
    kafka.bootstrap = arguments.kafka.clone().or(kafka.bootstrap);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Some(name) = &arguments.vehicle else {
        return runtime.block_on(fleet(arguments, &database, &kafka));
    };
    let data = arguments.data_dir.as_ref().map(DataDir::existing).transpose()?;
    let embedded = || data.as_ref().context("no data directory: say where with --data-dir");
    let journal = match &kafka.bootstrap {
        Some(_) => roles::journal::kafka_archive(&kafka)?,
        None => roles::journal::archive(&kafka, embedded()?)?,
    };
    let report = runtime.block_on(async {
        let store: Box<dyn Store> = match &database.url {
            Some(_) => Box::new(TimescaleStore::open(&database).await?),
            None => Box::new(SqliteStore::open_read_only(&embedded()?.store())?),
        };
        let vehicle = match (&arguments.fleet, name.contains('/')) {
            (Some(fleet), false) => VehicleKey { fleet: fleet.clone(), vehicle: name.parse()? },
            (_, true) => name.parse()?,
            (None, false) => find(&name.parse()?, &*store).await?,
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

/// The account of many vehicles.
async fn fleet(
    arguments: &Arguments,
    database: &DatabaseSettings,
    kafka: &KafkaSettings,
) -> anyhow::Result<ExitCode> {
    ensure!(
        database.url.is_some(),
        "the audit of a fleet is SQL: name the database with --database, or one --vehicle"
    );
    // Before the ledger is read: what is processed in between is counted twice rather than not at all.
    let unprocessed = match &kafka.bootstrap {
        Some(_) => Some(unprocessed(database, kafka).await?),
        None => None,
    };
    let since = now_utc().saturating_sub(i64::try_from(arguments.since.as_millis()).unwrap_or(i64::MAX));
    let account = account(database, arguments.fleet.as_ref(), since).await?;
    let complete = account.missing == 0;
    let mut out = io::stdout().lock();
    if arguments.json {
        let mut report = serde_json::to_value(&account)?;
        report["complete"] = complete.into();
        report["unprocessed"] = unprocessed.into();
        writeln!(out, "{report}")?;
    } else {
        writeln!(
            out,
            "{:<40} {:>12} {:>8} {:>8}  latency p50 / p99 / max",
            "vehicle", "received", "missing", "lost"
        )?;
        for VehicleAccount { vehicle, received, missing, lost, latency } in &account.vehicles {
            writeln!(
                out,
                "{vehicle:<40} {received:>12} {missing:>8} {lost:>8}  {}",
                Shown(latency.as_ref())
            )?;
        }
        let FleetAccount { received, missing, lost, latency, .. } = &account;
        let verdict = if complete { "complete" } else { "INCOMPLETE" };
        writeln!(out, "{verdict:<40} {received:>12} {missing:>8} {lost:>8}  {}", Shown(latency.as_ref()))?;
        if let Some(entries) = unprocessed {
            writeln!(out, "{entries} entries of the journal are not processed yet")?;
        }
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn unprocessed(database: &DatabaseSettings, kafka: &KafkaSettings) -> anyhow::Result<u64> {
    let store = TimescaleStore::open(database).await?;
    let mut entries = 0;
    for mut reader in roles::journal::kafka_archive(kafka)?.readers().await? {
        let next = store.next_offset(reader.partition()).await?;
        let bounds = reader.bounds().await?;
        entries += bounds.end.saturating_sub(next.max(bounds.start));
    }
    Ok(entries)
}

struct Shown<'a>(Option<&'a Latency>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(Latency { p50_ms, p99_ms, max_ms, .. }) => write!(f, "{p50_ms} / {p99_ms} / {max_ms} ms"),
            None => f.write_str("no fixes in the period"),
        }
    }
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
