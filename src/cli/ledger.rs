//! `ledger`: what was entered for projects, and why.

use crate::api::{EntryView, LIST_MAX, ReleasedView};
use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, moment};
use crate::domain::view::CHARGE_UNIT;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this project
    project: Option<String>,
    /// At most so many entries
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(LIST_MAX)))]
    limit: u32,
    /// Give back what is held for starts of a run that were lost, once it is known that their jobs are over
    #[arg(long, value_name = "RUN", conflicts_with = "project")]
    release: Option<String>,
}

const HEADER: &[Column] = &[
    Column::Whole("AT"),
    Column::Elastic("PROJECT"),
    Column::Whole("PERIOD"),
    Column::Whole("KIND"),
    Column::Whole("AMOUNT"),
    Column::Whole("RUN"),
    Column::Elastic("WHY"),
];

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if let Some(run) = &args.release {
        return release(context, run);
    }
    let project = args.project.as_deref().map(encoded);
    let project = project.map_or_else(String::new, |project| format!("&project={project}"));
    let path = format!("/ledger?limit={}{project}", args.limit);
    let entries: Vec<EntryView> =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    if context.global.json {
        context.output().json(&entries)?;
        return Ok(Exit::Done);
    }
    if entries.is_empty() {
        context.say("nothing is entered in the ledger");
        return Ok(Exit::Done);
    }
    context.output().table(HEADER, entries.iter().map(row).collect())?;
    Ok(Exit::Done)
}

fn release(context: &Context, run: &str) -> Result<Exit, CliError> {
    let path = format!("/ledger/release/{}", encoded(run));
    let given: ReleasedView =
        Context::block_on(async { Client::connect(context).await?.post(&path, &()).await })?;
    if context.global.json {
        context.output().json(&given)?;
    } else {
        let ReleasedView { released, unit } = &given;
        let unit = if unit == CHARGE_UNIT { "charge unit" } else { unit };
        context.say(&format!("{released} {}s are given back", TerminalText(unit)));
    }
    Ok(Exit::Done)
}

fn row(entry: &EntryView) -> Vec<String> {
    vec![
        moment(entry.at),
        TerminalText(&entry.project).to_string(),
        TerminalText(&entry.period).to_string(),
        entry.kind.to_string(),
        format!("{:.4}", entry.amount),
        entry.run.map_or_else(|| "-".to_owned(), |run| run.to_string()),
        TerminalText(&entry.why).to_string(),
    ]
}
