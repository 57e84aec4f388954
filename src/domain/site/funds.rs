//! What a site says that projects may spend.

use crate::domain::keys::Named;
use crate::domain::ledger::{
    Amount, Budget, BudgetKey, OnExhausted, OnOverrun, Period, SlurmBudget,
};
use crate::domain::problem::{At, Problem};
use crate::domain::site::{Project, Site};

impl Project {
    fn units(&self) -> Option<Amount> {
        match self.budget.as_ref()?.value {
            BudgetKey::Units(amount) => Some(amount),
            BudgetKey::Slurm => None,
        }
    }

    /// Whether Slurm keeps its budget.
    pub fn is_kept_by_slurm(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.value == BudgetKey::Slurm)
    }

    fn on_exhausted(&self) -> OnExhausted {
        self.on_exhausted.as_ref().map_or(OnExhausted::Reject, |said| said.value)
    }

    /// What does not go together with a budget that Slurm keeps.
    pub(super) fn check_funds(&self, name: &At<String>, problems: &mut Vec<Problem>) {
        let Some(budget) = self.budget.as_ref().filter(|_| self.is_kept_by_slurm()) else { return };
        let own = format!("project.{}", name.value);
        if self.account.is_none() {
            let message =
                format!("`{own}.budget` is \"slurm\", and the project has no Slurm account");
            problems.push(Problem::at(budget.place, message).help("add `account = \"NAME\"`"));
        }
        if let Some(period) = &self.period {
            let message = format!("`{own}.period` has no meaning where `budget` is \"slurm\"");
            let help = "remove it: Slurm's own `PriorityDecayHalfLife` and `PriorityUsageResetPeriod` say for how long use counts";
            problems.push(Problem::at(period.place, message).help(help));
        }
        if let Some(on_overrun) = &self.on_overrun {
            let message = format!("`{own}.on_overrun` has no meaning where `budget` is \"slurm\"");
            let help = "remove it: Slurm itself ends the jobs of an account that has used up its `GrpTRESMins`";
            problems.push(Problem::at(on_overrun.place, message).help(help));
        }
    }
}

impl Site {
    fn projects(&self) -> impl Iterator<Item = (&str, &Project)> {
        self.project.iter().flat_map(Named::iter)
    }

    /// Two projects of which Slurm keeps the budgets in one account: neither would see what the other holds.
    pub(super) fn check_purses(&self, problems: &mut Vec<Problem>) {
        let mut known: Vec<(&str, Option<&str>, &At<String>)> = Vec::new();
        for (name, project) in self.projects().filter(|(_, project)| project.is_kept_by_slurm()) {
            let own = project.account.iter().map(|account| (None, account));
            let for_classes = project.accounts.iter().flat_map(|all| &all.0);
            let for_classes = for_classes.map(|(class, account)| {
                let class = self.class(&class.value).and_then(|class| class.cluster.as_ref());
                (class.map(|cluster| cluster.value.as_str()), account)
            });
            for (cluster, account) in own.chain(for_classes) {
                let is_shared = |(other, of, theirs): &&(&str, Option<&str>, &At<String>)| {
                    // Without a class it is of all clusters.
                    let is_there = cluster.is_none() || of.is_none() || cluster == *of;
                    *other != name && is_there && theirs.value.eq_ignore_ascii_case(&account.value)
                };
                if let Some((other, ..)) = known.iter().find(is_shared) {
                    let message = format!(
                        "projects `{other}` and `{name}` have `budget` \"slurm\" and one Slurm account, `{}`: neither would see what the other has set aside",
                        account.value
                    );
                    let help = "give each an account of its own, or write what one may spend as a number of charge units";
                    problems.push(Problem::at(account.place, message).help(help));
                }
                known.push((name, cluster, account));
            }
        }
    }

    /// The budget of a project, where the site file gives it one.
    pub fn budget(&self, name: &str) -> Option<Budget> {
        let project = self.project.as_ref()?.get(name)?;
        Some(Budget {
            project: name.to_owned(),
            amount: project.units()?,
            period: project.period.as_ref().map_or(Period::None, |period| period.value),
            on_exhausted: project.on_exhausted(),
            on_overrun: project.on_overrun.as_ref().map_or(OnOverrun::Finish, |said| said.value),
        })
    }

    /// All projects that the site file gives a budget.
    pub fn budgets(&self) -> impl Iterator<Item = Budget> {
        self.projects().filter_map(|(name, _)| self.budget(name))
    }

    /// The budget of a project, where Slurm keeps it.
    pub fn slurm_budget(&self, name: &str) -> Option<SlurmBudget> {
        let project = self.project.as_ref()?.get(name)?;
        let on_exhausted = project.on_exhausted();
        project.is_kept_by_slurm().then(|| SlurmBudget { project: name.to_owned(), on_exhausted })
    }

    /// All projects whose budget Slurm keeps.
    pub fn slurm_budgets(&self) -> impl Iterator<Item = SlurmBudget> {
        self.projects().filter_map(|(name, _)| self.slurm_budget(name))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::document::parse;
    use crate::domain::problem::SourceId;
    use crate::domain::site::{Layer, LayerKind, effective};

    #[test]
    fn one_account_of_slurms_keeps_the_budget_of_one_project() {
        let check = |keys: &str, is_shared: bool| {
            let text = format!(
                "[cluster.big]\n[cluster.old]\n[class.new]\ncluster = 'big'\n[class.slow]\ncluster = 'old'\n\
                 [project.a]\nbudget = 'slurm'\naccount = 'ml'\naccounts = {{ slow = 'lab' }}\n\
                 [project.b]\n{keys}"
            );
            let (table, faults) = parse(&text, SourceId(0));
            assert_eq!(faults, vec![]);
            let layer = Layer { kind: LayerKind::User, source: SourceId(0), table };
            let problems = effective(vec![layer]).2;
            let told: Vec<String> =
                problems.iter().map(|problem| problem.message.clone()).collect();
            let is_told = told.iter().any(|told| told.contains("projects `a` and `b` have"));
            assert_eq!(
                (is_told, told.len()),
                (is_shared, usize::from(is_shared)),
                "{keys}: {told:?}"
            );
        };
        check("budget = 'slurm'\naccount = 'vision'", false);
        check("budget = 'slurm'\naccount = 'ML'", true);
        check("budget = 10\naccount = 'ml'", false);
        check("budget = 'slurm'\naccount = 'vision'\naccounts = { new = 'ml' }", true);
        check("budget = 'slurm'\naccount = 'vision'\naccounts = { new = 'lab' }", false);
        check("budget = 'slurm'\naccount = 'lab'", true);
    }
}
