//! `check`: all problems of specs against the site.

use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::diagnostic;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::spec_args::read_file;
use crate::cli::text::TerminalText;
use crate::domain::problem::{Problem, Sources};
use crate::domain::request::SpecRequest;
use crate::domain::resolved::Resolved;
use crate::domain::site::Site;
use crate::files::verify;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Spec files
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
}

/// Checks a spec, files included; problems are given with the texts they point into.
pub(super) fn check(
    context: &Context,
    request: &SpecRequest,
    site: &Site,
) -> Result<Resolved, (Vec<Problem>, Sources)> {
    let checked = request.check(site, &context.surroundings.asker);
    let mut problems = checked.outcome.problems;
    problems.extend(verify(&checked.outcome.expectations));
    match checked.outcome.resolved {
        Some(resolved) if problems.is_empty() => Ok(resolved),
        _ => Err((problems, checked.sources)),
    }
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let site = context.site()?.site;
    let mut documents = Vec::new();
    let mut count = 0;
    for spec in &args.specs {
        let file = spec.display().to_string();
        let (problems, sources) = check_file(context, spec, &site);
        count += problems.len();
        if context.global.json {
            let problems = diagnostic::to_json(&problems, &sources);
            documents.push(serde_json::json!({ "spec": file, "problems": problems }));
        } else if problems.is_empty() {
            context.output().line(&format!("{}: fine", TerminalText(&file)))?;
        } else {
            diagnostic::show(context, &problems, &sources);
        }
    }
    if context.global.json {
        context.output().json(&documents)?;
    }
    match count {
        0 => Ok(Exit::Done),
        _ if context.global.json => Ok(Exit::Invalid),
        _ => {
            let message = format!("{count} problem{}", plural(count));
            Err(CliError::new(Exit::Invalid, message))
        }
    }
}

/// All problems of one file; that it cannot be read is one of them, so that the other files are checked all the same.
fn check_file(context: &Context, spec: &Path, site: &Site) -> (Vec<Problem>, Sources) {
    match read_file(context, spec, Vec::new()) {
        Ok(request) => check(context, &request, site).err().unwrap_or_default(),
        Err(error) => (vec![Problem::nowhere(error.message)], Sources::default()),
    }
}
