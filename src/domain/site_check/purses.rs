//! Budgets that Slurm keeps, against what Slurm limits.

use std::collections::BTreeSet;

use crate::domain::ledger::Resource;
use crate::domain::problem::At;
use crate::domain::site::{Project, Site};
use crate::domain::site_check::{Finding, Survey, known};

/// A project's budget, and the account that it is kept in.
pub(super) struct Purse<'a> {
    pub(super) site: &'a Site,
    pub(super) what: String,
    pub(super) project: &'a Project,
    pub(super) account: &'a At<String>,
}

impl Purse<'_> {
    /// What is wrong is told at the key `budget`.
    pub(super) fn check(&self, surveys: &[&Survey], findings: &mut Vec<Finding>) {
        let place = self.project.budget.as_ref().map(|budget| budget.place);
        let is_shown = |survey: &Survey| self.shown(survey).is_some();
        let is_anywhere = surveys.iter().any(|survey| is_shown(survey));
        for survey in surveys {
            // Of several clusters one may not know it.
            if is_anywhere && survey.limited.is_some() && !is_shown(survey) {
                continue;
            }
            findings.extend(self.found(survey).into_iter().map(|finding| finding.at(place)));
        }
    }

    /// What is limited of the account, where Slurm shows it.
    fn shown<'s>(&self, survey: &'s Survey) -> Option<&'s Result<BTreeSet<Resource>, String>> {
        let account = self.account.value.as_str();
        let mut shown = survey.limited.iter().flatten();
        shown.find(|(name, _)| name.eq_ignore_ascii_case(account)).map(|(_, limited)| limited)
    }

    fn found(&self, survey: &Survey) -> Vec<Finding> {
        const NUMBER: &str = "write what it may spend as a number of charge units";
        let account = &self.account.value;
        if !survey.has_accounting {
            let told =
                "it is \"slurm\", and this Slurm has no accounting, and so no limits of accounts";
            return vec![Finding::bad(&self.what, told, NUMBER)];
        }
        if !survey.counts_use {
            let told = "it is \"slurm\", and this Slurm counts nothing that accounts use: its `PriorityType` is not `priority/multifactor`";
            let mend = format!("ask the administrators of Slurm to set that, or {NUMBER}");
            return vec![Finding::bad(&self.what, told, mend)];
        }
        let Some(limited) = &survey.limited else { return Vec::new() };
        let Some(shown) = self.shown(survey) else {
            let names: Vec<&str> = limited.keys().map(String::as_str).collect();
            let told = format!("it is \"slurm\", and Slurm shows no account `{account}`");
            let mend = known(account, &names, "`sacctmgr show account` lists them");
            return vec![Finding::bad(&self.what, told, mend)];
        };
        let limited = match shown {
            Ok(limited) => limited,
            Err(why) => {
                let told = format!(
                    "it is \"slurm\", and of Slurm's account `{account}` nothing is known: {why}"
                );
                let mend = format!(
                    "ask the administrators of Slurm to show what accounts use, or {NUMBER}"
                );
                return vec![Finding::bad(&self.what, told, mend)];
            }
        };
        let names: Vec<&str> = limited.iter().map(|counted| counted.tres()).collect();
        if names.is_empty() {
            let told =
                format!("Slurm's account `{account}` has no `GrpTRESMins`: nothing is limited");
            let mend = format!("`sacctmgr modify account {account} set GrpTRESMins=node=MINUTES`");
            return vec![Finding::note(&self.what, told, mend)];
        }
        let names = names.join(", ");
        let told = format!("Slurm keeps it, and limits {names} of account `{account}`");
        let mut found = vec![Finding::fine(&self.what, told)];
        found.extend(unenforced(&self.what, survey));
        found.extend(self.otherwise(limited, &names));
        found
    }

    /// Classes that are charged by something that Slurm does not limit.
    fn otherwise(&self, limited: &BTreeSet<Resource>, names: &str) -> Option<Finding> {
        let classes = self.site.class.iter().flat_map(|classes| &classes.0);
        let others = classes.filter_map(|(name, class)| {
            let by = self.site.terms(class).by;
            let is_other = class.rate.is_some() && !limited.contains(&Resource::from(by));
            is_other.then_some((name.value.as_str(), by))
        });
        let others: Vec<_> = others.collect();
        let (first, by) = others.first()?;
        let more = others.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let told = format!(
            "class `{first}`{more} is charged by `{by}`, and Slurm limits {names}: what a run is charged is not what it takes of the budget"
        );
        let mend = "write `by` of `charge` for what Slurm limits: node is `node_hours`, cpu `core_hours`, gres/gpu `gpu_hours`, billing `billing`";
        Some(Finding::note(&self.what, told, mend))
    }
}

fn unenforced(what: &str, survey: &Survey) -> Option<Finding> {
    let is_held = survey.enforced.iter().any(|word| word == "limits" || word == "safe");
    let told = "Slurm itself holds nobody to it: its `AccountingStorageEnforce` has no `limits`";
    let mend =
        "ask the administrators of Slurm to set that: others may use up what Trainyard counts on";
    (!is_held).then(|| Finding::note(what, told, mend))
}
