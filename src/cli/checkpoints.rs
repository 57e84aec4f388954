//! `checkpoints`: what a run has saved, and what of it goes.

use std::num::NonZeroU32;
use std::path::Path;

use jiff::Timestamp;

use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, ago, value};
use crate::domain::checkpoint::{CatalogueView, CheckpointView, PlanView};
use crate::domain::units::Bytes;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,

    /// Show what would be removed by the spec's `keep_last` and its other rules, and what stays, and why. Nothing is removed
    #[arg(long)]
    retention_plan: bool,

    /// Show that for another number of the newest; nothing is removed by it
    #[arg(long, value_name = "N", requires = "retention_plan")]
    keep_last: Option<NonZeroU32>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let path = format!("{}/checkpoints", run_path(&args.run)?);
    if args.retention_plan {
        return plan(context, args, &path);
    }
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

/// What would become of each.
fn plan(context: &Context, args: &Args, path: &str) -> Result<Exit, CliError> {
    let query = args.keep_last.map_or(String::new(), |count| format!("?keep_last={count}"));
    let path = format!("{path}/plan{query}");
    let plan: PlanView =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    let output = context.output();
    if context.global.json {
        output.json(&plan)?;
        return Ok(Exit::Done);
    }
    let run = TerminalText(&args.run);
    let directory = TerminalText(&plan.directory);
    if plan.rules.is_none() {
        context.say(&format!("the spec of run {run} has no `checkpoint.keep_last`: all are kept"));
    }
    if plan.keep.is_empty() && plan.go.is_empty() {
        context.say(&format!("run {run} has no checkpoint in {directory}"));
        return Ok(Exit::Done);
    }
    let fate = if plan.to.is_some() { "archive" } else { "delete" };
    let gone = plan.go.iter().rev().map(|one| {
        let size = one.bytes.map_or_else(dash, |bytes| Bytes(bytes).to_string());
        plan_row(&plan, (fate, size), (one.step, &one.path, &one.why))
    });
    let kept = plan
        .keep
        .iter()
        .map(|one| plan_row(&plan, ("keep", dash()), (one.step, &one.path, &one.why)));
    output.table(PLAN_HEADER, kept.chain(gone).collect())?;
    let to = plan.to.as_ref().map(|to| to.display().to_string());
    let to = to.map_or(String::new(), |to| format!(", to {}", TerminalText(&to)));
    context.say(&format!("{} stay, {} go{to}; in {directory}", plan.keep.len(), plan.go.len()));
    Ok(Exit::Done)
}

fn plan_row(
    plan: &PlanView,
    (fate, size): (&str, String),
    (step, path, why): (Option<i64>, &str, &str),
) -> Vec<String> {
    vec![
        step.map_or_else(dash, |step| step.to_string()),
        fate.to_owned(),
        size,
        name_in(&plan.directory, path),
        TerminalText(why).to_string(),
    ]
}

const PLAN_HEADER: &[Column] = &[
    Column::Whole("STEP"),
    Column::Whole("PLAN"),
    Column::Whole("SIZE"),
    Column::Elastic("NAME"),
    Column::Elastic("WHY"),
];

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
    vec![
        one.step.map_or_else(dash, |step| step.to_string()),
        one.state.to_string(),
        one.format.to_string(),
        one.bytes.map_or_else(dash, |bytes| Bytes(bytes).to_string()),
        one.attempt.map_or_else(dash, |attempt| attempt.to_string()),
        one.created_at.map_or_else(dash, |at| ago(at, now)),
        name_in(directory, &one.path),
        note(one),
    ]
}

fn dash() -> String {
    "-".to_owned()
}

/// Its path in the checkpoint directory.
fn name_in(directory: &str, path: &str) -> String {
    let name = Path::new(path).strip_prefix(directory).ok().and_then(Path::to_str);
    TerminalText(name.filter(|name| !name.is_empty()).unwrap_or(path)).to_string()
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
