//! `events`: a run's history.

use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::{moment, one_line};
use crate::store::HistoryEvent;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let path = run_path(&args.run)? + "/events";
    let events: Vec<HistoryEvent> =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    let output = context.output();
    if context.global.json {
        output.json(&events)?;
        return Ok(Exit::Done);
    }
    for event in events {
        output.line(&line(&event))?;
    }
    Ok(Exit::Done)
}

fn line(event: &HistoryEvent) -> String {
    format!("{}  {:<9} {}", moment(event.at), event.kind, one_line(&event.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let message = "sbatch: error: no\nsbatch: \u{1b}[2J".to_owned();
        let event =
            HistoryEvent { at: jiff::Timestamp::UNIX_EPOCH, kind: "refused".into(), message };
        let line = line(&event);
        assert!(line.ends_with("  refused   sbatch: error: no; sbatch: \\u{1b}[2J"), "{line}");
    }
}
