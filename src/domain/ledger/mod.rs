//! What projects may spend, and what became of it: entries that are never changed, and the balance that they come to.
//!
//! A start sets aside what it may cost at most ([`Asked`]), before it is submitted. When it is over, what it did cost is
//! captured and the rest is released ([`settle()`]). [`may_start`] is the gate: what is captured and held together never
//! exceeds the budget when a start is let in.

mod amount;
mod asked;
mod budget;
mod by_slurm;
mod overrun;
mod settle;
#[cfg(test)]
mod tests;

pub use amount::{Amount, UNITS_MAX};
pub use asked::{Asked, Funds, Refusal, Share, Standing, may_start, wrong};
pub use budget::{Budget, BudgetKey, OnExhausted, OnOverrun, Period, SlurmBudget};
pub use by_slurm::{AccountFigures, Figures, Limit, Purse, Resource, Room};
pub use overrun::{GoesOn, Stage, to_stop};
pub use settle::{Known, given_back, settle};

use std::fmt;

use crate::domain::ids::{RunId, SubmissionId};
use crate::domain::keys::choice;
use crate::domain::run::Attempt;

/// The account of one project for one period: what is entered there is compared with its budget.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    pub project: String,
    /// As [`Period::label`] gives it; `CLUSTER/ACCOUNT/TRES` where Slurm keeps its budget.
    pub period: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "project `{}`", self.project)?;
        if self.period == Period::None.as_str() { Ok(()) } else { write!(f, " in {}", self.period) }
    }
}

/// One start of a run: one job key and one restart count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StartId {
    pub submission: SubmissionId,
    pub idx: u32,
    pub restart: u32,
}

impl StartId {
    pub fn of(attempt: &Attempt) -> Self {
        let Attempt { submission, restart, .. } = *attempt;
        Self { submission, idx: attempt.index(), restart }
    }
}

choice! {
    /// What an entry is.
    pub enum Kind {
        /// The budget became another one.
        Grant = "grant",
        /// Set aside for a start.
        Hold = "hold",
        /// What a start did cost, taken from what was held for it.
        Capture = "capture",
        /// Held and not needed.
        Release = "release",
        /// What a start did cost became known better.
        Adjustment = "adjustment",
    }
    later {}
}

/// What an account comes to; also what one entry adds to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    pub budget: Amount,
    pub captured: Amount,
    pub held: Amount,
}

impl Balance {
    /// With what an entry adds; none where that is beyond all bounds.
    pub fn plus(self, more: Self) -> Option<Self> {
        Some(Self {
            budget: self.budget.plus(more.budget)?,
            captured: self.captured.plus(more.captured)?,
            held: self.held.plus(more.held)?,
        })
    }

    /// What is neither captured nor held. Less than nothing where starts ran longer than was set aside for them.
    pub fn available(self) -> Amount {
        self.budget.less(self.captured).less(self.held)
    }
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub account: Account,
    pub kind: Kind,
    /// What it adds to its account.
    pub adds: Balance,
    /// Whose start it is of; none of a grant.
    pub of: Option<(RunId, StartId)>,
    pub who: String,
    pub why: String,
}

/// Who makes entries that nobody asks for.
pub const TRAINYARD: &str = "trainyard";
/// Who says what budgets are.
pub const SITE_FILE: &str = "site file";

impl Entry {
    /// The budget is to be this from now on; none where it is already.
    pub fn grant(account: &Account, before: Amount, budget: Amount) -> Option<Self> {
        let more = budget.less(before);
        (more != Amount::ZERO).then(|| Self {
            account: account.clone(),
            kind: Kind::Grant,
            adds: Balance { budget: more, ..Balance::default() },
            of: None,
            who: SITE_FILE.to_owned(),
            why: format!("the budget is {budget}"),
        })
    }

    /// One for each account that it takes something of.
    pub fn holds(asked: &Asked, of: (RunId, StartId), owner: &str) -> impl Iterator<Item = Self> {
        asked.shares.iter().map(move |share| Self {
            account: share.account.clone(),
            kind: Kind::Hold,
            adds: Balance { held: share.amount, ..Balance::default() },
            of: Some(of),
            who: owner.to_owned(),
            why: asked.what.clone(),
        })
    }

    /// The amount that it is about, in its own direction.
    pub fn amount(&self) -> Amount {
        match self.kind {
            Kind::Grant => self.adds.budget,
            Kind::Hold => self.adds.held,
            Kind::Capture | Kind::Adjustment => self.adds.captured,
            Kind::Release => Amount::ZERO.less(self.adds.held),
        }
    }
}

/// What entries of one account come to; none where that is beyond all bounds.
pub fn balance<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Option<Balance> {
    entries.into_iter().try_fold(Balance::default(), |balance, entry| balance.plus(entry.adds))
}
