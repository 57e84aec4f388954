//! `budget`: what projects may spend, and what is left of it.

use crate::api::BudgetView;
use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, one_line};

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
    for wrong in budgets.iter().filter_map(|budget| budget.wrong.as_ref()) {
        context.error(&one_line(wrong), &[]);
    }
    context.say("in charge units; only your own runs are counted here");
    Ok(Exit::Done)
}

fn row(budget: &BudgetView) -> Vec<String> {
    let state = match budget {
        BudgetView { wrong: Some(_), .. } => "wrong",
        BudgetView { overrun, .. } if *overrun > 0.0 => "overrun",
        BudgetView { .. } => "fine",
    };
    let amount = |units: f64| format!("{units:.2}");
    vec![
        TerminalText(&budget.project).to_string(),
        budget.period.clone(),
        amount(budget.budget),
        amount(budget.captured),
        amount(budget.held),
        amount(budget.available),
        state.to_owned(),
    ]
}
