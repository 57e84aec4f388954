//! `estimate`: what a run or a sweep may cost, whether that is left, and when it may start.

use jiff::Timestamp;

use crate::api::{BudgetView, EstimateView};
use crate::cli::check::{check, check_sweep};
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::spec_args::SpecArgs;
use crate::cli::text::{TerminalText, length, moment, one_line, value};
use crate::domain::ledger::Amount;
use crate::domain::sweep::Family;
use crate::domain::units::Seconds;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let request = args.spec.read(context)?;
    let host = context.global.host.as_ref();
    // Its problems are told here, each at its place, and files are looked at; on another machine only a submission does so.
    if host.is_none() {
        let site = context.site()?;
        match Family::read(&request) {
            Some(family) => drop(check_sweep(context, &request, &family, &site)?),
            None => drop(check(context, &request, &site)?),
        }
    }
    let estimated: Result<EstimateView, CliError> = Context::block_on(async {
        Client::connect(context).await?.post("/estimate", &request).await
    });
    let estimate = estimated.map_err(|error| match host {
        Some(host) => host.saw(error),
        None => error,
    })?;
    if context.global.json {
        context.output().json(&estimate)?;
    } else {
        context.output().text(&text(&estimate, context.surroundings.clock.now()))?;
    }
    match &estimate.shortage {
        Some(why) if estimate.is_refused => Err(CliError::new(Exit::OverBudget, one_line(why))
            .hint("ask for fewer nodes or a shorter `time_limit`, or for a larger budget")),
        Some(why) => {
            context.warn(&one_line(why), None);
            Ok(Exit::Done)
        }
        None => Ok(Exit::Done),
    }
}

fn text(estimate: &EstimateView, now: Timestamp) -> String {
    let mut lines = Vec::new();
    if let Some(points) = estimate.points {
        let sets = estimate.resource_sets;
        let sets = format!("{sets} set{} of resources", plural(sets));
        lines.push(("points", format!("{points}, with {sets}; charges are of all of them")));
    }
    let of = if estimate.points.is_some() { "first point" } else { "runs on" };
    lines.push((of, place(estimate)));
    let hours = estimate.node_hours.map_or_else(
        || "not known: it has no time limit".to_owned(),
        |hours| format!("{} at the time limit", value(hours)),
    );
    lines.push(("node-hours", hours));
    lines.extend(charge(estimate));
    if let Some(budget) = &estimate.budget {
        lines.extend(left(budget, estimate.sufficient));
    }
    lines.extend(start(estimate, now));
    let kind = if estimate.points.is_some() { "sweep" } else { "run" };
    let heading = format!("{kind} {}\n", TerminalText(&estimate.name));
    lines.into_iter().fold(heading, |text, (key, line)| text + &format!("  {key:<11} {line}\n"))
}

fn place(estimate: &EstimateView) -> String {
    let EstimateView { class, target, nodes, time_limit_seconds, .. } = estimate;
    let s = if *nodes == 1 { "" } else { "s" };
    let limit =
        time_limit_seconds.map_or(String::new(), |limit| format!(" for {}", Seconds(limit)));
    format!("{} ({target}, {nodes} node{s}){limit}", TerminalText(class))
}

fn charge(estimate: &EstimateView) -> Vec<(&'static str, String)> {
    let Some(charge) = estimate.charge else {
        return vec![("charge", "nothing: its class has no rate".to_owned())];
    };
    let unit = &estimate.unit;
    let at_most = format!("{} {unit}s at most", Amount::clamped(charge));
    let at_limit = estimate.charge_at_limit.map(|charge| {
        ("", format!("{} {unit}s if it ends at the time limit", Amount::clamped(charge)))
    });
    std::iter::once(("charge", at_most)).chain(at_limit).collect()
}

