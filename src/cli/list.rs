//! `list`: runs, newest first.

use jiff::Timestamp;

use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::submit::duration;
use crate::cli::text::{TerminalText, ago, length};
use crate::domain::units::Seconds;
use crate::domain::view::RunView;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these states; may be repeated, or separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<String>,
    /// Only runs of this user
    #[arg(long)]
    user: Option<String>,
    /// Only runs of this project
    #[arg(long)]
    project: Option<String>,
    /// Only runs of this sweep (not supported by this version)
    #[arg(long)]
    sweep: Option<String>,
    /// Only runs with such a name; * and ? stand for anything
    #[arg(long, value_name = "GLOB")]
    name: Option<String>,
    /// Only runs accepted within this time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Seconds>,
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if args.sweep.is_some() {
        return Err(CliError::usage("`--sweep` is not supported by this version"));
    }
    let mut query = format!("/runs?limit={}", args.limit);
    if !args.state.is_empty() {
        query.push_str(&format!("&state={}", encoded(&args.state.join(","))));
    }
    for (key, value) in [("user", &args.user), ("project", &args.project), ("name", &args.name)] {
        if let Some(value) = value {
            query.push_str(&format!("&{key}={}", encoded(value)));
        }
    }
    if let Some(since) = args.since {
        query.push_str(&format!("&since={}", since.0));
    }
    let runs: Vec<RunView> =
        Context::block_on(async { Client::connect(context).await?.get(&query).await })?;
    if context.global.json {
        context.output().json(&runs)?;
        return Ok(Exit::Done);
    }
    if runs.is_empty() {
        context.say("no runs");
        return Ok(Exit::Done);
    }
    let now = context.surroundings.clock.now();
    let rows = runs.iter().map(|run| row(run, now)).collect();
    context
        .output()
        .table(&["RUN", "NAME", "STATE", "CLASS", "NODES", "QUEUED", "RAN", "SUBMITTED"], rows)?;
    Ok(Exit::Done)
}

fn row(run: &RunView, now: Timestamp) -> Vec<String> {
    let state = match &run.reason {
        Some(reason) if run.state == "failed" => format!("failed: {reason}"),
        _ if run.stale_since.is_some() => format!("{} (stale)", run.state),
        _ => run.state.clone(),
    };
    let ran = if run.started_at.is_some() { length(run.elapsed_seconds) } else { "-".to_owned() };
    vec![
        run.id.to_string(),
        TerminalText(&run.name).to_string(),
        state,
        TerminalText(&run.class).to_string(),
        run.nodes.to_string(),
        run.queue_seconds.map_or_else(|| "-".to_owned(), length),
        ran,
        ago(run.created_at, now),
    ]
}
