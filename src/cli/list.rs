//! `list`: runs, newest first.

use jiff::Timestamp;

use crate::api::LIST_MAX;
use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::submit::duration;
use crate::cli::text::{TerminalText, age, length};
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
    /// Only the points of this sweep
    #[arg(long)]
    sweep: Option<i64>,
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
    let runs = fetch(context, args)?;
    if context.global.json {
        context.output().json(&runs)?;
        return Ok(Exit::Done);
    }
    if runs.is_empty() {
        context.say("no runs");
        return Ok(Exit::Done);
    }
    let now = context.surroundings.clock.now();
    context.output().table(HEADER, runs.iter().map(|run| row(run, now)).collect())?;
    Ok(Exit::Done)
}

/// All runs that were asked for, as many requests as that takes.
fn fetch(context: &Context, args: &Args) -> Result<Vec<RunView>, CliError> {
    let filter = filter(args);
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let mut runs: Vec<RunView> = Vec::new();
        let mut left = args.limit;
        loop {
            let count = left.min(LIST_MAX);
            let before = runs.last().map(|run| format!("&before={}", run.id)).unwrap_or_default();
            let page: Vec<RunView> =
                client.get(&format!("/runs?limit={count}{before}{filter}")).await?;
            let got = u32::try_from(page.len()).unwrap_or(u32::MAX);
            runs.extend(page);
            left = left.saturating_sub(got);
            if got < count || left == 0 {
                return Ok(runs);
            }
        }
    })
}

/// The filters as the API takes them.
fn filter(args: &Args) -> String {
    let mut query = String::new();
    if !args.state.is_empty() {
        query.push_str(&format!("&state={}", encoded(&args.state.join(","))));
    }
    for (key, value) in [("user", &args.user), ("project", &args.project), ("name", &args.name)] {
        if let Some(value) = value {
            query.push_str(&format!("&{key}={}", encoded(value)));
        }
    }
    if let Some(sweep) = args.sweep {
        query.push_str(&format!("&sweep={sweep}"));
    }
    if let Some(since) = args.since {
        query.push_str(&format!("&since={}", since.0));
    }
    query
}

const HEADER: &[Column] = &[
    Column::Whole("RUN"),
    Column::Elastic("NAME"),
    Column::Whole("STATE"),
    Column::Elastic("ON"),
    Column::Whole("QUEUED"),
    Column::Whole("RAN"),
    Column::Whole("AGE"),
];

/// What a run is called by: a point by its sweep's number and its own.
pub(super) fn known_as(run: &RunView) -> String {
    match (run.sweep, run.point) {
        (Some(sweep), Some(point)) => format!("{sweep}:{point}"),
        _ => run.id.to_string(),
    }
}

fn row(run: &RunView, now: Timestamp) -> Vec<String> {
    let state = match &run.reason {
        Some(reason) if run.state == "failed" => format!("failed: {reason}"),
        _ if run.stale_since.is_some() => format!("{} (stale)", run.state),
        _ => run.state.clone(),
    };
    let ran = if run.started_at.is_some() { length(run.elapsed_seconds) } else { "-".to_owned() };
    let class = TerminalText(&run.class);
    let on = if run.nodes == 1 { class.to_string() } else { format!("{} × {class}", run.nodes) };
    vec![
        known_as(run),
        TerminalText(&run.name).to_string(),
        state,
        on,
        run.queue_seconds.map_or_else(|| "-".to_owned(), length),
        ran,
        age(run.created_at, now),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::table;
    use crate::cli::sample::{NOW, run};

    #[test]
    fn a_list_reads_well_at_80_columns() {
        let long = "a-name-as-long-as-a-name-may-be-with-63-characters-in-it-seed-7";
        let runs = [
            json!({ "id": 100_412, "name": long, "class": "a100-4x-scavenge", "nodes": 16 }),
            json!({ "id": 100_411, "name": "sft", "sweep": 99_812, "point": 598, "state": "stopping", "reason": "cancelled_by_user" }),
            json!({ "id": 100_410, "name": "sft", "state": "failed", "reason": "out_of_memory" }),
            json!({ "id": 100_409, "state": "queued", "started_at": null, "queue_seconds": null,
                    "stale_since": "2026-05-01T11:00:00Z", "stale_who": "cluster main" }),
            json!({ "id": 100_408, "name": "x\u{1b}[2Jy", "state": "completed", "elapsed_seconds": 190_000.0 }),
        ];
        let now = NOW.parse().expect("a time");
        let rows = runs.into_iter().map(|changes| row(&run(changes), now)).collect();
        insta::assert_snapshot!(table(HEADER, rows, 80));
    }
}
