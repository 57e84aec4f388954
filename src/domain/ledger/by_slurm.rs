//! Budgets that Slurm keeps: an account's `GrpTRESMins`, and what Slurm says has been used of them.
//!
//! Slurm counts nodes, CPUs, GPUs and `billing`, each by itself and for as long as a job runs, whatever a class costs here.
//! Of each that is limited a start sets aside what it may take at most, in an account of its own of the ledger, in hours.
//! What Slurm has counted of our starts is told apart from what it has not ([`Limit::room`]), so that nothing is counted
//! twice and nothing is left out, however old its figures are.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::charge::Formula;
use crate::domain::ledger::{Account, Amount};
use crate::domain::units::Seconds;

/// What Slurm counts and may limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Nodes,
    Cpus,
    Gpus,
    Billing,
}

impl Resource {
    pub const ALL: [Self; 4] = [Self::Nodes, Self::Cpus, Self::Gpus, Self::Billing];

    /// Slurm's name for it, as `AccountingStorageTRES` has it.
    pub fn tres(self) -> &'static str {
        match self {
            Self::Nodes => "node",
            Self::Cpus => "cpu",
            Self::Gpus => "gres/gpu",
            Self::Billing => "billing",
        }
    }

    /// What an amount of it is in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Nodes => "node-hour",
            Self::Cpus => "core-hour",
            Self::Gpus => "GPU-hour",
            Self::Billing => "billing-hour",
        }
    }
}

impl From<Formula> for Resource {
    fn from(formula: Formula) -> Self {
        match formula {
            Formula::NodeHours => Self::Nodes,
            Formula::CoreHours => Self::Cpus,
            Formula::GpuHours => Self::Gpus,
            Formula::Billing => Self::Billing,
        }
    }
}

/// Whose figures are meant: an account of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purse {
    pub cluster: String,
    pub account: String,
}

impl Purse {
    /// Slurm does not tell capital letters in the names of accounts from small ones.
    pub fn new(cluster: &str, account: &str) -> Self {
        Self { cluster: cluster.to_owned(), account: account.to_ascii_lowercase() }
    }
}

impl Account {
    /// Where starts of a project are entered that Slurm counts: its cluster, its account and what is counted stand in place
    /// of a period.
    pub fn by_slurm(project: &str, purse: &Purse, counted: Resource) -> Self {
        let period = format!("{}/{}/{}", purse.cluster, purse.account, counted.tres());
        Self { project: project.to_owned(), period }
    }

    /// Whose budget it is, without what is counted.
    pub(super) fn in_slurm(&self) -> String {
        let counted = self.counted().map_or("", Resource::tres);
        let purse = self.period.strip_suffix(counted).unwrap_or(&self.period);
        format!("project `{}` in {}", self.project, purse.trim_end_matches('/'))
    }

    /// What is counted there; none where it is charge units.
    pub fn counted(&self) -> Option<Resource> {
        let names = |counted: &Resource| {
            let account = self.period.strip_suffix(counted.tres());
            account.is_some_and(|account| account.ends_with('/'))
        };
        Resource::ALL.into_iter().find(names)
    }
}

/// What an account may use of something, and has used, in minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub minutes: u64,
    /// Whole ones: it may be a part of one more.
    pub used: u64,
    /// Whose limit it is: the account's own, or the one of an account above it, where less is left.
    pub of: String,
}

/// What Slurm says of an account. What it does not limit is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    pub told_at: Timestamp,
    pub limits: BTreeMap<Resource, Limit>,
    /// How long ago Slurm may have counted last what its running jobs use.
    pub behind: Seconds,
}

/// What is said of accounts, or why it is not known; one that is not shown is left out.
pub type AccountFigures = BTreeMap<String, Result<Figures, String>>;

const PER_HOUR: f64 = 60.0;

#[expect(clippy::cast_precision_loss, reason = "no limit is near 2^53")]
fn hours(minutes: u64) -> Amount {
    Amount::clamped(minutes as f64 / PER_HOUR)
}

impl Limit {
    pub fn amount(&self) -> Amount {
        hours(self.minutes)
    }

    /// What Slurm has counted, where we know that `ours` is part of it. It tells whole minutes: what is between two of them
    /// is ours as far as it can be.
    fn spent(&self, ours: Amount) -> Amount {
        ours.clamp(hours(self.used), hours(self.used.saturating_add(1)))
    }

    /// What our starts may hold and cost together: the limit, without what others have used. `ours` is what Slurm has
    /// counted of everything that we have ever held and captured. Where Slurm lets use decay, less is used than we have
    /// captured, and there is room for more.
    pub fn room(&self, ours: Amount) -> Amount {
        let others = self.spent(ours).less(ours);
        self.amount().less(others)
    }

    /// What is left in minutes; less than nothing where more was used.
    fn left(&self) -> i128 {
        i128::from(self.minutes) - i128::from(self.used)
    }

    /// The one that less is left of.
    #[must_use]
    pub fn tighter(self, other: Self) -> Self {
        if other.left() < self.left() { other } else { self }
    }
}

/// What is known of one account of the ledger, that Slurm keeps the budget of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// What our starts may hold and cost together; none where Slurm sets no limit.
    pub room: Option<Amount>,
    /// Slurm's own limit, and whose it is.
    pub limit: Option<(Amount, String)>,
    pub told_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(units: f64) -> Amount {
        Amount::clamped(units)
    }

    #[test]
    fn an_account_of_the_ledger_says_what_is_counted_there() {
        let purse = Purse::new("main", "ML");
        for counted in Resource::ALL {
            let account = Account::by_slurm("nlp", &purse, counted);
            assert_eq!(account.counted(), Some(counted), "{account}");
        }
        let gpus = Account::by_slurm("nlp", &purse, Resource::Gpus);
        assert_eq!(gpus.to_string(), "project `nlp` in main/ml/gres/gpu");
        for period in ["none", "2026", "2026-Q4", "2026-11", "node"] {
            let account = Account { project: "nlp".into(), period: period.into() };
            assert_eq!(account.counted(), None, "{period}");
        }
    }

    /// `ours` of what is used is our own.
    #[test]
    fn what_others_have_used_is_taken_off_the_limit() {
        let check = |(minutes, used): (u64, u64), ours: f64, expected: f64| {
            let limit = Limit { minutes, used, of: "ml".into() };
            let room = limit.room(units(ours));
            assert!((room.units() - expected).abs() < 1e-5, "{limit:?} {ours}: {room}");
        };
        // Nothing is ours: what is used is others'.
        check((600, 120), 0.0, 8.0);
        // All of it is.
        check((600, 120), 2.0, 10.0);
        // Slurm tells whole minutes, and seconds are missing of what is ours.
        check((600, 119), 1.99, 10.0);
        check((600, 0), 0.01, 10.0);
        // What decayed may be used again.
        check((600, 60), 5.0, 10.0 + 4.0 - 1.0 / 60.0);
        // More than there is.
        check((60, 180), 0.0, -2.0);
        check((0, 0), 0.0, 0.0);
    }

    #[test]
    fn the_limit_counts_that_less_is_left_of() {
        let limit = |minutes, used, of: &str| Limit { minutes, used, of: of.into() };
        let (own, above) = (limit(600, 10, "nlp"), limit(10_000, 9_900, "lab"));
        assert_eq!(own.clone().tighter(above.clone()), above);
        assert_eq!(above.clone().tighter(own), above);
        let over = limit(5, 10, "nlp");
        assert_eq!(above.tighter(over.clone()), over);
    }
}
