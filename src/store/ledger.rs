//! The ledger: entries are added and never changed, and the balance that is kept is compared with them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use crate::domain::admit::Ledger;
use crate::domain::charge::{counted, used};
use crate::domain::ids::{RunId, SubmissionId};
use crate::domain::ledger::{
    Account, Amount, Asked, Balance, Entry, Funds, Kind, Known, Refusal, Resource, Standing,
    StartId, given_back, may_start, settle,
};
use crate::domain::run::{Decision, Event, Policy, Reason, step};
use crate::domain::view::CHARGE_UNIT;
use crate::store::books::{Books, account, balance, balances};
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::{RESOLVED, json, time, write};
use crate::store::submissions::machine;
use crate::store::writer::begin;

/// An entry as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    pub id: i64,
    pub at: Timestamp,
    pub entry: Entry,
}

impl Store {
    /// Compares the balances with the entries: with those that are new since the last time, or with all. Gives the accounts
    /// that do not agree; nothing is started of those.
    pub async fn check_ledger(&self, whole: bool) -> Result<Vec<Account>, StoreError> {
        let books = self.books.clone();
        self.call(move |connection| books.check(connection, whole)).await
    }

    /// How all accounts stand.
    pub async fn ledger(&self) -> Result<Ledger, StoreError> {
        let books = self.books.clone();
        self.call(move |connection| {
            let standing = |(account, balance)| {
                let is_wrong = books.is_wrong(&account);
                (account, Standing { balance, is_wrong })
            };
            Ok(balances(connection)?.into_iter().map(standing).collect())
        })
        .await
    }

    /// The newest entries, of one project when given, newest first.
    pub async fn entries(
        &self,
        project: Option<String>,
        limit: u32,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT project, period, budget, captured, held, id, at, kind, run, submission, idx, restart, who, why \
                       FROM ledger WHERE ?1 IS NULL OR project = ?1 ORDER BY id DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(sql).during("read the ledger")?;
            let rows = statement.query_map(params![project, limit], entry).during("read the ledger")?;
            rows.collect::<rusqlite::Result<_>>().during("read the ledger")
        })
        .await
    }

    /// Enters what budgets are from now on, where they were something else.
    pub async fn grant(
        &self,
        budgets: Vec<(Account, Amount)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            for (account, budget) in budgets {
                grant(&tx, &account, budget, now)?;
            }
            tx.commit().during("enter a budget")
        })
        .await
    }

    /// Sets aside what the start under way of a run may cost, which the scheduler has begun by itself, unless that was done.
    /// Where there is no room for it the run is stopped. Gives what was decided.
    pub async fn hold_restart(
        &self,
        run: RunId,
        (asked, owner): (Asked, String),
        policy: Policy,
        now: Timestamp,
    ) -> Result<Option<Decision>, StoreError> {
        if asked.shares.is_empty() {
            return Ok(None);
        }
        let books = self.books.clone();
        self.call(move |connection| {
            let tx = begin(connection)?;
            let run = machine(&tx, run)?;
            let Some(attempt) = run.open_attempt() else { return Ok(None) };
            let start = StartId::of(attempt);
            if is_held(&tx, start)? {
                return Ok(None);
            }
            let decision = match let_in(&tx, &books, &asked, &[])? {
                Err(Refusal::Short(why)) => {
                    let message = format!("it is not started again: {why}");
                    let stop = Event::OwnStop { reason: Reason::BudgetExhausted, message };
                    step(&run, &stop, &policy, now)
                }
                // What runs is not stopped for a fault of the ledger's.
                told @ (Ok(_) | Err(Refusal::Wrong(_))) => {
                    hold(&tx, &asked, ((run.id, start), &owner), now)?;
                    let told = told.unwrap_or_else(|refusal| Some(refusal.to_string()));
                    told.into_iter()
                        .fold(Decision::stay(&run), |decision, why| decision.note("budget", why))
                }
            };
            write(&tx, &decision, now)?;
            tx.commit().during("hold what a restart may cost")?;
            Ok(Some(decision))
        })
        .await
    }

    /// Gives back what is held for lost starts of a run. Gives how much that was, and of what.
    pub async fn give_back(
        &self,
        run: RunId,
        who: String,
        now: Timestamp,
    ) -> Result<(Amount, &'static str), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let run = machine(&tx, run)?;
            let entries = given_back(&known(&tx, run.id)?, &run, &who);
            entries.iter().try_for_each(|entry| insert(&tx, entry, now))?;
            tx.commit().during("give back what is held")?;
            // Where Slurm counts several things, of the first: they do not add up to anything.
            let first = entries.first().map(|entry| entry.account.clone());
            let of_first = entries.iter().filter(|entry| Some(&entry.account) == first.as_ref());
            let sum = of_first.fold(Amount::ZERO, |sum, it| sum.plus(it.amount()).unwrap_or(sum));
            let counted = first.and_then(|account| account.counted());
            Ok((sum, counted.map_or(CHARGE_UNIT, Resource::unit)))
        })
        .await
    }

    /// What was captured in an account since a moment.
    pub async fn captured_since(
        &self,
        account: Account,
        at: Timestamp,
    ) -> Result<Amount, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT coalesce(sum(captured), 0) FROM ledger WHERE project = ?1 AND period = ?2 AND at >= ?3";
            let values = params![account.project, account.period, at.as_millisecond()];
            connection
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_row(values, |row| row.get(0)))
                .map(Amount::of_micros)
                .during("add up what was captured lately")
        })
        .await
    }

    /// What is held in an account for each of these runs.
    pub async fn held(
        &self,
        account: Account,
        runs: Vec<RunId>,
    ) -> Result<Vec<Amount>, StoreError> {
        self.call(move |connection| {
            runs.iter().map(|run| held_for(connection, &account, &[*run])).collect()
        })
        .await
    }

    /// Which of these starts nothing was ever held for.
    pub async fn unheld(&self, starts: Vec<StartId>) -> Result<BTreeSet<StartId>, StoreError> {
        self.call(move |connection| {
            let mut unheld = BTreeSet::new();
            for start in starts {
                if !is_held(connection, start)? {
                    unheld.insert(start);
                }
            }
            Ok(unheld)
        })
        .await
    }
}

