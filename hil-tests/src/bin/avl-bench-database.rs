//! `avl-bench-database`: how fast fixes become rows in TimescaleDB, beside what the server takes at best.
//!
//! The store commits batches as the processor does: duplicates searched for (there are none), ledger, newest positions and place in the journal in
//! the same transaction. The limit is the same rows by plain `COPY … FROM STDIN BINARY` into the same table, in as many
//! transactions, from bytes that lie ready in memory. Both take turns on one server with its usual durability.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use avl_cloud::journal::Partition;
use avl_cloud::store::timescale::{DatabaseSettings, TimescaleStore, Wishes, migrate};
use avl_cloud::store::{Change, Commit, Store as _};
use avl_shared::fix::{Decimal, Fix, Quality};
use avl_shared::sequence::Epoch;
use clap::Parser;
use futures_util::{SinkExt as _, TryStreamExt as _};
use hil_tests::services::TimescaleDb;
use tokio_postgres::{Client, NoTls};

/// Fixes in a vehicle's batch: a minute at 1 Hz.
const BATCH: u64 = 60;
/// Batches in a commit: what the processor takes at once, 20,000 fixes.
const BATCHES: u64 = 334;
const VEHICLES: u64 = 1_002;
const START: i64 = 1_790_000_000_000;
const DAY: i64 = 86_400_000;

/// Measure the store's commits into TimescaleDB against plain binary COPY of the same rows
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Commits a turn, of 20,040 fixes each
    #[arg(long, value_name = "NUMBER", default_value_t = 30)]
    commits: u64,
    /// Turns of each; the median counts
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    turns: usize,
    /// Where to write the result, as Markdown
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::Builder::new().prefix("avl-database-").tempdir()?;
    let log = folder.path().join("timescaledb.log");
    let mut server = TimescaleDb::start_durable(folder.path(), &log).await?.context("no TimescaleDB")?;
    let settings = DatabaseSettings { url: Some(server.url().into()), ..DatabaseSettings::default() };
    let status = migrate(&settings, Wishes::default()).await?;
    let store = TimescaleStore::open(&settings).await?;
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await?;
    tokio::spawn(connection);

    let in_order: Vec<Vec<Change>> = (0..options.commits).map(|commit| changes(commit, 0)).collect();
    let late: Vec<Vec<Change>> = (0..options.commits).map(|commit| changes(commit, 10)).collect();
    let (mut ours, mut ours_late, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.turns {
        ours.push(by_the_store(&client, &store, &in_order).await?);
        let rows = copies(&client, options.commits).await?;
        plain.push(by_copy(&client, &rows).await?);
        ours_late.push(by_the_store(&client, &store, &late).await?);
    }
    let rows = options.commits * BATCHES * BATCH;
    let [ours, ours_late, plain] = [ours, ours_late, plain].map(|times| rate(rows, times));
    let page = format!(
        "## Into TimescaleDB\n\nPostgreSQL {}, {rows} rows a turn in {} transactions, median of {} turns.\n\n\
         | what | rows/s | of plain COPY |\n|---|---|---|\n\
         | plain `COPY … BINARY` of the same rows | {plain:.0} | 1.00 |\n\
         | the store's commits: search for duplicates, ledger and newest positions included | {ours:.0} | {:.2} |\n\
         | the same with every tenth batch a day late | {ours_late:.0} | {:.2} |\n",
        status.server,
        options.commits,
        options.turns,
        ours / plain,
        ours_late / plain,
    );
    print!("{page}");
    if let Some(parent) = options.out.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&options.out, page)?;
    server.stop().await
}

