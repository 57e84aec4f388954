//! `render`: the exact script of a spec.

use crate::cli::check::check;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;
use crate::cli::spec_args::SpecArgs;
use crate::script::render;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// A point of a sweep (not supported by this version)
    #[arg(long)]
    point: Option<u32>,
    /// An attempt: the script is the same for every one
    #[arg(long)]
    attempt: Option<u32>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if args.point.is_some() {
        return Err(CliError::usage("`--point` is not supported by this version"));
    }
    let site = context.site()?;
    let request = args.spec.read(context)?;
    let resolved = check(context, &request, &site)?;
    let script = render(&resolved);
    if context.global.json {
        context.output().json(&serde_json::json!({ "script": script, "resolved": resolved }))?;
    } else {
        Output::raw(script.as_bytes())?;
    }
    Ok(Exit::Done)
}
