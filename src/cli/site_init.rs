//! `site init`: a site config of what Slurm says about itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::found::{ask, on_path};
use crate::cli::text::path;
use crate::files::durable;
use crate::slurm::found::describe;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write it; `-`, or nothing, prints it
    #[arg(long, short, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// Readable for everybody: there is nothing secret in it, and users read what /etc says.
const MODE: u32 = 0o644;

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let file = Some(args.output.as_path()).filter(|output| *output != Path::new("-"));
    let file = file.map(|file| context.surroundings.directory.join(file));
    // Told before Slurm is asked, which may take seconds.
    if let Some(file) = file.as_ref().filter(|file| !args.force && file.symlink_metadata().is_ok())
    {
        return Err(is_there(file));
    }
    let Some(which) = on_path(context) else {
        return Err(CliError::new(Exit::NoSlurm, "no Slurm is on PATH: it needs scontrol and sinfo")
            .hint("put the directory of Slurm's commands on PATH, or describe the cluster by hand: site-config/site.toml explains every key"));
    };
    let text = ask(context, |hands, asker| describe(hands, &which, asker))
        .map_err(|why| CliError::new(Exit::NoSlurm, format!("Slurm cannot be asked: {why}")))?;
    let own = context.site_paths().own;
    match &file {
        None => {
            if context.global.json {
                context.output().json(&serde_json::json!({ "file": null, "text": text }))?;
            } else {
                context.output().text(&text)?;
            }
            context.say(&format!(
                "printed, not written: `trainyard site init --output {}` keeps it for you, \
                 /etc/trainyard/site.toml is for everybody",
                path(&own)
            ));
        }
        Some(file) => {
            write(file, &text, args.force)?;
            if context.global.json {
                context.output().json(&serde_json::json!({ "file": file, "text": text }))?;
            }
            context.say(&next_step(file, &own));
        }
    }
    Ok(Exit::Done)
}

fn next_step(file: &Path, own: &Path) -> String {
    let is_in_force = file == own || file == Path::new("/etc/trainyard/site.toml");
    let shown = path(file);
    let check = if is_in_force {
        "`trainyard site check`".to_owned()
    } else {
        format!("`trainyard site check --site {shown}`")
    };
    format!(
        "wrote {shown}: read it through, set `run_root` to a file system that the compute nodes see, \
         and compare it with the cluster: {check}"
    )
}

fn write(file: &Path, text: &str, over: bool) -> Result<(), CliError> {
    /// Of directories that are missing above it.
    const DIR_MODE: u32 = 0o755;
    let unwritten = |error: std::io::Error| {
        CliError::new(Exit::Internal, format!("cannot write {}: {error}", file.display()))
            .hint("`--output` names another place; without it the text is printed")
    };
    if let Some(above) = file.parent() {
        durable::create_dir_all(above, DIR_MODE).map_err(unwritten)?;
    }
    let put = if over { durable::write } else { durable::create };
    put(file, text.as_bytes(), MODE).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists { is_there(file) } else { unwritten(error) }
    })
}

fn is_there(file: &Path) -> CliError {
    CliError::new(Exit::Conflict, format!("{} is there already", file.display()))
        .hint("`--force` replaces it; `trainyard site init` alone prints what would be written")
}
