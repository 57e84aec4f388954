//! Whether a site config fits the clusters it describes: facts in, findings out. Who asks for the facts is
//! [`survey`](crate::slurm::survey) and the command line.

mod accounts;
mod class;
mod facts;
pub mod probe;
mod purses;
#[cfg(test)]
mod tests;

pub use facts::{
    Accounting, Allowed, Association, Bar, ClusterFacts, CommandFact, Partition, Survey,
};

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::keys::Named;
use crate::domain::problem::{Place, Problem};
use crate::domain::resolve::Asker;
use crate::domain::site::{Class, Cluster, Site};
use crate::domain::site_check::accounts::Payer;
use crate::domain::site_check::purses::Purse;

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: String,
    pub level: Level,
    pub told: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// Where in the site's files, if it is there.
    #[serde(skip)]
    pub place: Option<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Fine,
    /// Better mended, and stops nobody.
    Note,
    Bad,
}

impl Finding {
    pub fn fine(what: impl Into<String>, told: impl Into<String>) -> Self {
        Self { what: what.into(), level: Level::Fine, told: told.into(), mend: None, place: None }
    }

    pub fn note(what: impl Into<String>, told: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Note, mend: Some(mend.into()), ..Self::fine(what, told) }
    }

    pub fn bad(what: impl Into<String>, told: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Bad, mend: Some(mend.into()), ..Self::fine(what, told) }
    }

    /// A fault of a file, as its reader tells it.
    pub fn of(problem: &Problem) -> Self {
        Self {
            level: Level::Bad,
            mend: problem.help.clone(),
            place: problem.place,
            ..Self::fine("file", problem.message.clone())
        }
    }

    /// That Slurm gave no answer, where one is needed to go on.
    pub fn silent(what: &str, why: &str) -> Self {
        let mend = "look again when `scontrol ping` says that slurmctld is UP, or mend the cluster's `commands` and `conf`";
        Self::bad(what, format!("{SILENT}{why}"), mend)
    }

    #[must_use]
    pub fn at(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }
}

/// The mend for a name that is not known: the known one that was probably meant, else all of them, else this.
fn known(word: &str, names: &[&str], otherwise: &str) -> String {
    let names = names.iter().copied();
    Problem::nowhere("").suggest(word, names).help.unwrap_or_else(|| otherwise.to_owned())
}

/// Compares every cluster, class and project of a site with what the clusters say about themselves.
pub fn check(
    site: &Site,
    clusters: &BTreeMap<String, ClusterFacts>,
    asker: &Asker,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, settings) in site.cluster.iter().flat_map(|all| &all.0) {
        let Some(facts) = clusters.get(&name.value) else { continue };
        let what = format!("cluster.{}", name.value);
        commands(&what, settings, facts, &mut findings);
        match &facts.slurm {
            Ok(survey) => findings.push(cluster(&what, survey, asker)),
            Err(why) => findings.push(Finding::silent(&what, why).at(Some(name.place))),
        }
    }
    let survey_of = |cluster: &str| clusters.get(cluster).and_then(|it| it.slurm.as_ref().ok());
    for (name, class) in site.class.iter().flat_map(|all| &all.0) {
        let Some(survey) = cluster_of(site, class).and_then(survey_of) else { continue };
        let from = findings.len();
        let checker = class::Checker { name, class, survey, asker };
        let told = checker.check(&mut findings);
        if findings.len() == from {
            findings.push(Finding::fine(checker.what(), told));
        }
    }
    for (name, project) in site.project.iter().flat_map(|all| &all.0) {
        for payer in Payer::of_project(site, &name.value, project) {
            let of = payer.class.and_then(|class| site.class(class));
            let surveys: Vec<&Survey> = match of.and_then(|class| cluster_of(site, class)) {
                Some(cluster) => survey_of(cluster).into_iter().collect(),
                None => site.cluster.iter().flat_map(Named::names).filter_map(survey_of).collect(),
            };
            payer.check(&surveys, asker, &mut findings);
            if let Some(account) = payer.account.filter(|_| project.is_kept_by_slurm())
                && project.has_member(asker)
            {
                let what = format!("{}.budget", payer.what);
                Purse { site, what, project, account }.check(&surveys, &mut findings);
            }
        }
    }
    findings
}

/// The cluster that a class is on.
pub fn cluster_of<'a>(site: &'a Site, class: &'a Class) -> Option<&'a str> {
    let only = || site.cluster.iter().flat_map(Named::names).next();
    class.cluster.as_ref().map(|cluster| cluster.value.as_str()).or_else(only)
}

/// Whether a finding says that Slurm itself could not be asked.
pub fn is_silent(finding: &Finding) -> bool {
    finding.level == Level::Bad && finding.told.starts_with(SILENT)
}

const SILENT: &str = "Slurm cannot be asked: ";

/// Releases older than this have no answer that is read here.
const OLDEST: (u32, u32) = (20, 11);

fn commands(what: &str, settings: &Cluster, facts: &ClusterFacts, findings: &mut Vec<Finding>) {
    const NEEDED: [&str; 4] = ["sbatch", "squeue", "scancel", "scontrol"];
    let has_accounting = facts.slurm.as_ref().is_ok_and(|survey| survey.has_accounting);
    let directory = settings.commands.as_ref().map(|said| said.place);
    for CommandFact { name, path, version } in &facts.commands {
        let place = settings.command(name).map(|said| said.place).or(directory);
        let why = match version {
            Ok(version) if *version < OLDEST => {
                let told = format!("{path} is of Slurm {}, which is too old", release(*version));
                let mend = format!("Slurm {} or newer is needed", release(OLDEST));
                findings.push(Finding::bad(format!("{what}.{name}"), told, mend).at(place));
                continue;
            }
            Ok(_) => continue,
            Err(why) => why,
        };
        let what = format!("{what}.{name}");
        let told = format!("{path} cannot be run: {why}");
        let finding = if NEEDED.contains(name) || (*name == "sacct" && has_accounting) {
            let mend = format!(
                "set `commands` to the directory of Slurm's commands, or `{name}` to the path of this one"
            );
            Finding::bad(what, told, mend)
        } else if *name == "sacct" {
            // A cluster without accounting has no use for it.
            continue;
        } else {
            let mend = format!(
                "set `{name}` to its path: without it less can be checked, and runs go on all the same"
            );
            Finding::note(what, told, mend)
        };
        findings.push(finding.at(place));
    }
}

fn release((year, month): (u32, u32)) -> String {
    format!("{year}.{month:02}")
}

fn cluster(what: &str, survey: &Survey, asker: &Asker) -> Finding {
    let count =
        |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let version = survey.version.map_or_else(|| "of an unknown release".to_owned(), release);
    let told = format!(
        "Slurm {version}, {}, {}",
        count(survey.partitions.len(), "partition"),
        count(survey.nodes.len(), "node")
    );
    let Some(accounting) = &survey.accounting else {
        let how = if survey.has_accounting {
            "; sacctmgr gives no answer, so accounts and QOS are not looked at"
        } else {
            ", without accounting"
        };
        return Finding::fine(what, format!("{told}{how}"));
    };
    let mut accounts: Vec<&str> =
        accounting.associations.iter().map(|it| it.account.as_str()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    if !accounts.is_empty() {
        return Finding::fine(what, format!("{told}; your accounts: {}", accounts.join(", ")));
    }
    let told = format!("{told}; {} has no account there", asker.user);
    let mend = "ask the administrators for an account: `sacctmgr add user NAME account=ACCOUNT`";
    if survey.needs_account() { Finding::bad(what, told, mend) } else { Finding::fine(what, told) }
}
