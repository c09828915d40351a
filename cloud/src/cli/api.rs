//! `avl-cloud api`: the users' side alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use avl_cloud::config::Config;
use avl_cloud::roles;

use super::serve::{Common, Shared, serve};

/// Run the users' side alone: REST, live stream and map over the database
///
/// Any number of these run behind a balancer. Give all of them the same api-token and session-key (files in their data
/// directories), and a browser that one has signed in is known to the others.
///
/// The start waits for the database and for its schema ('avl-cloud migrate' makes it), and says so; what is configured wrongly
/// fails at once. SIGTERM: answers that have begun come to their end; a second one ends it at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where api-token and session-key are; made when missing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// API and map, plain HTTP [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    common: Common,
}

impl Arguments {
    pub(crate) fn configure(self) -> anyhow::Result<Config> {
        let mut config = self.common.load_role()?;
        config.data_dir = self.data_dir.or(config.data_dir);
        config.http = self.http.unwrap_or(config.http);
        self.shared.lay_over(&mut config);
        Ok(config)
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    serve(arguments.configure()?, roles::api::run)
}
