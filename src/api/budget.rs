//! How budgets stand.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::BudgetView;
use crate::domain::ledger::{
    Account, Amount, Balance, Budget, Purse, Resource, Room, SlurmBudget, Standing, wrong,
};
use crate::domain::view::CHARGE_UNIT;

/// Where the figures of a budget come from that Slurm keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BySlurmView {
    pub cluster: String,
    pub account: String,
    /// `node`, `cpu`, `gres/gpu` or `billing`.
    pub tres: String,
    /// Whose limit it is: the account's, one's above it, or the user's. None without one.
    pub limit_of: Option<String>,
    /// When Slurm told them; none where it has told nothing.
    pub told_at: Option<Timestamp>,
}

/// What was given back of what was held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleasedView {
    pub released: f64,
    pub unit: String,
}

impl BudgetView {
    pub fn of(budget: &Budget, (account, balance): (&Account, Balance), is_wrong: bool) -> Self {
        let available = balance.available();
        Self {
            project: account.project.clone(),
            period: account.period.clone(),
            budget: Some(balance.budget.units()),
            captured: balance.captured.units(),
            held: balance.held.units(),
            available: Some(available.units()),
            unit: CHARGE_UNIT.to_owned(),
            overrun: over(available),
            on_exhausted: budget.on_exhausted,
            wrong: is_wrong.then(|| wrong(account)),
            slurm: None,
        }
    }

    /// Of what Slurm counts, where it keeps the budget.
    pub fn by_slurm(
        (budget, purse, counted): (&SlurmBudget, &Purse, Resource),
        (standing, room): (&Standing, Option<&Room>),
        unknown: Option<String>,
    ) -> Self {
        let account = Account::by_slurm(&budget.project, purse, counted);
        let balance = standing.balance;
        let limit = room.and_then(|room| room.room.zip(room.limit.as_ref()));
        let available = limit.map(|(room, _)| Balance { budget: room, ..balance }.available());
        let all = limit.map(|(_, (all, _))| *all);
        // What others have used as well.
        let spent = all.zip(available).map(|(all, left)| all.less(balance.held).less(left));
        // Where Slurm lets use decay, more may be left than the limit.
        let spent = spent.map(|spent| spent.max(Amount::ZERO));
        let is_wrong = standing.is_wrong.then(|| wrong(&account));
        Self {
            project: account.project,
            period: account.period,
            budget: all.map(Amount::units),
            captured: spent.unwrap_or(balance.captured).units(),
            held: balance.held.units(),
            available: available.map(Amount::units),
            unit: counted.unit().to_owned(),
            overrun: available.map_or(0.0, over),
            on_exhausted: budget.on_exhausted,
            wrong: is_wrong.or(unknown),
            slurm: Some(BySlurmView {
                cluster: purse.cluster.clone(),
                account: purse.account.clone(),
                tres: counted.tres().to_owned(),
                limit_of: limit.map(|(_, (_, of))| of.clone()),
                told_at: room.map(|room| room.told_at),
            }),
        }
    }
}

fn over(available: Amount) -> f64 {
    Amount::ZERO.less(available).max(Amount::ZERO).units()
}
