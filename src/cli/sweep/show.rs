//! `sweep show`: how the points of a sweep stand.

use crate::api::SweepShown;
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::sweep::sweep_path;
use crate::cli::text::{TerminalText, counted, length, path, spelled, value};
use crate::cli::wait::{Patience, wait_for_sweep};
use crate::domain::sweep::compare::{ComparedPoint, short_names};
use crate::domain::sweep::{Standing, SweepView};

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// A sweep: its number, or its name for the newest of that name
    sweep: String,
    /// Follow it until all of its points are over, then show it
    #[arg(short = 'f', long)]
    watch: bool,
}

pub(super) fn show(context: &Context, args: &ShowArgs) -> Result<Exit, CliError> {
    let sweep = Context::block_on(async {
        let client = Client::connect(context).await?;
        let path = sweep_path(&args.sweep) + "?standing=true";
        let sweep = client.get::<SweepShown>(&path).await?.sweep;
        if !args.watch || sweep.is_over() {
            return Ok::<_, CliError>(sweep);
        }
        let sweep = wait_for_sweep(context, &client, sweep, Patience::of(None, None)).await?;
        let path = sweep_path(&sweep.id.to_string()) + "?standing=true";
        Ok(client.get::<SweepShown>(&path).await?.sweep)
    })?;
    if context.global.json {
        context.output().json(&sweep)?;
    } else {
        context.output().text(&whole(&sweep))?;
    }
    Ok(Exit::Done)
}

fn whole(sweep: &SweepView) -> String {
    let about = &sweep.about;
    let keys: Vec<String> =
        about.parameters.iter().map(|key| TerminalText(key).to_string()).collect();
    let mut lines = vec![
        ("points", points(sweep)),
        ("progress", progress(sweep)),
        ("parameters", keys.join(", ")),
    ];
    lines.extend(about.max_points.map(|most| {
        (
            "open",
            if sweep.is_open() { format!("for {most} points in all") } else { "no more".into() },
        )
    }));
    lines.extend(about.max_parallel.map(|most| ("at a time", most.to_string())));
    lines.extend(about.objective.as_ref().map(|objective| {
        ("objective", format!("{} {}", objective.goal, TerminalText(&objective.metric)))
    }));
    if let Some(standing) = &sweep.standing {
        lines.push(("node-hours", used(standing)));
        lines.extend(standing.best.as_ref().and_then(|best| Some(("best", told(best)?))));
    }
    lines.push(("files", path(&sweep.sweep_dir)));
    let heading = format!("sweep {} {}: {}\n", sweep.id, TerminalText(&sweep.name), sweep.state);
    lines.into_iter().fold(heading, |text, (key, value)| text + &format!("  {key:<11} {value}\n"))
}

fn points(sweep: &SweepView) -> String {
    match sweep.points {
        0 => "none so far".to_owned(),
        points => format!("{points}: {}", counted(&sweep.states)),
    }
}

/// `[######..................] 5 of 20 over, about 12m left`
fn progress(sweep: &SweepView) -> String {
    const WIDTH: u32 = 24;
    let (over, all) = (sweep.over(), sweep.points.max(1));
    let filled = u64::from(over) * u64::from(WIDTH) / u64::from(all);
    let bar: String =
        (0..u64::from(WIDTH)).map(|place| if place < filled { '#' } else { '.' }).collect();
    let left = sweep.standing.as_ref().and_then(|standing| standing.seconds_left);
    let left = left.map(|seconds| format!(", about {} left", length(seconds)));
    format!("[{bar}] {over} of {} over{}", sweep.points, left.unwrap_or_default())
}

fn used(standing: &Standing) -> String {
    let charge =
        standing.charge.map(|charge| format!(", charge {charge:.4} {}s", standing.charge_unit));
    format!("{:.4}{}", standing.node_hours, charge.unwrap_or_default())
}

/// A point with what it reported, and what sets it apart.
fn told(point: &ComparedPoint) -> Option<String> {
    let parameters = point.parameters.as_object();
    let keys: Vec<&str> = parameters.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let values = parameters.into_iter().flat_map(serde_json::Map::values);
    let each: Vec<String> = short_names(&keys)
        .iter()
        .zip(values)
        .map(|(name, value)| format!("{} {}", TerminalText(name), spelled(value)))
        .collect();
    let step = point.step.map(|step| format!(" at step {step}")).unwrap_or_default();
    let (sweep, number) = (point.sweep, point.point);
    Some(format!("{sweep}:{number} with {}{step}: {}", value(point.best?), each.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sweep(standing: &serde_json::Value) -> SweepView {
        serde_json::from_value(json!({
            "id": 7, "name": "lr", "owner": "ada", "project": null, "experiment": null,
            "created_at": "2026-05-01T12:00:00Z", "state": "running", "points": 20_000,
            "states": { "completed": 6_000, "failed": 500, "running": 64, "pending": 13_436 },
            "sweep_dir": "/scratch/ada/7-lr", "key": null, "method": "grid",
            "parameters": ["args.lr", "args.optimizer"], "max_parallel": 64,
            "objective": { "metric": "val_loss", "goal": "minimize" }, "standing": standing,
        }))
        .unwrap()
    }

    #[test]
    fn a_sweep_is_shown_with_how_far_it_is() {
        let best = json!({
            "sweep": 7, "point": 12, "run": 20, "state": "completed", "best": 0.31, "step": 400,
            "last": 0.35, "elapsed_seconds": 60.0, "node_hours": 0.1, "charge": 0.2,
            "parameters": { "args.lr": 0.001, "args.optimizer": "\u{1b}[2J" },
        });
        let text = whole(&sweep(&json!({
            "node_hours": 812.5, "charge": 1_625.0, "charge_unit": "unit", "seconds_left": 45_296.0,
            "best": best,
        })));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text, @r"
        sweep 7 lr: running
          points      20000: 13436 pending, 6000 completed, 500 failed, 64 running
          progress    [#######.................] 6500 of 20000 over, about 12h34m left
          parameters  args.lr, args.optimizer
          at a time   64
          objective   minimize val_loss
          node-hours  812.5000, charge 1625.0000 units
          best        7:12 with 0.31 at step 400: lr 0.001, optimizer \u{1b}[2J
          files       /scratch/ada/7-lr
        ");
    }

    #[test]
    fn without_anything_to_go_by_nothing_is_said() {
        let text = whole(&sweep(&serde_json::Value::Null));
        assert!(!text.contains("left") && !text.contains("best"), "{text}");
    }
}
