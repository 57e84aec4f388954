//! Whether the balances that are kept are what the entries come to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Row};

use crate::domain::ledger::{Account, Amount, Balance};
use crate::store::handle::{During, StoreError};

/// What has been added up of the ledger so far. Only the database's thread looks into it.
#[derive(Debug, Clone, Default)]
pub(super) struct Books(Arc<Mutex<Added>>);

#[derive(Debug, Default)]
struct Added {
    upto: i64,
    sums: BTreeMap<Account, Balance>,
    /// Accounts whose entries do not come to their balance.
    wrong: BTreeSet<Account>,
}

impl Books {
    pub(super) fn is_wrong(&self, account: &Account) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wrong.contains(account)
    }

    /// Adds up what is new, or everything, and compares it with the balances.
    pub(super) fn check(
        &self,
        connection: &Connection,
        whole: bool,
    ) -> Result<Vec<Account>, StoreError> {
        let mut added = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if whole {
            *added = Added::default();
        }
        let sql = "SELECT project, period, sum(budget), sum(captured), sum(held), max(id) FROM ledger WHERE id > ?1 \
                   GROUP BY project, period";
        let mut statement = connection.prepare_cached(sql).during("add up the ledger")?;
        let rows = statement
            .query_map([added.upto], |row| {
                Ok((account(row)?, balance(row, 2)?, row.get::<_, i64>(5)?))
            })
            .during("add up the ledger")?;
        for row in rows {
            let (account, more, last) = row.during("add up the ledger")?;
            added.upto = added.upto.max(last);
            let sum = added.sums.entry(account).or_default();
            *sum = sum.plus(more).unwrap_or(*sum);
        }
        let kept: BTreeMap<Account, Balance> = balances(connection)?;
        let differs = |account: &&Account| kept.get(*account) != added.sums.get(*account);
        let wrong = kept.keys().chain(added.sums.keys()).filter(differs).cloned().collect();
        added.wrong = wrong;
        Ok(added.wrong.iter().cloned().collect())
    }
}

pub(super) fn balances(connection: &Connection) -> Result<BTreeMap<Account, Balance>, StoreError> {
    let sql = "SELECT project, period, budget, captured, held FROM balance";
    let mut statement = connection.prepare_cached(sql).during("read balances")?;
    let rows = statement
        .query_map([], |row| Ok((account(row)?, balance(row, 2)?)))
        .during("read balances")?;
    rows.collect::<rusqlite::Result<_>>().during("read balances")
}

pub(super) fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account { project: row.get(0)?, period: row.get(1)? })
}

pub(super) fn balance(row: &Row<'_>, from: usize) -> rusqlite::Result<Balance> {
    Ok(Balance {
        budget: Amount::of_micros(row.get(from)?),
        captured: Amount::of_micros(row.get(from + 1)?),
        held: Amount::of_micros(row.get(from + 2)?),
    })
}
