//! `site check`: the site config against the clusters that it describes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::found::{FOUND_FRESH, ask, found_slurm};
use crate::cli::output::Column;
use crate::cli::site_probe::probe;
use crate::cli::submit::duration;
use crate::cli::text::TerminalText;
use crate::domain::keys::Named;
use crate::domain::problem::At;
use crate::domain::resolve::{default_run_root, filled_root};
use crate::domain::site::Site;
use crate::domain::site_check::{ClusterFacts, Finding, Level, check, is_silent};
use crate::domain::units::Seconds;
use crate::files::{FoundLayer, LoadedSite};
use crate::slurm::survey::survey;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What a compute node sees instead, by a job of this class that is over within a minute
    #[arg(long, value_name = "CLASS")]
    probe: Option<String>,
    /// With --probe: how long its job may wait for its start
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration, requires = "probe")]
    timeout: Seconds,
}

/// A finding with its place spelt out.
#[derive(Debug, Serialize)]
struct Placed<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    file: Option<&'a str>,
    line: Option<usize>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let (loaded, findings) = if let Some(class) = &args.probe {
        let loaded = context.site()?;
        let findings = probe(context, &loaded, class, args.timeout)?;
        (loaded, findings)
    } else {
        let loaded = context.site_with_problems(FOUND_FRESH)?;
        let findings = findings(context, &loaded);
        (loaded, findings)
    };
    show(context, &findings, &loaded)?;
    verdict(&findings)
}

/// Everything that is found about the site config in force.
pub(super) fn findings(context: &Context, loaded: &LoadedSite) -> Vec<Finding> {
    let mut findings: Vec<Finding> = loaded.problems.iter().map(Finding::of).collect();
    findings.push(sources(context, loaded));
    findings.extend(paths(context, &loaded.site));
    let asker = &context.surroundings.asker;
    findings.extend(check(&loaded.site, &clusters(context, &loaded.site), asker));
    findings
}

/// What stands behind the site, and whether Slurm is silent where it would be what is found.
fn sources(context: &Context, loaded: &LoadedSite) -> Finding {
    const WHAT: &str = "site";
    let names: Vec<&str> = loaded.sources.0.iter().map(|source| source.name.as_str()).collect();
    if loaded.found == FoundLayer::Missing {
        let found = found_slurm(context, FOUND_FRESH);
        let trouble = found.trouble().unwrap_or_else(|| "what was found cannot be used".to_owned());
        if !found.is_absent() {
            return Finding::silent(WHAT, &trouble);
        }
        return Finding::fine(WHAT, format!("{trouble}: runs execute on this machine"));
    }
    Finding::fine(WHAT, names.join(", "))
}

/// Asks every cluster about itself.
fn clusters(context: &Context, site: &Site) -> BTreeMap<String, ClusterFacts> {
    let variables = context.daemon_environment(site);
    let described = site.cluster.iter().flat_map(Named::iter);
    described
        .filter_map(|(name, settings)| {
            let facts = ask(context, |hands, asker| {
                let variables = &variables;
                async move { Ok(survey(hands, settings, asker, variables).await) }
            });
            Some((name.to_owned(), facts.ok()?))
        })
        .collect()
}

