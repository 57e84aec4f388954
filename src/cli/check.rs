//! `check`: all problems of specs against the site.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cli::context::{Context, slurm_is_silent};
use crate::cli::diagnostic;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::schedule::{own_timezone, time};
use crate::cli::spec_args::{dataset_changes, read_file};
use crate::cli::text::TerminalText;
use crate::domain::problem::{Problem, Sources};
use crate::domain::request::{Change, SpecRequest};
use crate::domain::resolve::{Choice, Expectation, Outcome};
use crate::domain::resolved::Resolved;
use crate::domain::schedule::Plan;
use crate::domain::sweep::{Cost, Family, FamilyOutcome, Point};
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
struct Verdict<T> {
    /// What is fine.
    came_to: Result<T, Faults>,
    warnings: Vec<Problem>,
    sources: Sources,
}

/// Checks a spec, files included, and tells what it warns of.
pub(super) fn check(
    context: &Context,
    request: &SpecRequest,
    site: &LoadedSite,
) -> Result<Resolved, Faults> {
    let checked = request.check(&site.site, &context.surroundings.asker);
    told(context, run_verdict(checked.outcome, checked.sources, site))
}

/// Checks one point of a sweep in the same way.
pub(super) fn check_point(
    context: &Context,
    request: &SpecRequest,
    (family, point): (&Family, &Point),
    site: &LoadedSite,
) -> Result<Resolved, Faults> {
    let outcome = family.resolve(point, request.context(&site.site, &context.surroundings.asker));
    told(context, run_verdict(outcome, family.sources.clone(), site))
}

/// Checks a whole sweep in the same way.
pub(super) fn check_sweep(
    context: &Context,
    request: &SpecRequest,
    family: &Family,
    site: &LoadedSite,
) -> Result<Cost, Faults> {
    told(context, sweep_verdict(context, request, family, site))
}

fn told<T>(context: &Context, verdict: Verdict<T>) -> Result<T, Faults> {
    diagnostic::warn(context, &verdict.warnings, &verdict.sources);
    verdict.came_to
}

fn run_verdict(outcome: Outcome, sources: Sources, site: &LoadedSite) -> Verdict<Resolved> {
    let Outcome { resolved, choice, expectations, capture: _, problems, warnings } = outcome;
    let found = Found { fine: resolved, choice, expectations, problems, warnings };
    found.verdict(sources, site)
}

/// What the check of a run or a sweep found, before its files are looked at.
struct Found<T> {
    fine: Option<T>,
    choice: Choice,
    expectations: Vec<Expectation>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<T> Found<T> {
    fn verdict(self, sources: Sources, site: &LoadedSite) -> Verdict<T> {
        let Self { fine, choice, expectations, mut problems, warnings } = self;
        problems.extend(verify(&expectations));
        let (undecided, hint) = match (choice, &site.silence) {
            (_, None) | (Choice::Made, Some(_)) => (None, None),
            (Choice::OnlyLocal, Some(why)) => (Some(why.clone()), None),
            (Choice::NotThere, Some(why)) => (None, Some(slurm_is_silent(why))),
        };
        let came_to = match fine {
            Some(fine) if problems.is_empty() && undecided.is_none() => Ok(fine),
            _ => Err(Faults { problems, sources: sources.clone(), undecided, hint }),
        };
        Verdict { came_to, warnings, sources }
    }
}

/// What a spec comes to that is fine.
#[derive(Debug, Clone, Default)]
struct Fine {
    /// What a sweep costs at most.
    sweep: Option<Cost>,
    schedule: Option<Plan>,
}

fn judge(context: &Context, request: &SpecRequest, site: &LoadedSite) -> Verdict<Fine> {
    let schedule = request.plan(own_timezone);
    let asker = &context.surroundings.asker;
    let Some(family) = Family::read(request) else {
        let checked = request.check(&site.site, asker);
        let Verdict { came_to, warnings, sources } =
            run_verdict(checked.outcome, checked.sources, site);
        return Verdict {
            came_to: came_to.map(|_| Fine { sweep: None, schedule }),
            warnings,
            sources,
        };
    };
    let Verdict { came_to, warnings, sources } = sweep_verdict(context, request, &family, site);
    let came_to = came_to.map(|cost| Fine { sweep: Some(cost), schedule });
    Verdict { came_to, warnings, sources }
}

fn sweep_verdict(
    context: &Context,
    request: &SpecRequest,
    family: &Family,
    site: &LoadedSite,
) -> Verdict<Cost> {
    let (asker, clock) = (&context.surroundings.asker, &context.surroundings.clock);
    let FamilyOutcome { cost, sets: _, choice, expectations, problems, warnings } =
        family.check(request.context(&site.site, asker), clock.now());
    let found = Found { fine: cost, choice, expectations, problems, warnings };
    found.verdict(family.sources.clone(), site)
}

/// A sweep's extent in a few words.
fn extent(cost: &Cost) -> String {
    let Cost { points, resource_sets, node_hours_max, charge_max, open } = *cost;
    let (s, sets) = (plural(points), plural(resource_sets));
    let hours = match node_hours_max {
        Some(hours) => format!("at most {hours:.1} node-hours"),
        None => "without a time limit".to_owned(),
    };
    let charge = charge_max.map_or(String::new(), |charge| format!(" and a charge of {charge:.1}"));
    let points = if open { format!("open for at most {points}") } else { points.to_string() };
    format!("{points} point{s}, {resource_sets} set{sets} of resources, {hours}{charge}")
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let site = context.site()?;
    let changes = dataset_changes(context, &args.dataset)?;
    let mut documents = Vec::new();
    let (mut count, mut undecided) = (0, None);
    let mut hints = BTreeSet::new();
    for spec in &args.specs {
        let file = spec.display().to_string();
        let Verdict { came_to, warnings, sources: texts } =
            check_file(context, spec, changes.clone(), &site);
        let Fine { sweep, schedule } = came_to.as_ref().ok().cloned().unwrap_or_default();
        let now = context.surroundings.clock.now();
        let next = schedule.as_ref().map(|plan| plan.next_after(now));
        let mut faults = came_to.err().unwrap_or_default();
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
            let document = serde_json::json!({ "spec": file, "problems": problems, "warnings": warnings, "sweep": sweep, "next": next });
            documents.push(document);
            continue;
        }
        diagnostic::warn(context, &warnings, &texts);
        if problems.is_empty() {
            let extent = sweep.map_or(String::new(), |cost| format!(": {}", extent(&cost)));
            context.output().line(&format!("{}: fine{extent}", TerminalText(&file)))?;
            for (plan, at) in
                schedule.iter().flat_map(|plan| next.iter().flatten().map(move |at| (plan, at)))
            {
                context.output().line(&format!("  next  {}", time(*at, plan)))?;
            }
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
fn check_file(
    context: &Context,
    spec: &Path,
    changes: Vec<Change>,
    site: &LoadedSite,
) -> Verdict<Fine> {
    match read_file(context, spec, changes) {
        Ok(request) => judge(context, &request, site),
        Err(error) => {
            let problems = vec![Problem::nowhere(error.message)];
            let came_to = Err(Faults { problems, ..Faults::default() });
            Verdict { came_to, warnings: Vec::new(), sources: Sources::default() }
        }
    }
}
