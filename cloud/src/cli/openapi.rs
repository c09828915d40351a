//! `avl-cloud openapi`: the API's description on stdout, for client generators.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let document = avl_cloud::api::openapi()
        .to_pretty_json()
        .context("the OpenAPI document cannot be written as JSON")?;
    writeln!(io::stdout(), "{document}").context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}
