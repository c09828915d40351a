//! `avl-cloud revoke`: a vehicle that is stolen or sold stays out.

use std::process::ExitCode;

use anyhow::bail;
use avl_cloud::time::now_utc;
use avl_shared::identity::VehicleKey;
use chrono::DateTime;

use super::place::{Place, block_on};

/// Revoke every certificate of a vehicle; a running 'avl-cloud all' closes its connection within seconds
///
/// Its unused enrolment tokens are void as well. To let it in again, enrol it with a new token: its old certificates stay
/// revoked. --undo takes the revocation itself back. What the vehicle records meanwhile stays on it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    avl-cloud revoke --data-dir ./data --vehicle demo/van-1 --reason stolen\n  \
    avl-cloud revoke --data-dir ./data --list")]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The vehicle
    #[arg(long, value_name = "FLEET/VEHICLE", required_unless_present = "list")]
    vehicle: Option<VehicleKey>,
    /// Shown in the vehicle's log and in --list
    #[arg(long, value_name = "TEXT", default_value = "revoked by the operator", conflicts_with = "undo")]
    reason: String,
    /// Take the revocation back
    #[arg(long)]
    undo: bool,
    /// List revoked vehicles
    #[arg(long, conflicts_with_all = ["vehicle", "undo"])]
    list: bool,
}

/// A QUIC close reason must fit a packet of 1200 bytes.
const MAX_REASON_CHARS: usize = 200;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    block_on(revoke(arguments))
}

async fn revoke(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let registry = arguments.place.registry().await?;
    let certificates = registry.certificates()?;
    let Some(vehicle) = &arguments.vehicle else {
        for revocation in certificates.revocations().await? {
            let at = DateTime::from_timestamp_millis(revocation.revoked_at).unwrap_or_default();
            let since = if revocation.enrolled_again { " (enrolled again since)" } else { "" };
            println!(
                "{}  {}  {}{since}",
                at.format("%Y-%m-%dT%H:%M:%SZ"),
                revocation.vehicle,
                revocation.reason
            );
        }
        return Ok(ExitCode::SUCCESS);
    };
    if arguments.undo {
        if !certificates.undo(vehicle).await? {
            bail!("{vehicle} is not revoked: 'avl-cloud revoke --list' shows who is");
        }
        println!("{vehicle}: revocation taken back");
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.reason.chars().count() > MAX_REASON_CHARS {
        bail!("--reason is too long: at most {MAX_REASON_CHARS} characters");
    }
    let tokens = registry.tokens()?.void(vehicle, now_utc()).await?;
    let known = certificates.revoke(vehicle, &arguments.reason, now_utc()).await?;
    println!("{vehicle}: revoked ({known} certificates, {tokens} unused tokens)");
    Ok(ExitCode::SUCCESS)
}
