//! `export`: the whole record of a run, as JSON.

use crate::api::RunRecord;
use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let path = format!("{}/export", run_path(&args.run)?);
    let record: RunRecord =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    context.output().json(&record)?;
    Ok(Exit::Done)
}
