//! `avl-bench-report`: one Markdown page of what `make bench` has measured, with the machine named.
//!
//! It reads criterion's estimates and the pages of the other benches, and lets `avl-edge pack` (the program beside this one) pack the real logs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use hil_tests::logs;
use hil_tests::process::run;
use serde::Deserialize;

/// Write one Markdown report of what the benches measured
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Criterion's folder of results
    #[arg(long, value_name = "DIR")]
    criterion: PathBuf,
    /// A folder of pages (*.md) that other benches have written
    #[arg(long, value_name = "DIR")]
    measured: PathBuf,
    /// The report to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut report = String::from("# Measurements\n\n");
    machine(&mut report)?;
    speeds(&options.criterion, &mut report)?;
    sizes(&mut report).await?;
    wear(&mut report)?;
    pages(&options.measured, &mut report)?;
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&options.out, &report).with_context(|| options.out.display().to_string())?;
    println!("{report}\nwritten to {}", options.out.display());
    Ok(())
}

/// A week of recording in blocks of a minute, and a day in blocks of the default durability.
fn wear(report: &mut String) -> anyhow::Result<()> {
    const DAY_S: u64 = 86_400;
    writeln!(report, "\n## Flash written by the buffer, one fix a second\n")?;
    writeln!(
        report,
        "| recorded | blocks of | payload, bytes | written, bytes | ratio | pages to storage, bytes | pages an append | store at half time | store at most |"
    )?;
    writeln!(report, "|---|---|---|---|---|---|---|---|---|")?;
    for (days, block_s) in [(7, 60), (1, 5)] {
        let state = tempfile::tempdir()?;
        let worn = hil_tests::wear::record(state.path(), days * DAY_S, block_s)?;
        writeln!(
            report,
            "| {days} days | {block_s} s | {} | {} | {:.1} | {} | {:.2} | {} | {} |",
            worn.payload_bytes,
            worn.handed_bytes,
            worn.amplification(),
            worn.storage_bytes,
            worn.pages_an_append(),
            worn.half_time_bytes,
            worn.largest_bytes
        )?;
    }
    Ok(())
}

fn machine(report: &mut String) -> anyhow::Result<()> {
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let processor =
        field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_else(|| "unknown".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    writeln!(report, "- machine: {processor}, {cores} cores, {memory} of memory, Linux {}", kernel.trim())?;
    writeln!(
        report,
        "- load when the report was written: {}",
        load.split(' ').take(3).collect::<Vec<_>>().join(" ")
    )?;
    writeln!(report, "- at: {}\n", chrono::Utc::now().format("%Y-%m-%d %H:%M UTC"))?;
    Ok(())
}

fn speeds(folder: &Path, report: &mut String) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    collect(folder, &mut rows)?;
    rows.sort();
    writeln!(report, "## Speed (`cargo bench --workspace`)\n")?;
    if rows.is_empty() {
        writeln!(report, "No criterion results in `{}`.\n", folder.display())?;
        return Ok(());
    }
    writeln!(report, "| bench | median | 95 % interval | per element |\n|---|---|---|---|")?;
    for row in rows {
        writeln!(report, "{row}")?;
    }
    report.push('\n');
    Ok(())
}

/// Criterion keeps each bench's newest figures in a folder `new`.
fn collect(folder: &Path, rows: &mut Vec<String>) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "new") {
            rows.push(row(&path)?);
        } else {
            collect(&path, rows)?;
        }
    }
    Ok(())
}

fn row(folder: &Path) -> anyhow::Result<String> {
    let text =
        |name: &str| std::fs::read_to_string(folder.join(name)).with_context(|| folder.display().to_string());
    let benchmark: Benchmark = serde_json::from_str(&text("benchmark.json")?)?;
    let Estimate { point_estimate, confidence_interval } =
        serde_json::from_str::<Estimates>(&text("estimates.json")?)?.median;
    let elements = benchmark.throughput.as_ref().and_then(|throughput| throughput.get("Elements")?.as_f64());
    let each = elements.map_or_else(String::new, |elements| shown(point_estimate / elements));
    Ok(format!(
        "| {} | {} | {} – {} | {each} |",
        benchmark.full_id,
        shown(point_estimate),
        shown(confidence_interval.lower_bound),
        shown(confidence_interval.upper_bound)
    ))
}

/// In the order of their names.
fn pages(folder: &Path, report: &mut String) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let mut pages = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    for page in pages {
        let text = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        writeln!(report, "{}\n", text.trim())?;
    }
    Ok(())
}

fn shown(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

async fn sizes(report: &mut String) -> anyhow::Result<()> {
    writeln!(report, "## Bytes per fix (`avl-edge pack LOG --batch N`)\n")?;
    writeln!(report, "| log | result |\n|---|---|")?;
    for log in logs::ALL {
        let Some(path) = log.path() else {
            writeln!(report, "| {} | not on this machine (AVL_TEST_DATA) |", log.file)?;
            continue;
        };
        for batch in ["1", "10", "60", "300"] {
            let output =
                run("avl-edge", &["pack", &path.display().to_string(), "--batch", batch]).await?.success()?;
            writeln!(report, "| {} | `{}` |", log.file, output.stdout.trim())?;
        }
    }
    Ok(())
}
