//! `avl-cloud sign-in`: a link that signs one browser in, on stdout and nothing else.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Data directory of the running server
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where the server's HTTP side listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let link = runtime.block_on(avl_cloud::api::ask_for_link(&arguments.data_dir, &arguments.http))?;
    writeln!(io::stdout(), "{}", link.url).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}