fn left(budget: &BudgetView, sufficient: bool) -> Vec<(&'static str, String)> {
    let held = format!("{:.2}", budget.held);
    let period = TerminalText(&budget.period);
    let period = if budget.period == "none" { "" } else { &format!(" in {period}") };
    let suffices = if sufficient { "enough" } else { "not enough" };
    let unit = budget.slurm.as_ref().map_or(String::new(), |_| format!(" {}s", budget.unit));
    let left = match (budget.available, budget.budget, &budget.wrong) {
        (Some(available), Some(all), _) => {
            format!("{available:.2} of {all:.2}{unit} left ({held} held): {suffices}")
        }
        (_, _, Some(_)) => "nobody knows what is left of it".to_owned(),
        (_, _, None) => "Slurm sets no limit".to_owned(),
    };
    vec![("budget", format!("project {}{period}", TerminalText(&budget.project))), ("", left)]
}

fn start(estimate: &EstimateView, now: Timestamp) -> Vec<(&'static str, String)> {
    if estimate.target == "local" {
        return vec![("starts", "when this machine has room: it has no queue".to_owned())];
    }
    let start = &estimate.start;
    let mut lines = Vec::new();
    match &start.history {
        Some(history) => {
            let (half, most) = (history.waits.median_seconds, history.waits.p90_seconds);
            let count = history.waits.count;
            let (half, most) = (length(half), length(most));
            lines.push(("starts", format!("within {half} (half of them), {most} (nine of ten)")));
            let s = if count == 1 { "" } else { "s" };
            lines.push(("", format!("as {count} start{s} of yours did:")));
            lines.push(("", TerminalText(&history.basis).to_string()));
        }
        None => lines.push(("starts", "no start of its class is on record".to_owned())),
    }
    let slurm = match (start.slurm_at, &start.slurm_says) {
        (Some(at), _) if at <= now => "starts it at once, as its queue is now".to_owned(),
        (Some(at), _) => {
            let wait = length(at.duration_since(now).as_secs_f64());
            format!("starts it at {}, in {wait}, as its queue is now", moment(at))
        }
        (None, Some(why)) => format!("does not say: {}", one_line(why)),
        (None, None) => "does not say".to_owned(),
    };
    lines.push(("Slurm", slurm));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::LikelyStart;
    use crate::domain::ledger::OnExhausted;
    use crate::domain::waits::{Alike, Expected, Waits};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn paid() -> EstimateView {
        let budget = BudgetView {
            project: "nlp".into(),
            period: "2026".into(),
            budget: Some(5000.0),
            captured: 3120.4,
            held: 96.83,
            available: Some(1782.77),
            unit: "unit".into(),
            overrun: 0.0,
            on_exhausted: OnExhausted::Reject,
            wrong: None,
            slurm: None,
        };
        let waits = Waits { count: 24, median_seconds: 180.0, p90_seconds: 7800.0 };
        let basis = "class `a100-4x`, 16 to 31 nodes, around this hour of the week".to_owned();
        EstimateView {
            name: "llama-sft".into(),
            project: Some("nlp".into()),
            points: None,
            resource_sets: 1,
            target: "slurm".into(),
            cluster: "main".into(),
            class: "a100-4x".into(),
            nodes: 16,
            time_limit_seconds: Some(6 * 24 * 3600),
            node_hours: Some(2304.0),
            charge: Some(2304.4),
            charge_at_limit: Some(2304.0),
            unit: "unit".into(),
            budget: Some(budget),
            sufficient: false,
            shortage: Some("it is short".into()),
            is_refused: true,
            start: LikelyStart {
                history: Some(Expected { waits, alike: Alike::Hour, basis }),
                slurm_at: Some(at(7080)),
                slurm_says: None,
            },
        }
    }

    #[test]
    fn an_estimate_fits_80_columns() {
        let run = text(&paid(), at(0));
        let sweep = EstimateView {
            points: Some(12),
            resource_sets: 2,
            charge: None,
            budget: None,
            start: LikelyStart {
                slurm_says: Some("allocation failure: Invalid qos".into()),
                ..LikelyStart::default()
            },
            ..paid()
        };
        let local = EstimateView {
            target: "local".into(),
            time_limit_seconds: None,
            node_hours: None,
            charge_at_limit: None,
            start: LikelyStart::default(),
            ..paid()
        };
        let all = [run, text(&sweep, at(0)), text(&local, at(0))].join("\n");
        assert!(all.lines().all(|line| line.chars().count() <= 80), "{all}");
        insta::assert_snapshot!(all);
    }
}
