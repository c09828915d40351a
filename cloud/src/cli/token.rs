//! `avl-cloud token`: admits one vehicle.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use avl_cloud::fleet::authority::Authority;
use avl_cloud::time::now_utc;
use avl_shared::enrolment::{Fingerprint, Invitation};
use avl_shared::identity::{FleetId, VehicleId, VehicleKey};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::place::{Place, block_on};

/// Print an enrolment token for one vehicle, and nothing else; with --text or --qr an invitation, which also says where
///
/// The token admits that vehicle once, within its time; give it to the installer over a channel you trust. Works
/// while 'avl-cloud all' runs and also before its first start.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The authority's certificate (ca/certificate.pem), where --database needs no data directory [default: that of DIR]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Fleet the vehicle belongs to
    #[arg(long, value_name = "FLEET")]
    fleet: FleetId,
    /// Vehicle, unique within its fleet (a VIN fits)
    #[arg(long, value_name = "VEHICLE")]
    vehicle: VehicleId,
    /// How long the token is good for, such as 30m, 12h or 7d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = humantime_serde::re::humantime::parse_duration)]
    expires: Duration,
    /// Where gateways enrol, such as https://fleet.example.com:7443; part of the invitation
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print the invitation as a text: for a file avl-enrol.txt on a stick or SD card, or 'avl-edge enrol --from'
    #[arg(long, requires = "url")]
    text: bool,
    /// Print the invitation as a QR code
    #[arg(long, requires = "url")]
    qr: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let ca = match &arguments.ca {
        Some(file) => {
            let pem = std::fs::read(file).with_context(|| file.display().to_string())?;
            let der = CertificateDer::from_pem_slice(&pem)
                .with_context(|| format!("{}: not a certificate in PEM", file.display()))?;
            Fingerprint::of(&der)
        }
        None => Authority::load_or_create(&arguments.place.make_data()?.authority())?.fingerprint(),
    };
    let vehicle = VehicleKey { fleet: arguments.fleet.clone(), vehicle: arguments.vehicle.clone() };
    let token = block_on(async {
        let tokens = arguments.place.registry().await?.tokens()?;
        Ok(tokens.create(&vehicle, ca, now_utc(), arguments.expires).await?)
    })?;
    let Some(url) = arguments.url.clone().filter(|_| arguments.text || arguments.qr) else {
        println!("{token}");
        return Ok(ExitCode::SUCCESS);
    };
    let invitation = Invitation { url, token }.to_string();
    if arguments.qr {
        let code = QrCode::with_error_correction_level(&invitation, EcLevel::L)?;
        // For light text on a dark terminal: what is printed shines, so it must be the light modules.
        println!(
            "{}",
            code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build()
        );
    }
    if arguments.text {
        println!("{invitation}");
    }
    Ok(ExitCode::SUCCESS)
}
