//! `events`: a run's history.

use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::{TerminalText, moment};
use crate::store::HistoryEvent;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let path = run_path(&args.run)? + "/events";
    let events: Vec<HistoryEvent> =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    let output = context.output();
    if context.global.json {
        output.json(&events)?;
        return Ok(Exit::Done);
    }
    for event in events {
        output.line(&format!(
            "{}  {:<9} {}",
            moment(event.at),
            event.kind,
            TerminalText(&event.message)
        ))?;
    }
    Ok(Exit::Done)
}
