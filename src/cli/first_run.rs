//! Where run directories go is asked once, by the first submission of somebody who sits at a terminal.

use std::io::{IsTerminal as _, Write as _};

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::domain::resolve::default_run_root;
use crate::domain::site::Site;

/// Asks for a run root and writes the answer into the user's own site file. Without a terminal, with a run root in the
/// site config, or once anything was submitted, nothing is asked: the proposal is used. Gives whether it was asked.
pub(super) fn ask_run_root(context: &Context, site: &Site) -> Result<bool, CliError> {
    let known = site.site.as_ref().is_some_and(|general| general.run_root.is_some());
    let file = context.site_paths().own;
    let first = !context.state_dir().database().exists()
        && context.site_asked().is_none()
        && !file.exists();
    if known || !first || !std::io::stdin().is_terminal() || !Context::is_terminal() {
        return Ok(false);
    }
    let home = &context.surroundings.asker.home;
    let proposal = default_run_root(home);
    context.say(
        "Each run gets a directory for its files; on a cluster it must be one that the nodes see.",
    );
    let mut stderr = context.stderr();
    // A question that cannot be shown is answered by the proposal.
    write!(stderr, "Where should run directories go? [{}] ", proposal.display())
        .and_then(|()| stderr.flush())
        .ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let answer = answer.trim();
    let root = match answer.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None if answer.is_empty() => proposal,
        None => context.surroundings.directory.join(answer),
    };
    let Some(root) = root.to_str().filter(|root| !root.chars().any(char::is_control)) else {
        return Err(CliError::usage("that path cannot be written into a site file"));
    };
    write_site(&file, root).map_err(|error| {
        CliError::new(Exit::Usage, format!("cannot write {}: {error}", file.display()))
    })?;
    context.say(&format!("wrote it to {}", file.display()));
    Ok(true)
}

fn write_site(file: &std::path::Path, root: &str) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // JSON's strings are TOML's basic strings.
    let quoted = serde_json::Value::from(root);
    let mut file = std::fs::File::options().write(true).create_new(true).open(file)?;
    write!(
        file,
        "# Your own site config; `trainyard site show` tells what is in force.\n[site]\nrun_root = {quoted}\n"
    )?;
    file.sync_all()
}
