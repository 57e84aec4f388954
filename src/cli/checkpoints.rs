//! `checkpoints`: what a run has saved.

use std::path::Path;

use jiff::Timestamp;

use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, ago, value};
use crate::domain::checkpoint::{CatalogueView, CheckpointView};
use crate::domain::units::Bytes;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let path = format!("{}/checkpoints", run_path(&args.run)?);
    let catalogue: CatalogueView =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    let output = context.output();
    if context.global.json {
        output.json(&catalogue)?;
        return Ok(Exit::Done);
    }
    if let Some(cut) = &catalogue.cut {
        context.say(&format!("not everything was looked at: {cut}"));
    }
    let directory = TerminalText(&catalogue.directory);
    if catalogue.checkpoints.is_empty() {
        context.say(&format!("run {} has no checkpoint in {directory}", TerminalText(&args.run)));
        return Ok(Exit::Done);
    }
    let now = context.surroundings.clock.now();
    let rows =
        catalogue.checkpoints.iter().map(|one| row(one, &catalogue.directory, now)).collect();
    output.table(HEADER, rows)?;
    context.say(&format!(
        "{} of {} are complete, in {directory}",
        catalogue.complete, catalogue.count
    ));
    Ok(Exit::Done)
}

const HEADER: &[Column] = &[
    Column::Whole("STEP"),
    Column::Whole("STATE"),
    Column::Whole("FORMAT"),
    Column::Whole("SIZE"),
    Column::Whole("ATTEMPT"),
    Column::Whole("WRITTEN"),
    Column::Elastic("NAME"),
    Column::Elastic("NOTE"),
];

fn row(one: &CheckpointView, directory: &str, now: Timestamp) -> Vec<String> {
    let dash = || "-".to_owned();
    let name = Path::new(&one.path).strip_prefix(directory).ok().and_then(Path::to_str);
    let name = name.filter(|name| !name.is_empty()).unwrap_or(&one.path);
    vec![
        one.step.map_or_else(dash, |step| step.to_string()),
        one.state.to_string(),
        one.format.to_string(),
        one.bytes.map_or_else(dash, |bytes| Bytes(bytes).to_string()),
        one.attempt.map_or_else(dash, |attempt| attempt.to_string()),
        one.created_at.map_or_else(dash, |at| ago(at, now)),
        TerminalText(name).to_string(),
        note(one),
    ]
}

/// Why it is not complete, else what was reported at its step.
fn note(one: &CheckpointView) -> String {
    let reported = || {
        let metrics = one.metrics.iter();
        let shown =
            metrics.map(|(name, number)| format!("{} {}", TerminalText(name), value(*number)));
        shown.collect::<Vec<_>>().join(", ")
    };
    one.why.as_ref().map_or_else(reported, |why| TerminalText(why).to_string())
}
