//! `avl-cloud all`: everything on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use avl_cloud::config::Config;
use avl_cloud::roles;

use super::serve::{Common, Shared, serve};

/// Run everything on this machine: vehicles' QUIC, enrolment, journal, store, API and map
///
/// Needs no other server, unless --kafka, --database or --mqtt names one. When it listens it prints one line of JSON with its addresses on
/// stdout; logs go to stderr (RUST_LOG sets their level). SIGTERM and Ctrl-C stop it in order: vehicles get their last
/// acknowledgements first. Every flag can stand in the file of --config or in the environment
/// (AVL_CLOUD__INGEST__MAX_CONNECTIONS=500); a flag wins over the environment, and the environment over the file.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where everything is kept: keys, journal, store. Made when missing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// API and map, plain HTTP [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    vehicles: Vehicles,
    /// Life of a vehicle's certificate, such as 90d; renewed by itself after two thirds of it [default: 90d]
    #[arg(long, value_name = "TIME", value_parser = humantime_serde::re::humantime::parse_duration)]
    vehicle_certificate_lifetime: Option<Duration>,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    common: Common,
}

/// The vehicles' side.
#[derive(Debug, clap::Args)]
pub(crate) struct Vehicles {
    /// Vehicles, QUIC on UDP [default: 0.0.0.0:7443]
    #[arg(long, value_name = "ADDR")]
    quic: Option<SocketAddr>,
    /// Enrolment, HTTPS on TCP [default: the number of --quic]
    #[arg(long, value_name = "ADDR")]
    enrol: Option<SocketAddr>,
    /// MQTT broker that vehicles publish to, mqtts://HOST[:PORT] [default: none]
    #[arg(long, value_name = "URL")]
    mqtt: Option<String>,
    /// DNS name or address that gateways reach this server by; may be repeated
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
}

impl Vehicles {
    pub(crate) fn lay_over(self, config: &mut Config) -> anyhow::Result<()> {
        config.quic = self.quic.unwrap_or(config.quic);
        config.enrol = self.enrol.or(config.enrol);
        config.mqtt.url = self.mqtt.or(config.mqtt.url.take());
        config.names.extend(self.names);
        // What cannot be used is said before anything is waited for.
        config.mqtt.broker()?;
        Ok(())
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut config = arguments.common.load()?;
    config.data_dir = arguments.data_dir.or(config.data_dir);
    config.http = arguments.http.unwrap_or(config.http);
    arguments.vehicles.lay_over(&mut config)?;
    arguments.shared.lay_over(&mut config);
    if let Some(lifetime) = arguments.vehicle_certificate_lifetime {
        config.fleet.certificate_lifetime = lifetime;
    }
    config.fleet.check().map_err(|refusal| anyhow::anyhow!("configuration: {refusal}"))?;
    serve(config, roles::all::run)
}
