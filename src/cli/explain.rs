//! `explain`: why a run waits, or why it failed.

use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::{TerminalText, one_line};
use crate::domain::diagnosis::{Evidence, Explanation, Outlook};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let path = run_path(&args.run)? + "/explain";
    let explanation: Explanation =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    if context.global.json {
        context.output().json(&explanation)?;
    } else {
        context.output().text(&text(&explanation))?;
    }
    Ok(Exit::Done)
}

fn text(explanation: &Explanation) -> String {
    let Explanation { run, name, state, kind, .. } = explanation;
    let mut lines = vec![("why", one_line(&explanation.sentence))];
    if let Some(outlook) = explanation.will_start {
        lines.push(("will start", outlook_in_words(outlook).to_owned()));
    }
    lines.push(("kind", kind.to_string()));
    if !explanation.what_to_do.is_empty() {
        lines.push(("to do", one_line(&explanation.what_to_do)));
    }
    lines.extend(explanation.evidence.iter().map(|evidence| ("evidence", proof(evidence))));
    let heading = format!("run {run} {}: {}\n", TerminalText(name), TerminalText(state));
    lines.into_iter().fold(heading, |text, (key, value)| text + &format!("  {key:<11} {value}\n"))
}

fn outlook_in_words(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::ByItself => "by itself",
        Outlook::WhenReleased => "not before somebody releases it",
        Outlook::Never => "NEVER, as it is",
        Outlook::Unknown => "not known",
    }
}

fn proof(evidence: &Evidence) -> String {
    let line = evidence.line.map(|line| format!(" line {line}")).unwrap_or_default();
    format!("{}{line}: {}", evidence.source, one_line(&evidence.text))
}
