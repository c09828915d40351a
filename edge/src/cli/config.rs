use std::path::PathBuf;
use std::process::ExitCode;

use avl_edge::config::effective::{self, Origin};
use avl_edge::config::reference::{self, Key};
use avl_edge::config::sense::{self, Surroundings};
use avl_edge::config::{self, ConfigError};
use avl_edge::control;
use clap::{Args, Subcommand};
use serde_json::json;

/// Check, show or explain the configuration.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    avl-edge config check --config gateway.toml\n  \
    avl-edge config show\n  \
    avl-edge config explain uplink.latency\n  \
    avl-edge config explain uplink")]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say what is wrong, with line, key, cause and cure. Ends with 0 (also with warnings), 1 on an error, 2 without a file.
    Check(File),
    /// Print every key with the value in force and where it comes from.
    Show(File),
    /// Explain a key or a section: what it does, its default, its environment variable.
    Explain {
        /// As in uplink.latency; a section such as uplink; nothing for all keys.
        key: Option<String>,
    },
}

#[derive(Debug, Args)]
struct File {
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,
    /// For machines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.what {
        What::Check(file) => Ok(check(file)),
        What::Show(file) => show(file),
        What::Explain { key } => Ok(explain(key.as_deref().unwrap_or_default())),
    }
}

fn check(file: &File) -> ExitCode {
    let name = file.config.display();
    match config::load(&file.config) {
        Err(error) => {
            let unreadable = matches!(error, ConfigError::Unreadable { .. });
            if file.json {
                println!("{}", json!({ "ok": false, "error": error.to_string(), "warnings": [] }));
            } else {
                eprintln!("✘ {error}");
            }
            if unreadable { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
        Ok(config) => {
            let warnings = sense::warnings(&config, &Surroundings::look(&config));
            if file.json {
                let rows: Vec<_> = warnings
                    .iter()
                    .map(
                        |warning| json!({ "key": warning.key, "cause": warning.cause, "cure": warning.cure }),
                    )
                    .collect();
                println!("{}", json!({ "ok": true, "error": null, "warnings": rows }));
                return ExitCode::SUCCESS;
            }
            for warning in &warnings {
                println!("! {}: {}\n  {}", warning.key, warning.cause, warning.cure);
            }
            println!(
                "✔ {name} is valid{}",
                match warnings.len() {
                    0 => String::new(),
                    1 => ", with one warning".to_owned(),
                    many => format!(", with {many} warnings"),
                }
            );
            ExitCode::SUCCESS
        }
    }
}

fn show(file: &File) -> anyhow::Result<ExitCode> {
    let own = config::load(&file.config)?;
    let text = std::fs::read_to_string(&file.config)?;
    let layers = control::layers_in_use(&own.state_dir);
    let rows = effective::effective(&file.config, &text, |name| std::env::var(name).ok(), &layers);
    if file.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| json!({ "key": row.path, "value": row.value, "origin": row.origin.to_string() }))
            .collect();
        println!("{}", json!(rows));
        return Ok(ExitCode::SUCCESS);
    }
    let width = rows.iter().map(|row| row.path.len()).max().unwrap_or_default();
    for row in rows.iter().filter(|row| row.origin != Origin::Unset) {
        println!("{:width$}  {}   ({})", row.path, row.value, row.origin);
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(wanted: &str) -> ExitCode {
    let section = format!("{wanted}.");
    let all = reference::keys();
    let found: Vec<&Key> = all
        .iter()
        .filter(|key| wanted.is_empty() || key.path == wanted || key.path.starts_with(&section))
        .collect();
    if found.is_empty() {
        eprint!("avl-edge: there is no key '{wanted}'");
        match reference::nearest(wanted).as_slice() {
            [] => eprintln!(": 'avl-edge config explain' lists them all"),
            near => eprintln!("; did you mean {}?", near.join(", ")),
        }
        return ExitCode::FAILURE;
    }
    for (index, key) in found.iter().enumerate() {
        if index > 0 {
            println!();
        }
        println!("{}", key.path);
        println!("{}", textwrap(&key.explanation));
        match key.optional {
            true => println!("  not set by default; for example {}", key.value),
            false => println!("  default  {}", key.value),
        }
        println!("  variable {}", key.variable());
    }
    ExitCode::SUCCESS
}

/// Lines of at most 78 characters, indented by two.
fn textwrap(text: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in text.split_whitespace() {
        let full = lines.last().is_some_and(|line| line.len() + 1 + word.len() > 78);
        if full {
            lines.push(String::from(" "));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}
