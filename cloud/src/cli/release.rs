//! `avl-cloud release`: keys, signatures and files of the gateways' releases.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use avl_cloud::fleet::control::releases::{Signed, Terms, make_key, sign};
use avl_cloud::time::now_utc;
use avl_shared::release::Version;
use chrono::DateTime;
use humantime_serde::re::humantime::parse_duration;

use super::place::{Place, block_on};

/// Sign releases of 'avl-edge', and offer them to vehicles
///
/// 'keygen' and 'sign' work anywhere: keep the key away from the server. 'add' brings a signed release to the server, and
/// 'avl-cloud command --vehicle V update --release VERSION' orders it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a release key; print the public half for update.public_key of the gateways
    Keygen {
        /// Where to write it; it must not be there yet
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Sign a file; print the signed manifest
    Sign {
        /// The release key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The program 'avl-edge' for that platform
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Its version, such as 1.4.0
        #[arg(long, value_name = "VERSION")]
        version: Version,
        /// The platform, such as aarch64-unknown-linux-musl
        #[arg(long, value_name = "TRIPLE")]
        target: String,
        /// The oldest version that can be updated to it directly
        #[arg(long, value_name = "VERSION", default_value = "0.0.0")]
        min_version: Version,
        /// How many of a hundred vehicles take part
        #[arg(long, value_name = "PERCENT", default_value_t = 100)]
        percentage: u8,
        /// How long it may be installed
        #[arg(long, value_name = "TIME", default_value = "180d", value_parser = parse_duration)]
        expires: Duration,
    },
    /// Add a signed release to the server
    Add {
        #[command(flatten)]
        place: Place,
        /// What 'sign' printed
        #[arg(long, value_name = "FILE")]
        signed: PathBuf,
        /// The program that was signed
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List the releases on the server
    List {
        #[command(flatten)]
        place: Place,
    },
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.what {
        What::Keygen { key } => println!("{}", make_key(&key)?),
        What::Sign { key, file, version, target, min_version, percentage, expires } => {
            let not_after_ms =
                now_utc().saturating_add(i64::try_from(expires.as_millis()).unwrap_or(i64::MAX));
            let terms = Terms { version, target, min_version, percentage, not_after_ms };
            println!("{}", serde_json::to_string(&sign(&key, &file, terms)?)?);
        }
        What::Add { place, signed, file } => {
            let text = std::fs::read_to_string(&signed).with_context(|| signed.display().to_string())?;
            let signed: Signed = serde_json::from_str(&text).with_context(|| {
                format!("{}: not what 'avl-cloud release sign' printed", signed.display())
            })?;
            let add = async { Ok(place.registry().await?.releases()?.add(&signed, &file, now_utc()).await?) };
            let manifest = block_on(add)?;
            eprintln!("added {} for {}, {} bytes", manifest.version, manifest.target, manifest.size);
        }
        What::List { place } => {
            for manifest in block_on(async { Ok(place.registry().await?.releases()?.list().await?) })? {
                let until =
                    DateTime::from_timestamp_millis(manifest.not_after_ms).map(|time| time.to_rfc3339());
                println!(
                    "{}  {}  {} bytes  {} % of vehicles  from {}  until {}",
                    manifest.version,
                    manifest.target,
                    manifest.size,
                    manifest.percentage,
                    manifest.min_version,
                    until.unwrap_or_default()
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
