//! `budget`: what projects may spend, and what is left of it.

use std::collections::BTreeSet;

use crate::api::BudgetView;
use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, length, one_line};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this project; all that have a budget without it
    project: Option<String>,
}

const HEADER: &[Column] = &[
    Column::Elastic("PROJECT"),
    Column::Whole("PERIOD"),
    Column::Whole("BUDGET"),
    Column::Whole("CAPTURED"),
    Column::Whole("HELD"),
    Column::Whole("AVAILABLE"),
    Column::Whole("STATE"),
];

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let path = match &args.project {
        Some(project) => format!("/budgets/{}", encoded(project)),
        None => "/budgets".to_owned(),
    };
    let budgets: Vec<BudgetView> =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    if context.global.json {
        context.output().json(&budgets)?;
        return Ok(Exit::Done);
    }
    if budgets.is_empty() {
        context.say(&match &args.project {
            Some(project) => format!("project `{}` has no budget", TerminalText(project)),
            None => "no project has a budget".to_owned(),
        });
        return Ok(Exit::Done);
    }
    context.output().table(HEADER, budgets.iter().map(row).collect())?;
    let wrong: BTreeSet<&String> = budgets.iter().filter_map(|it| it.wrong.as_ref()).collect();
    for wrong in wrong {
        context.error(&one_line(wrong), &[]);
    }
    let by_slurm = budgets.iter().filter(|budget| budget.slurm.is_some()).count();
    if by_slurm < budgets.len() {
        context.say("in charge units; only your own runs are counted here");
    }
    let now = context.surroundings.clock.now();
    let told_at = budgets.iter().filter_map(|budget| budget.slurm.as_ref()?.told_at).min();
    if let Some(told_at) = told_at {
        let ago = length(now.duration_since(told_at).as_secs_f64().max(0.0));
        context.say(&format!(
            "CLUSTER/ACCOUNT/TRES: hours of what Slurm counts, of everybody, as it told {ago} ago"
        ));
    }
    Ok(Exit::Done)
}

fn row(budget: &BudgetView) -> Vec<String> {
    let state = match budget {
        BudgetView { wrong: Some(_), slurm: Some(_), budget: None, .. } => "unknown",
        BudgetView { wrong: Some(_), .. } => "wrong",
        BudgetView { overrun, .. } if *overrun > 0.0 => "overrun",
        BudgetView { budget: None, .. } => "no limit",
        BudgetView { .. } => "fine",
    };
    let amount = |units: f64| format!("{units:.2}");
    let known = |units: Option<f64>| units.map_or_else(|| "-".to_owned(), amount);
    vec![
        TerminalText(&budget.project).to_string(),
        TerminalText(&budget.period).to_string(),
        known(budget.budget),
        amount(budget.captured),
        amount(budget.held),
        known(budget.available),
        state.to_owned(),
    ]
}