/// Whether a start is let in as its accounts stand once what is held for `others` is free; then what has to be said about it.
pub(super) fn let_in(
    connection: &Connection,
    books: &Books,
    asked: &Asked,
    others: &[RunId],
) -> Result<Result<Option<String>, Refusal>, StoreError> {
    let mut standings = BTreeMap::new();
    let mut asked = asked.clone();
    for share in &mut asked.shares {
        let known = known_balance(connection, &share.account)?;
        let mut balance = known.unwrap_or_default();
        balance.held = balance.held.less(held_for(connection, &share.account, others)?);
        // It may have been asked by a site that is not in force any more: what was granted since counts as well.
        if let (Funds::Granted(granted), Some(known)) = (&mut share.budget, known) {
            *granted = known.budget.min(*granted);
        }
        let is_wrong = books.is_wrong(&share.account);
        standings.insert(share.account.clone(), Standing { balance, is_wrong });
    }
    Ok(may_start(|account| standings.get(account).cloned().unwrap_or_default(), &asked))
}

/// Sets aside what a start may cost. The first of a period is granted its budget; from then on that is for whoever takes up
/// the site's files: what is asked may be older than they are.
pub(super) fn hold(
    tx: &Transaction<'_>,
    asked: &Asked,
    (of, owner): ((RunId, StartId), &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    for share in &asked.shares {
        if let Funds::Granted(budget) = share.budget
            && known_balance(tx, &share.account)?.is_none()
        {
            grant(tx, &share.account, budget, now)?;
        }
    }
    Entry::holds(asked, of, owner).try_for_each(|entry| insert(tx, &entry, now))
}

/// What is held in an account for the starts of these runs.
fn held_for(
    connection: &Connection,
    account: &Account,
    runs: &[RunId],
) -> Result<Amount, StoreError> {
    let sql =
        "SELECT coalesce(sum(held), 0) FROM ledger WHERE run = ?1 AND project = ?2 AND period = ?3";
    let mut statement = connection.prepare_cached(sql).during("add up what is held")?;
    let mut sum = Amount::ZERO;
    for run in runs {
        let held: i64 = statement
            .query_row(params![run.0, account.project, account.period], |row| row.get(0))
            .during("add up what is held")?;
        sum = sum.plus(Amount::of_micros(held)).unwrap_or(sum);
    }
    Ok(sum)
}

/// Enters what a decision means for what is held for its run: in its transaction, whoever decided.
pub(super) fn settle_in(
    tx: &Transaction<'_>,
    decision: &Decision,
    now: Timestamp,
) -> Result<(), StoreError> {
    let known = known(tx, decision.run.id)?;
    if known.is_empty() {
        return Ok(());
    }
    let resolved = tx
        .prepare_cached(&format!("SELECT {RESOLVED} FROM run WHERE id = ?1"))
        .and_then(|mut statement| statement.query_row([decision.run.id.0], |row| json(row, 0)))
        .during("read what a run costs")?;
    let cost = |account: &Account, attempt: &_| {
        Amount::clamped(match account.counted() {
            Some(what) => counted(attempt, &resolved, what, now),
            None => used(attempt, &resolved, now).charge.unwrap_or_default(),
        })
    };
    settle(&known, decision, cost).iter().try_for_each(|entry| insert(tx, entry, now))
}

/// The starts of a run that the ledger knows.
fn known(connection: &Connection, run: RunId) -> Result<Vec<Known>, StoreError> {
    let sql = "SELECT project, period, submission, idx, restart, sum(held), sum(captured), max(kind = 'capture'), \
               EXISTS (SELECT 1 FROM attempt WHERE attempt.submission = ledger.submission AND \
               attempt.idx = ledger.idx AND attempt.restart = ledger.restart) \
               FROM ledger WHERE run = ?1 GROUP BY submission, idx, restart, project, period";
    let mut statement = connection.prepare_cached(sql).during("read what is held for a run")?;
    let rows = statement
        .query_map([run.0], |row| {
            Ok(Known {
                account: account(row)?,
                start: start(row, 2)?,
                held: Amount::of_micros(row.get(5)?),
                captured: Amount::of_micros(row.get(6)?),
                is_captured: row.get(7)?,
                has_attempt: row.get(8)?,
            })
        })
        .during("read what is held for a run")?;
    rows.collect::<rusqlite::Result<_>>().during("read what is held for a run")
}

fn is_held(connection: &Connection, start: StartId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM ledger WHERE submission = ?1 AND idx = ?2 AND restart = ?3 AND kind = 'hold')";
    let values = params![start.submission.0, start.idx, start.restart];
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(values, |row| row.get(0)))
        .during("look up a hold")
}

