//! `avl-cloud command`: asks something of one vehicle.

use std::process::ExitCode;
use std::time::Duration;

use avl_cloud::fleet::control::{Action, CommandRecord, Control};
use avl_cloud::time::now_utc;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::{FleetId, VehicleKey};
use avl_shared::release::Version;
use chrono::DateTime;
use clap::Subcommand;
use humantime_serde::re::humantime::parse_duration;
use tokio::time::{Instant, sleep};

use super::place::{Place, block_on};

/// Between two looks at what became of a command.
const LOOK: Duration = Duration::from_millis(300);

/// Ask something of a vehicle: where it is, a restart, an update
///
/// The command waits until the vehicle is connected, and is carried out once. Works while 'avl-cloud all' runs, which
/// sends it at once, and when it is stopped. With --wait it waits for the answer and prints it.
/// Exit status: 0 given, or done with --wait; 1 failed, refused, expired or no answer in time; 2 it could not be given.
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
    /// How long it may wait for the vehicle, such as 30m, 12h or 7d
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_duration)]
    expires: Duration,
    /// Wait so long for the answer, such as 30s, and print it
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say where it is, at once
    Locate,
    /// Set how often it reports; without options: as it is configured
    Interval {
        /// Only while it is moving, stopped, parked or night
        #[arg(long, default_value = "")]
        profile: String,
        /// The longest that a fix waits before it is sent, such as 5s
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        latency: Option<Duration>,
        /// Between two fixes that are kept, such as 10s
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        interval: Option<Duration>,
        /// For so long, such as 2h; until it is set otherwise unless given
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
        lasting: Option<Duration>,
    },
    /// Upload what it recorded and withheld
    History {
        /// RFC 3339, such as 2026-11-22T08:30:00Z; belongs to the period
        #[arg(long, value_parser = time)]
        from: UtcMillis,
        /// RFC 3339; does not belong to it
        #[arg(long, value_parser = time)]
        to: UtcMillis,
    },
    /// Send a bundle for whoever investigates, without secrets
    Diagnostics,
    /// End in order and start again
    Restart,
    /// Install a release that 'avl-cloud release add' added
    Update {
        /// Which, such as 1.4.0
        #[arg(long = "release", value_name = "VERSION")]
        version: Version,
        /// The platform, where the release is here for several
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
    },
    /// List its commands and what became of them
    List,
}

fn time(text: &str) -> Result<UtcMillis, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.timestamp_millis())
        .map_err(|error| format!("{error}: write RFC 3339, such as 2026-11-22T08:30:00Z"))
}

impl What {
    fn action(self) -> Option<Action> {
        Some(match self {
            Self::Locate => Action::Locate,
            Self::Interval { profile, latency, interval, lasting } => {
                let until = lasting.map(|lasting| {
                    now_utc().saturating_add(i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX))
                });
                Action::Interval { profile, latency, interval, until }
            }
            Self::History { from, to } => Action::History { from, to },
            Self::Diagnostics => Action::Diagnostics,
            Self::Restart => Action::Restart,
            Self::Update { version, target } => Action::Update { version, target },
            Self::List => return None,
        })
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    block_on(async {
        let control = arguments.place.registry().await?.control()?;
        let vehicle =
            super::vehicle::named(&arguments.place, arguments.fleet.as_ref(), &arguments.vehicle).await?;
        let Some(action) = arguments.what.action() else {
            for record in control.commands(&vehicle, 100).await? {
                print(&record);
            }
            return Ok(ExitCode::SUCCESS);
        };
        action.validate()?;
        let given = control.order(&vehicle, action, arguments.expires).await?;
        match arguments.wait {
            None => {
                print(&given);
                Ok(ExitCode::SUCCESS)
            }
            Some(wait) => answer(&control, &vehicle, given, Instant::now() + wait).await,
        }
    })
}

async fn answer(
    control: &Control,
    vehicle: &VehicleKey,
    mut record: CommandRecord,
    deadline: Instant,
) -> anyhow::Result<ExitCode> {
    let settled = |record: &CommandRecord| !["waiting", "sent", "accepted"].contains(&record.state.as_str());
    while !settled(&record) && Instant::now() < deadline {
        sleep(LOOK).await;
        record = control.command(vehicle, &record.id).await?;
    }
    print(&record);
    if record.state != "done" {
        return Ok(ExitCode::from(1));
    }
    if let Some(result) = control.result(vehicle, &record.id).await? {
        println!("{}", String::from_utf8_lossy(&result.bytes));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(record: &CommandRecord) {
    let CommandRecord { id, action, state, detail, .. } = record;
    eprintln!("{id}  {action}  {state}{}{detail}", if detail.is_empty() { "" } else { ": " });
}