/// The places that this machine must have, as far as they can be known without a run.
fn paths(context: &Context, site: &Site) -> Vec<Finding> {
    let asker = &context.surroundings.asker;
    let general = site.site.as_ref().and_then(|general| general.run_root.as_ref());
    let mut findings = Vec::new();
    let mut root = |what: String,
                    template: &At<String>,
                    project: Option<&str>,
                    account: Option<&str>| {
        let finding = match filled_root(&template.value, asker, project, account) {
            Ok(root) => writable(&what, Path::new(&root)),
            Err(_) => Finding::fine(what, format!("{}, filled in for each run", template.value)),
        };
        findings.push(finding.at(Some(template.place)));
    };
    if let Some(template) = general {
        root("site.run_root".to_owned(), template, None, None);
    }
    for (name, project) in site.project.iter().flat_map(Named::iter) {
        let account = project.account.as_ref().map(|account| account.value.as_str());
        if let Some(template) = project.run_root.as_ref().filter(|_| project.has_member(asker)) {
            root(format!("project.{name}.run_root"), template, Some(name), account);
        }
    }
    if general.is_none() {
        findings.push(writable("site.run_root", &default_run_root(&asker.home)));
    }
    for (name, cluster) in site.cluster.iter().flat_map(Named::iter) {
        let Some(conda) = cluster.conda_root.as_ref().filter(|it| !it.value.is_empty()) else {
            continue;
        };
        if !Path::new(&conda.value).join("bin/conda").exists() {
            let told = format!("{} has no bin/conda on this machine", conda.value);
            let mend = "fine if only compute nodes have it: `trainyard site check --probe CLASS` looks there";
            let what = format!("cluster.{name}.conda_root");
            findings.push(Finding::note(what, told, mend).at(Some(conda.place)));
        }
    }
    for (name, dataset) in site.dataset.iter().flat_map(Named::iter) {
        let Some(path) = dataset.path.as_ref() else { continue };
        if !Path::new(&path.value).exists() {
            let told = format!("{} is not on this machine", path.value);
            let mend = "set `path` to where the data is: runs are refused without it";
            let what = format!("dataset.{name}.path");
            findings.push(Finding::note(what, told, mend).at(Some(path.place)));
        }
    }
    findings
}

/// Whether a directory is there and can be written, or can be made.
fn writable(what: &str, root: &Path) -> Finding {
    const MEND: &str = "set `run_root` to a directory that you can write, on a file system that the compute nodes see";
    let existing = root.ancestors().find(|part| part.symlink_metadata().is_ok()).unwrap_or(root);
    let shown = existing.display();
    if !existing.is_dir() {
        let told = format!("{} cannot be made: {shown} is no directory", root.display());
        return Finding::bad(what, told, MEND);
    }
    let rights = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    match nix::unistd::access(existing, rights) {
        Ok(()) => Finding::fine(what, root.display().to_string()),
        Err(error) => {
            Finding::bad(what, format!("{shown} cannot be written: {}", error.desc()), MEND)
        }
    }
}

/// How it ends: what is wrong in the files weighs more than a Slurm that may answer in a moment.
pub(super) fn verdict(findings: &[Finding]) -> Result<Exit, CliError> {
    let is_bad = |finding: &&Finding| finding.level == Level::Bad;
    let bad: Vec<&Finding> = findings.iter().filter(is_bad).collect();
    if bad.is_empty() {
        return Ok(Exit::Done);
    }
    if bad.iter().all(|finding| is_silent(finding)) {
        let message = "Slurm cannot be asked: what can be known without it is fine";
        return Err(CliError::new(Exit::NoSlurm, message));
    }
    let verb = if bad.len() == 1 { "is" } else { "are" };
    let message = format!("{} thing{} {verb} wrong", bad.len(), plural(bad.len()));
    Err(CliError::new(Exit::Invalid, message))
}

const HEADER: &[Column] =
    &[Column::Whole("LEVEL"), Column::Elastic("WHAT"), Column::Elastic("FINDING")];

pub(super) fn show(
    context: &Context,
    findings: &[Finding],
    loaded: &LoadedSite,
) -> Result<(), CliError> {
    let place = |finding: &Finding| {
        let location = loaded.sources.locate(finding.place?);
        // What was found is in no file.
        Path::new(location.name).is_absolute().then_some(location)
    };
    if context.global.json {
        let placed = findings.iter().map(|finding| {
            let at = place(finding);
            Placed {
                finding,
                file: at.as_ref().map(|at| at.name),
                line: at.as_ref().map(|at| at.line),
            }
        });
        return context.output().json(&placed.collect::<Vec<_>>());
    }
    let rows = findings.iter().map(|finding| {
        let mut told = TerminalText(&finding.told).to_string();
        if let Some(mend) = &finding.mend {
            told += &format!("\n→ {}", TerminalText(mend));
        }
        if let Some(at) = place(finding).filter(|_| finding.level != Level::Fine) {
            told += &format!("\n({}:{})", TerminalText(at.name), at.line);
        }
        vec![word(finding.level).to_owned(), TerminalText(&finding.what).to_string(), told]
    });
    context.output().wrapped(HEADER, rows.collect())
}

/// A level as people see it.
pub(super) fn word(level: Level) -> &'static str {
    match level {
        Level::Fine => "fine",
        Level::Note => "note",
        Level::Bad => "BAD",
    }
}
