//! `delete`: remove a run's files, after telling what that means.

use std::io::{IsTerminal as _, Write as _};

use crate::api::{DeleteRequest, Deletion};
use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::path;
use crate::domain::units::Bytes;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run that is over: its number, its name or @last
    run: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let target = format!("{}/delete", run_path(&args.run)?);
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let meant: Deletion = client.post(&target, &DeleteRequest { dry_run: true }).await?;
        if !context.global.json {
            for line in told(&meant) {
                context.say(&line);
            }
        }
        if !args.yes && !agreed(context, &meant)? {
            context.say("nothing was deleted");
            return Ok(Exit::Usage);
        }
        // The number, since a name may mean another run by now.
        let target = format!("/runs/{}/delete", meant.run);
        let done: Deletion = client.post(&target, &DeleteRequest { dry_run: false }).await?;
        if context.global.json {
            context.output().json(&done)?;
        } else {
            context.say(&format!("the files of run {} are deleted", done.run));
        }
        Ok(Exit::Done)
    })
}

/// What goes, and what stays for whom.
fn told(meant: &Deletion) -> Vec<String> {
    let many =
        |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut lines = vec![format!(
        "deletes {} ({}, {})",
        path(&meant.run_dir),
        many(meant.files, "file"),
        Bytes(meant.bytes)
    )];
    if meant.code.is_some() {
        lines.push(match meant.code_used_by {
            0 => "keeps its captured code, which no other run uses: `trainyard site gc` removes it"
                .into(),
            1 => "keeps its captured code, which another run uses".into(),
            others => format!("keeps its captured code, which {others} other runs use"),
        });
    }
    lines.push("keeps its record: what was asked, its history, attempts and charges".into());
    lines
}

fn agreed(context: &Context, meant: &Deletion) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() || !Context::is_terminal() {
        return Err(
            CliError::usage("deleting asks, and there is no terminal to ask on").hint("add --yes")
        );
    }
    let mut stderr = context.stderr();
    // A question that cannot be shown is not answered with yes.
    write!(stderr, "Delete the files of run {}? [y/N] ", meant.run)?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
