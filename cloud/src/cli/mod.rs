//! One file per subcommand; each takes its arguments and returns the process's exit code.

mod aggregate;
mod all;
mod api;
mod audit;
mod broker;
mod ca;
mod certificate;
mod command;
mod configure;
mod crl;
mod database;
mod migrate;
mod mobile_api;
mod openapi;
mod place;
mod process;
mod rejects;
mod release;
mod replay;
mod revoke;
mod serve;
mod sign_in;
mod token;
mod vehicle;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Try it:
  avl-cloud all --data-dir ./data                       start everything on this machine
  avl-cloud token --data-dir ./data --fleet demo --vehicle van-1
                                                        admit a vehicle; hand the token to 'avl-edge enrol'
  avl-cloud audit --data-dir ./data --vehicle van-1     prove that nothing of it is missing
  avl-cloud command --data-dir ./data --vehicle van-1 --wait 30s locate
                                                        ask a vehicle where it is";

/// Fleet cloud: takes fixes from vehicles, keeps each exactly once, and serves tracks and a live map.
#[derive(Debug, Parser)]
#[command(name = "avl-cloud", version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    All(all::Arguments),
    Aggregate(aggregate::Arguments),
    Process(process::Arguments),
    Api(api::Arguments),
    /// Run the apps' side alone: sign-in, vehicles, and positions as deltas in few bytes, over the database
    ///
    /// As 'avl-cloud api', with the routes under /mobile/v1 only: 'avl-cloud openapi --mobile' describes them. Give it the same
    /// api-token and session-key.
    MobileApi(api::Arguments),
    Ca(ca::Arguments),
    Audit(audit::Arguments),
    Broker(broker::Arguments),
    Certificate(certificate::Arguments),
    #[command(name = "command")]
    Order(command::Arguments),
    Configure(configure::Arguments),
    Rejects(rejects::Arguments),
    Release(release::Arguments),
    Crl(crl::Arguments),
    Migrate(migrate::Arguments),
    Openapi(openapi::Arguments),
    Replay(replay::Arguments),
    Revoke(revoke::Arguments),
    /// Print a link that signs one browser in, once, within ten minutes
    SignIn(sign_in::Arguments),
    Token(token::Arguments),
}

pub(crate) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::All(arguments) => all::run(arguments),
        Command::Aggregate(arguments) => aggregate::run(arguments),
        Command::Process(arguments) => process::run(arguments),
        Command::Api(arguments) => api::run(arguments),
        Command::MobileApi(arguments) => mobile_api::run(arguments),
        Command::Ca(arguments) => ca::run(arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Broker(arguments) => broker::run(&arguments),
        Command::Certificate(arguments) => certificate::run(&arguments),
        Command::Order(arguments) => command::run(arguments),
        Command::Configure(arguments) => configure::run(&arguments),
        Command::Rejects(arguments) => rejects::run(&arguments),
        Command::Release(arguments) => release::run(arguments),
        Command::Crl(arguments) => crl::run(&arguments),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::Openapi(arguments) => openapi::run(&arguments),
        Command::Replay(arguments) => replay::run(arguments),
        Command::Revoke(arguments) => revoke::run(&arguments),
        Command::SignIn(arguments) => sign_in::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("avl-cloud: {error:#}");
        // Not 1: `audit` says 1 for "something is missing".
        ExitCode::from(2)
    })
}
