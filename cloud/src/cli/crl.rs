//! `avl-cloud crl`: the revocation list for MQTT brokers.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use avl_cloud::fleet::authority::Authority;
use avl_cloud::time::now_utc;

use super::place::{Place, block_on};

/// Print the list of revoked certificates (CRL, PEM), for MQTT brokers
///
/// The link needs none: 'avl-cloud all' knows whom it revoked. The list is good for 30 days; a broker that has loaded one
/// refuses everybody after that, so make it anew every day, and after each 'avl-cloud revoke'.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  avl-cloud crl --data-dir ./data > /etc/mosquitto/fleet.crl && pkill -HUP mosquitto"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let authority = Authority::load_or_create(&arguments.place.data()?.authority())?;
    let revoked = block_on(async {
        let certificates = arguments.place.registry().await?.certificates()?;
        Ok(certificates.revoked_serials(now_utc()).await?)
    })?;
    let revoked: Vec<(Vec<u8>, SystemTime)> = revoked
        .into_iter()
        .map(|(serial, at)| {
            let since = Duration::from_millis(u64::try_from(at).unwrap_or(0));
            (serial, SystemTime::UNIX_EPOCH + since)
        })
        .collect();
    print!("{}", authority.revocation_list(&revoked, SystemTime::now())?);
    Ok(ExitCode::SUCCESS)
}
