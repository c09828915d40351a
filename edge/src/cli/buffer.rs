use std::path::PathBuf;
use std::process::ExitCode;

use avl_edge::config::ByteSize;
use avl_edge::{buffer, config, fix_json};
use avl_shared::sequence::RangeSet;
use clap::Args;
use serde_json::{Value, json};

/// Show what the buffer holds. The agent must not be running.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  avl-edge buffer --config /etc/avl-edge.toml --json | jq .last_fix")]
pub(super) struct Arguments {
    /// The gateway's configuration, which says where the state directory is.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// One JSON object: epoch, next_sequence, held, lost, bytes, taken_bytes, written_bytes_per_day, life_years, old_epochs,
    /// last_sequence, last_fix.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = config::load(&arguments.config)?;
    let socket = config.health.socket(&config.state_dir);
    let outbox = buffer::inspect(&config.state_dir).map_err(|error| {
        // The agent holds the lock of its buffer for as long as it runs.
        if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            anyhow::anyhow!("the agent is running and has its buffer open: ask it with 'avl-edge status', or stop it first")
        } else {
            error.into()
        }
    })?;
    let status = outbox.status();
    let newest = outbox.newest_fix()?;
    let taken = buffer::taken_bytes(&buffer::directory(&config.state_dir)).unwrap_or(0);
    let written = buffer::bytes_written(&config.state_dir);
    let life_years = config.buffer.flash_endurance.and_then(|tib| written.life_years(tib));
    let old = buffer::old_epochs(&config.state_dir);
    if arguments.json {
        let lost: Vec<Value> = status
            .lost
            .sets()
            .iter()
            .map(|(reason, set)| json!({ "reason": reason.as_str_name(), "ranges": pairs(set) }))
            .collect();
        let object = json!({
            "epoch": status.epoch.to_string(),
            "next_sequence": status.next_sequence,
            "held": pairs(&status.held),
            "lost": lost,
            "bytes": status.bytes,
            "taken_bytes": taken,
            "written_bytes_per_day": written.bytes_per_day(),
            "life_years": life_years,
            "old_epochs": old,
            "last_sequence": newest.as_ref().map(|(sequence, _)| sequence),
            "last_fix": newest.as_ref().map(|(_, fix)| fix_json(fix)),
        });
        println!("{object}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("epoch          {}", status.epoch);
    println!("next sequence  {}", status.next_sequence);
    println!("held           {} fixes: {}", status.held.count(), or_none(&status.held));
    for (reason, set) in status.lost.sets() {
        println!("lost           {} fixes, {}: {set}", set.count(), reason.as_str_name());
    }
    println!("bytes          {} of fixes, {} on flash", status.bytes, ByteSize(taken));
    match written.bytes_per_day() {
        Some(daily) => println!("written        {} a day", ByteSize(daily)),
        None => println!("written        not observed for long enough"),
    }
    if let Some(years) = life_years {
        println!("flash lasts    {years:.1} years like this");
    }
    for path in &old {
        println!("old epoch      {} waits to be delivered", path.display());
    }
    match newest {
        Some((sequence, fix)) => println!("last fix       {sequence}: {}", fix_json(&fix)),
        None => println!("last fix       none yet"),
    }
    Ok(ExitCode::SUCCESS)
}

fn pairs(set: &RangeSet) -> Vec<[u64; 2]> {
    set.ranges().iter().map(|range| [range.first(), range.last()]).collect()
}

fn or_none(set: &RangeSet) -> String {
    if set.is_empty() { "none".to_owned() } else { set.to_string() }
}
