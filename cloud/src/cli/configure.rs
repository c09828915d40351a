//! `avl-cloud configure`: lays keys over one vehicle's own configuration.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use avl_cloud::fleet::control::ConfigurationRecord;
use avl_shared::identity::FleetId;

use super::place::{Place, block_on};

/// Lay keys over a vehicle's own configuration, or show what was ordered
///
/// The vehicle accepts the keys that its own file allows (control.remote_keys), tries them, and takes them back by itself
/// when it cannot reach the cloud under them. Each order replaces the one before it; an empty one takes all away.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// FLEET/VEHICLE, or a vehicle that is in one fleet only
    #[arg(long, value_name = "VEHICLE")]
    vehicle: String,
    /// Fleet, where the vehicle alone does not say it
    #[arg(long, value_name = "FLEET")]
    fleet: Option<FleetId>,
    /// TOML with the keys to set; - reads standard input. Without it: show the newest order
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    block_on(async {
        let control = arguments.place.registry().await?.control()?;
        let vehicle =
            super::vehicle::named(&arguments.place, arguments.fleet.as_ref(), &arguments.vehicle).await?;
        match &arguments.file {
            Some(file) => {
                let mut toml = String::new();
                if file.as_os_str() == "-" {
                    std::io::stdin().read_to_string(&mut toml).context("standard input")?;
                } else {
                    toml = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
                }
                print(&control.configure(&vehicle, toml).await?);
            }
            None => match control.configuration(&vehicle).await? {
                Some(record) => {
                    print(&record);
                    print!("{}", record.toml);
                }
                None => eprintln!("no configuration was ever ordered for {vehicle}"),
            },
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn print(record: &ConfigurationRecord) {
    let ConfigurationRecord { version, state, detail, .. } = record;
    eprintln!("version {version}  {state}{}{detail}", if detail.is_empty() { "" } else { ": " });
}
