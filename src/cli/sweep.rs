//! `sweep`: families of runs from one spec.

mod compare;
mod open;
mod show;

use crate::api::LIST_MAX;
use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, age, counted};
use crate::domain::sweep::SweepView;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List sweeps, newest first
    List(ListArgs),
    /// Show how the points of a sweep stand
    Show(show::ShowArgs),
    /// Compare the points of sweeps by a metric, best first
    Compare(compare::CompareArgs),
    /// Give an open sweep points, each of which is a run then; prints them as JSON
    Tell(open::TellArgs),
    /// Ask an open sweep what came of its points, in the order of their ends; prints JSON
    Ask(open::AskArgs),
    /// Cancel all points of sweeps that are not over; an open one takes no more
    Cancel(CancelArgs),
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(LIST_MAX)))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    /// Sweeps: numbers or names
    #[arg(required = true, value_name = "SWEEP")]
    sweeps: Vec<String>,
}

pub(super) fn run(context: &Context, command: &Command) -> Result<Exit, CliError> {
    match command {
        Command::List(args) => list(context, args),
        Command::Show(args) => show::show(context, args),
        Command::Compare(args) => compare::compare(context, args),
        Command::Tell(args) => open::tell(context, args),
        Command::Ask(args) => open::ask(context, args),
        Command::Cancel(args) => cancel(context, args),
    }
}

const HEADER: &[Column] = &[
    Column::Whole("SWEEP"),
    Column::Elastic("NAME"),
    Column::Whole("STATE"),
    Column::Whole("POINTS"),
    Column::Elastic("OF WHICH"),
    Column::Whole("AGE"),
];

fn list(context: &Context, args: &ListArgs) -> Result<Exit, CliError> {
    let path = format!("/sweeps?limit={}", args.limit);
    let sweeps: Vec<SweepView> =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    if context.global.json {
        context.output().json(&sweeps)?;
        return Ok(Exit::Done);
    }
    if sweeps.is_empty() {
        context.say("no sweeps");
        return Ok(Exit::Done);
    }
    let now = context.surroundings.clock.now();
    let row = |sweep: &SweepView| {
        vec![
            sweep.id.to_string(),
            TerminalText(&sweep.name).to_string(),
            sweep.state.clone(),
            sweep.points.to_string(),
            counted(&sweep.states),
            age(sweep.created_at, now),
        ]
    };
    context.output().table(HEADER, sweeps.iter().map(row).collect())?;
    Ok(Exit::Done)
}

/// Where a sweep is.
pub(super) fn sweep_path(reference: &str) -> String {
    format!("/sweeps/{}", encoded(reference))
}

fn cancel(context: &Context, args: &CancelArgs) -> Result<Exit, CliError> {
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let mut cancelled = Vec::new();
        let mut first_error = None;
        for reference in &args.sweeps {
            let path = sweep_path(reference) + "/cancel";
            match client.post::<SweepView>(&path, &()).await {
                Ok(sweep) => {
                    let count = sweep.points.saturating_sub(sweep.over());
                    let s = plural(usize::try_from(count).unwrap_or(usize::MAX));
                    context.say(&format!("{count} point{s} of sweep {} being cancelled", sweep.id));
                    cancelled.push(sweep);
                }
                // The others are cancelled all the same.
                Err(error) if first_error.is_none() => first_error = Some(error),
                Err(error) => context.error(&error.message, &error.hints),
            }
        }
        if context.global.json {
            context.output().json(&cancelled)?;
        }
        first_error.map_or(Ok(Exit::Done), Err)
    })
}
