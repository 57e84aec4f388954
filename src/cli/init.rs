//! `init`: a commented spec to start from.

use std::io::Write as _;
use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};

/// What is written.
const TEMPLATE: &str = include_str!("../../examples/template/run.toml");

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write
    #[arg(default_value = "run.toml")]
    file: PathBuf,
    /// An existing batch script to start from (not supported by this version)
    #[arg(long, value_name = "SCRIPT")]
    from: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if args.from.is_some() {
        return Err(CliError::usage("`init --from` is not supported by this version"));
    }
    let path = context.surroundings.directory.join(&args.file);
    let shown = args.file.display();
    let file = std::fs::File::options().write(true).create_new(true).open(&path);
    let mut file = file.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            return CliError::new(
                Exit::Conflict,
                format!("{shown} is there already; it was not touched"),
            );
        }
        CliError::new(Exit::Usage, format!("cannot write {shown}: {error}"))
    })?;
    file.write_all(TEMPLATE.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| CliError::new(Exit::Internal, format!("cannot write {shown}: {error}")))?;
    context.say(&format!(
        "wrote {shown}; edit it, then: trainyard check {shown} && trainyard submit {shown} --wait"
    ));
    Ok(Exit::Done)
}
