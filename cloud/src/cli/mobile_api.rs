//! `avl-cloud mobile-api`: the apps' side alone.

use std::process::ExitCode;

use avl_cloud::roles;

use super::api::Arguments;
use super::serve::serve;

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    serve(arguments.configure()?, roles::mobile_api::run)
}
