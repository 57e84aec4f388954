//! `check`: all problems of specs against the site.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cli::context::{Context, slurm_is_silent};
use crate::cli::diagnostic;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::spec_args::{dataset_changes, read_file};
use crate::cli::text::TerminalText;
use crate::domain::problem::{Problem, Sources};
use crate::domain::request::{Change, SpecRequest};
use crate::domain::resolve::Choice;
use crate::domain::resolved::Resolved;
use crate::files::{LoadedSite, verify};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Spec files
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Data for the runs, by its name in the catalogue or by its path, instead of the spec's
    #[arg(long, value_name = "NAME|PATH")]
    dataset: Vec<String>,
}

/// What is wrong with a spec, with the texts that the problems point into.
#[derive(Debug, Default)]
pub(super) struct Faults {
    problems: Vec<Problem>,
    sources: Sources,
    /// Why Slurm is silent, where the spec leaves it to the cluster where it executes.
    undecided: Option<String>,
    /// The same, where the spec asks for something that Slurm may have.
    hint: Option<String>,
}

impl From<Faults> for CliError {
    fn from(faults: Faults) -> Self {
        let error = match faults.undecided {
            Some(why) if faults.problems.is_empty() => {
                Self::new(Exit::NoSlurm, unreachable(&why)).hint(STAY)
            }
            _ => Self::invalid(faults.problems, faults.sources),
        };
        faults.hint.into_iter().fold(error, Self::hint)
    }
}

/// What can be done without Slurm.
pub(super) const STAY: &str = "`--target local` runs it on this machine";

fn unreachable(why: &str) -> String {
    format!("Slurm cannot be reached: {why}")
}

/// What a check came to.
struct Verdict {
    resolved: Result<Resolved, Faults>,
    warnings: Vec<Problem>,
    sources: Sources,
}

/// Checks a spec, files included, and tells what it warns of.
pub(super) fn check(
    context: &Context,
    request: &SpecRequest,
    site: &LoadedSite,
) -> Result<Resolved, Faults> {
    let Verdict { resolved, warnings, sources } = judge(context, request, site);
    diagnostic::warn(context, &warnings, &sources);
    resolved
}

fn judge(context: &Context, request: &SpecRequest, site: &LoadedSite) -> Verdict {
    let checked = request.check(&site.site, &context.surroundings.asker);
    let mut problems = checked.outcome.problems;
    problems.extend(verify(&checked.outcome.expectations));
    let (undecided, hint) = match (checked.outcome.choice, &site.silence) {
        (_, None) | (Choice::Made, Some(_)) => (None, None),
        (Choice::OnlyLocal, Some(why)) => (Some(why.clone()), None),
        (Choice::NotThere, Some(why)) => (None, Some(slurm_is_silent(why))),
    };
    let sources = checked.sources;
    let resolved = match checked.outcome.resolved {
        Some(resolved) if problems.is_empty() && undecided.is_none() => Ok(resolved),
        _ => Err(Faults { problems, sources: sources.clone(), undecided, hint }),
    };
    Verdict { resolved, warnings: checked.outcome.warnings, sources }
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let site = context.site()?;
    let changes = dataset_changes(context, &args.dataset)?;
    let mut documents = Vec::new();
    let (mut count, mut undecided) = (0, None);
    let mut hints = BTreeSet::new();
    for spec in &args.specs {
        let file = spec.display().to_string();
        let Verdict { resolved, warnings, sources: texts } =
            check_file(context, spec, changes.clone(), &site);
        let mut faults = resolved.err().unwrap_or_default();
        count += faults.problems.len();
        hints.extend(faults.hint);
        if let Some(why) = faults.undecided {
            faults.problems.push(Problem::nowhere(unreachable(&why)).help(STAY));
            undecided = Some(why);
        }
        let Faults { problems, sources, .. } = faults;
        if context.global.json {
            let problems = diagnostic::to_json(&problems, &sources);
            let warnings = diagnostic::to_json(&warnings, &texts);
            let document =
                serde_json::json!({ "spec": file, "problems": problems, "warnings": warnings });
            documents.push(document);
            continue;
        }
        diagnostic::warn(context, &warnings, &texts);
        if problems.is_empty() {
            context.output().line(&format!("{}: fine", TerminalText(&file)))?;
        } else {
            diagnostic::show(context, &problems, &sources);
        }
    }
    if context.global.json {
        context.output().json(&documents)?;
    }
    let error = match (count, undecided) {
        (0, None) => return Ok(Exit::Done),
        (0, Some(why)) => CliError::new(Exit::NoSlurm, unreachable(&why)).hint(STAY),
        _ => CliError::new(Exit::Invalid, format!("{count} problem{}", plural(count))),
    };
    if context.global.json {
        Ok(error.exit)
    } else {
        Err(hints.into_iter().fold(error, CliError::hint))
    }
}

/// All problems of one file; that it cannot be read is one of them, so that the other files are checked all the same.
fn check_file(context: &Context, spec: &Path, changes: Vec<Change>, site: &LoadedSite) -> Verdict {
    match read_file(context, spec, changes) {
        Ok(request) => judge(context, &request, site),
        Err(error) => {
            let problems = vec![Problem::nowhere(error.message)];
            let resolved = Err(Faults { problems, ..Faults::default() });
            Verdict { resolved, warnings: Vec::new(), sources: Sources::default() }
        }
    }
}