/// What the journal brings in one go: each vehicle's next minute. Of `late` per cent the minute is yesterday's.
fn changes(commit: u64, late: u64) -> Vec<Change> {
    let batch = |number: u64| {
        let (vehicle, minute) = (number % VEHICLES, number / VEHICLES);
        let shift = if number % 100 < late { DAY } else { 0 };
        let first = minute * BATCH;
        let fixes = (first..first + BATCH).map(|sequence| fix(vehicle, sequence, shift)).collect();
        Change::Fixes {
            vehicle: format!("bench/vehicle-{vehicle}").parse().unwrap_or_else(|_| unreachable!()),
            epoch: Epoch(7),
            first,
            fixes,
            // So that the rows of one commit can be told.
            received_at: commit as i64,
        }
    };
    (commit * BATCHES..(commit + 1) * BATCHES).map(batch).collect()
}

fn fix(vehicle: u64, sequence: u64, shift: i64) -> Fix {
    let (vehicle, moved) = (vehicle as i64, sequence as i64);
    Fix {
        time: Some(START + moved * 1000 - shift),
        latitude: Some(Decimal::new(313_512_345 + vehicle * 1000 + moved * 3, 5)),
        longitude: Some(Decimal::new(81_234_567 + vehicle * 700 + moved * 7, 5)),
        altitude: Some(Decimal::new(1123 + moved % 50, 1)),
        speed: Some(Decimal::new(27_123 + moved % 900, 3)),
        course: Some(Decimal::new((moved * 7) % 3600, 1)),
        hdop: Some(Decimal::new(8 + moved % 5, 1)),
        satellites: Some(11),
        quality: Quality::Gps,
        inputs: Some(1),
        ..Fix::default()
    }
}

async fn empty(client: &Client) -> anyhow::Result<()> {
    let tables = "TRUNCATE positions, states, vehicles, epochs, lost, partitions RESTART IDENTITY";
    client.batch_execute(tables).await?;
    Ok(client.batch_execute("CHECKPOINT").await?)
}

async fn by_the_store(
    client: &Client,
    store: &TimescaleStore,
    commits: &[Vec<Change>],
) -> anyhow::Result<Duration> {
    empty(client).await?;
    let partition = Partition::FIRST;
    let generation = store.claim(partition, "bench").await?.generation;
    let commits: Vec<Commit> = (1..)
        .zip(commits.iter().cloned())
        .map(|(next_offset, changes)| Commit {
            partition,
            generation,
            changes: changes.into(),
            refused: Vec::new(),
            next_offset,
        })
        .collect();
    let begun = Instant::now();
    for commit in commits {
        let stored = store.commit(commit).await?.stored;
        anyhow::ensure!(stored == BATCHES * BATCH, "{stored} fixes were stored");
    }
    Ok(begun.elapsed())
}

/// The rows that the store wrote, commit by commit, as the server itself writes them.
async fn copies(client: &Client, commits: u64) -> anyhow::Result<Vec<Vec<bytes::Bytes>>> {
    let mut copies = Vec::new();
    for commit in 0..commits {
        let rows =
            format!("SELECT * FROM positions WHERE received_at = {commit} ORDER BY vehicle_id, sequence");
        let stream = client.copy_out(&format!("COPY ({rows}) TO STDOUT (FORMAT binary)")).await?;
        let pieces: Vec<bytes::Bytes> = stream.try_collect().await?;
        // A message a row comes out; whole pieces go in.
        let whole = pieces.concat();
        copies.push(whole.chunks(256 * 1024).map(bytes::Bytes::copy_from_slice).collect());
    }
    Ok(copies)
}

async fn by_copy(client: &Client, copies: &[Vec<bytes::Bytes>]) -> anyhow::Result<Duration> {
    empty(client).await?;
    let begun = Instant::now();
    for pieces in copies {
        let sink = client.copy_in("COPY positions FROM STDIN (FORMAT binary)").await?;
        let mut sink = std::pin::pin!(sink);
        for piece in pieces {
            sink.send(piece.clone()).await?;
        }
        let rows = sink.finish().await?;
        anyhow::ensure!(rows == BATCHES * BATCH, "{rows} rows were copied");
    }
    Ok(begun.elapsed())
}

/// Rows a second, at the median of the times.
fn rate(rows: u64, mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let median = times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64);
    rows as f64 / median
}
