//! `avl-cloud openapi`: the API's description on stdout, for client generators.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use avl_cloud::api::{mobile_openapi, openapi};

/// Print the API's OpenAPI 3.1 document
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Of what 'avl-cloud mobile-api' serves
    #[arg(long)]
    mobile: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let document = if arguments.mobile { mobile_openapi() } else { openapi() };
    let document = document.to_pretty_json().context("the OpenAPI document cannot be written as JSON")?;
    writeln!(io::stdout(), "{document}").context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}