fn grant(
    tx: &Transaction<'_>,
    account: &Account,
    budget: Amount,
    now: Timestamp,
) -> Result<(), StoreError> {
    let before = known_balance(tx, account)?.unwrap_or_default().budget;
    Entry::grant(account, before, budget).iter().try_for_each(|entry| insert(tx, entry, now))
}

fn insert(tx: &Transaction<'_>, entry: &Entry, now: Timestamp) -> Result<(), StoreError> {
    let Entry { account, kind, adds, of, who, why } = entry;
    change(
        tx,
        "enter something in the ledger",
        "INSERT INTO ledger (at, project, period, kind, budget, captured, held, run, submission, idx, restart, who, why) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            now.as_millisecond(),
            account.project,
            account.period,
            kind.as_str(),
            adds.budget.micros(),
            adds.captured.micros(),
            adds.held.micros(),
            of.map(|(run, _)| run.0),
            of.map(|(_, start)| start.submission.0),
            of.map(|(_, start)| start.idx),
            of.map(|(_, start)| start.restart),
            who,
            why,
        ],
    )
}

/// What an account comes to; none for one that nothing was entered in.
fn known_balance(
    connection: &Connection,
    account: &Account,
) -> Result<Option<Balance>, StoreError> {
    let sql = "SELECT budget, captured, held FROM balance WHERE project = ?1 AND period = ?2";
    let values = params![account.project, account.period];
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(values, |row| balance(row, 0)).optional())
        .during("read a balance")
}

fn start(row: &Row<'_>, from: usize) -> rusqlite::Result<StartId> {
    Ok(StartId {
        submission: SubmissionId(row.get(from)?),
        idx: row.get(from + 1)?,
        restart: row.get(from + 2)?,
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<LedgerEntry> {
    let kind = Kind::from_word(row.get_ref(7)?.as_str()?);
    let run: Option<i64> = row.get(8)?;
    Ok(LedgerEntry {
        id: row.get(5)?,
        at: time(row.get(6)?),
        entry: Entry {
            account: account(row)?,
            kind: kind.ok_or_else(|| rusqlite::Error::InvalidQuery)?,
            adds: balance(row, 2)?,
            of: run
                .map(|run| Ok::<_, rusqlite::Error>((RunId(run), start(row, 9)?)))
                .transpose()?,
            who: row.get(12)?,
            why: row.get(13)?,
        },
    })
}
