//! Accounts and QOS against what the user has.

use crate::domain::problem::At;
use crate::domain::resolve::Asker;
use crate::domain::site::{Class, Project, Site};
use crate::domain::site_check::{Accounting, Finding, Level, Partition, Survey, known};

/// An account and a QOS that jobs are submitted with.
#[derive(Debug, Clone)]
pub(super) struct Payer<'a> {
    pub(super) what: String,
    pub(super) account: Option<&'a At<String>>,
    pub(super) qos: Option<&'a At<String>>,
    /// The class that it is for, where it is not for all.
    pub(super) class: Option<&'a str>,
    /// Whether the user is meant at all.
    is_theirs: Option<&'a Project>,
}

impl<'a> Payer<'a> {
    pub(super) fn of_class(what: String, class: &'a Class) -> Self {
        let (account, qos) = (class.account.as_ref(), class.qos.as_ref());
        Self { what, account, qos, class: None, is_theirs: None }
    }

    /// The project's own, and those that it has for single classes.
    pub(super) fn of_project(site: &'a Site, name: &str, project: &'a Project) -> Vec<Self> {
        let what = format!("project.{name}");
        let is_theirs = Some(project);
        let own = Self {
            what: what.clone(),
            account: project.account.as_ref(),
            qos: project.qos.as_ref(),
            class: None,
            is_theirs,
        };
        let for_classes = project.accounts.iter().flat_map(|all| &all.0).map(|(class, account)| {
            let class = class.value.as_str();
            let what = format!("{what}.accounts.{class}");
            let class = Some(class).filter(|class| site.class(class).is_some());
            Self { what, account: Some(account), qos: None, class, is_theirs }
        });
        std::iter::once(own).chain(for_classes).collect()
    }

    pub(super) fn check(&self, surveys: &[&Survey], asker: &Asker, findings: &mut Vec<Finding>) {
        if self.is_theirs.is_some_and(|project| !project.has_member(asker)) {
            return;
        }
        for survey in surveys {
            // Root looks at a site for others, and Slurm without enforcement takes any account.
            let is_for_others = asker.uid == 0 || !survey.needs_account();
            let Some(accounting) = &survey.accounting else { continue };
            let found = [self.account(accounting, asker), self.qos(accounting, asker)];
            findings.extend(found.into_iter().flatten().map(|(finding, is_own)| {
                let level = if is_own && is_for_others { Level::Note } else { finding.level };
                Finding { level, ..finding }
            }));
        }
    }

    /// What is wrong with the account, and whether it is so for this user alone.
    fn account(&self, accounting: &Accounting, asker: &Asker) -> Option<(Finding, bool)> {
        let account = self.account?;
        let is_same = |known: &str| known.eq_ignore_ascii_case(&account.value);
        if accounting.associations.iter().any(|it| is_same(&it.account)) {
            return None;
        }
        let mut theirs: Vec<&str> =
            accounting.associations.iter().map(|it| it.account.as_str()).collect();
        theirs.sort_unstable();
        theirs.dedup();
        let told = format!("{} does not have the Slurm account `{}`", asker.user, account.value);
        let mend = known(&account.value, &theirs, "ask the administrators for the account");
        let finding = Finding::bad(format!("{}.account", self.what), told, mend);
        Some((finding.at(Some(account.place)), true))
    }

    fn qos(&self, accounting: &Accounting, asker: &Asker) -> Option<(Finding, bool)> {
        let qos = self.qos?;
        let what = format!("{}.qos", self.what);
        let is_same = |known: &String| known.eq_ignore_ascii_case(&qos.value);
        if !accounting.qos.is_empty() && !accounting.qos.iter().any(is_same) {
            let all: Vec<&str> = accounting.qos.iter().map(String::as_str).collect();
            let told = format!("Slurm has no QOS `{}`", qos.value);
            let mend = known(&qos.value, &all, "`sacctmgr show qos` lists them");
            return Some((Finding::bad(what, told, mend).at(Some(qos.place)), false));
        }
        let is_ours = |account: &str| {
            self.account.is_none_or(|ours| ours.value.eq_ignore_ascii_case(account))
        };
        let usable: Vec<_> =
            accounting.associations.iter().filter(|it| is_ours(&it.account)).collect();
        if usable.is_empty() || usable.iter().any(|it| it.qos.iter().any(is_same)) {
            return None;
        }
        let told = format!("{} may not use the QOS `{}`", asker.user, qos.value);
        let mut theirs: Vec<&str> =
            usable.iter().flat_map(|it| &it.qos).map(String::as_str).collect();
        theirs.sort_unstable();
        theirs.dedup();
        let mend = known(&qos.value, &theirs, "ask the administrators for the QOS");
        Some((Finding::bad(what, told, mend).at(Some(qos.place)), true))
    }

    /// What a partition lets in.
    pub(super) fn check_partition(&self, partition: &Partition, findings: &mut Vec<Finding>) {
        let texts =
            [("account", self.account, &partition.accounts), ("qos", self.qos, &partition.qos)];
        for (key, said, allowed) in texts {
            let Some(said) = said.filter(|said| !allowed.allows(&said.value)) else { continue };
            let told =
                format!("partition `{}` lets no job of {key} `{}` in", partition.name, said.value);
            let mend = match &allowed.only {
                Some(only) => format!("it lets in: {}", only.join(", ")),
                None => format!("it keeps out: {}", allowed.never.join(", ")),
            };
            let finding = Finding::bad(format!("{}.{key}", self.what), told, mend);
            findings.push(finding.at(Some(said.place)));
        }
    }
}
