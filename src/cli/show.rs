//! `show`: one run whole.

use jiff::Timestamp;

use crate::api::RunAnswer;
use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::{TerminalText, ago, length, moment, value};
use crate::domain::view::{AttemptView, RunView};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let path = format!("/runs/{}", encoded(&args.run));
    let answer: RunAnswer =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    if context.global.json {
        context.output().json(&answer.run)?;
        return Ok(Exit::Done);
    }
    let output = context.output();
    output.text(&text(&answer.run, context.surroundings.clock.now()))?;
    let attempts = answer.run.attempts.as_deref().unwrap_or_default();
    if !attempts.is_empty() {
        output.line("")?;
        let header = ["ATTEMPT", "JOB", "STATE", "REASON", "EXIT", "NODES", "QUEUED", "RAN"];
        output.table(&header, attempts.iter().map(attempt_row).collect())?;
    }
    Ok(Exit::Done)
}

/// Everything but the attempts, a line each.
pub(super) fn text(run: &RunView, now: Timestamp) -> String {
    let mut lines: Vec<(&str, String)> = vec![("state", state(run))];
    if !run.message.is_empty() {
        lines.push(("why", TerminalText(&run.message).to_string()));
    }
    if let (Some(since), Some(who)) = (run.stale_since, &run.stale_who) {
        lines.push((
            "stale",
            format!("since {} ({}): {}", moment(since), ago(since, now), TerminalText(who)),
        ));
    }
    lines.push(("owner", TerminalText(&run.owner).to_string()));
    for (key, text) in
        [("project", &run.project), ("experiment", &run.experiment), ("strategy", &run.strategy)]
    {
        if let Some(text) = text {
            lines.push((key, TerminalText(text).to_string()));
        }
    }
    lines.push((
        "runs on",
        format!(
            "{} ({}, {} node{})",
            TerminalText(&run.class),
            run.target,
            run.nodes,
            plural(run.nodes)
        ),
    ));
    if run.world_size > 1 {
        let world = format!(
            "{} ranks, {} a node, by {}",
            run.world_size, run.processes_per_node, run.launcher
        );
        lines.push(("world", world));
    }
    lines.push(("submitted", format!("{} ({})", moment(run.created_at), ago(run.created_at, now))));
    if let Some(started) = run.started_at {
        let queued =
            run.queue_seconds.map(|seconds| format!(", after {} in the queue", length(seconds)));
        lines.push(("started", format!("{}{}", moment(started), queued.unwrap_or_default())));
    }
    if let Some(ended) = run.ended_at {
        lines.push(("ended", format!("{}, after {}", moment(ended), length(run.elapsed_seconds))));
    }
    lines.push(("node-hours", used(run)));
    if let Some(progress) = progress(run) {
        lines.push(("progress", progress));
    }
    for (name, metric) in &run.metrics {
        lines.push((
            "metric",
            format!("{} {} at step {}", TerminalText(name), value(metric.last), metric.step),
        ));
    }
    lines.push(("files", run.run_dir.display().to_string()));
    lines.push(("code", run.code.path.display().to_string()));
    let heading = format!("run {} {}\n", run.id, TerminalText(&run.name));
    lines.into_iter().fold(heading, |text, (key, value)| text + &format!("  {key:<11} {value}\n"))
}

fn state(run: &RunView) -> String {
    match &run.reason {
        Some(reason) => format!("{} ({reason})", run.state),
        None => run.state.clone(),
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn used(run: &RunView) -> String {
    let estimated = if run.charge_estimated { ", still growing" } else { "" };
    let charge = run.charge.map(|charge| format!(", charge {charge:.4} {}s", run.charge_unit));
    format!("{:.4}{}{estimated}", run.node_hours, charge.unwrap_or_default())
}

fn progress(run: &RunView) -> Option<String> {
    let progress = &run.progress;
    let of = |done: String, all: Option<String>| {
        all.map_or(done.clone(), |all| format!("{done} of {all}"))
    };
    let steps = progress.step.map(|step| {
        format!("step {}", of(step.to_string(), progress.steps.map(|s| s.to_string())))
    });
    let epochs = progress
        .epoch
        .map(|epoch| format!("epoch {}", of(value(epoch), progress.epochs.map(value))));
    let share = progress.fraction.map(|share| format!("{:.0} %", share * 100.0));
    let parts: Vec<String> = [share, epochs, steps].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn attempt_row(attempt: &AttemptView) -> Vec<String> {
    let dash = || "-".to_owned();
    let exit = match (attempt.exit_code, attempt.signal) {
        (_, Some(signal)) if signal > 0 => format!("signal {signal}"),
        (Some(code), _) => code.to_string(),
        (None, _) => dash(),
    };
    let job = match attempt.array_task_id {
        Some(task) => format!("{}_{task}", attempt.job_id),
        None => attempt.job_id.to_string(),
    };
    vec![
        attempt.attempt.to_string(),
        job,
        attempt.state.clone(),
        attempt.reason.clone().unwrap_or_else(dash),
        exit,
        TerminalText(&attempt.nodes.join(",")).to_string(),
        attempt.queue_seconds.map_or_else(dash, length),
        if attempt.started_at.is_some() { length(attempt.elapsed_seconds) } else { dash() },
    ]
}
