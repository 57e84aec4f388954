//! Which run directories hold secrets. What the secrets are never comes here.

use std::path::PathBuf;

use rusqlite::Transaction;

use crate::domain::ids::RunId;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::writer::begin;

/// Notes that a run's directory holds secrets.
pub(super) fn insert(tx: &Transaction<'_>, run: RunId) -> Result<(), StoreError> {
    let sql = "INSERT INTO keeps_secrets (run) VALUES (?1) ON CONFLICT DO NOTHING";
    change(tx, "record that a run has secrets", sql, [run.0])
}

/// Notes that points keep what a sweep's directory holds.
pub(super) fn kept_by_points(tx: &Transaction<'_>, sweep: RunId) -> Result<(), StoreError> {
    let sql = "DELETE FROM told_secrets WHERE sweep = ?1";
    change(tx, "record that points have secrets", sql, [sweep.0])
}

impl Store {
    /// Notes that an open sweep's directory may hold secrets, whatever becomes of the points that they are taken for.
    pub async fn keep_told_secrets(&self, sweep: RunId) -> Result<(), StoreError> {
        const WHAT: &str = "record that a sweep has secrets";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "INSERT INTO told_secrets (sweep) VALUES (?1) ON CONFLICT DO NOTHING";
            change(&tx, WHAT, sql, [sweep.0])?;
            tx.commit().during(WHAT)
        })
        .await
    }

    /// Notes that a run's directory holds secrets, again.
    pub async fn keep_secrets(&self, run: RunId) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            insert(&tx, run)?;
            tx.commit().during("record that a run has secrets")
        })
        .await
    }

    /// Runs that are over and of which nothing is wished, whose directories still hold secrets; at most `max`. The points of
    /// a sweep share theirs until the last is over. An open sweep stands for points that were not recorded.
    pub async fn secrets_to_remove(&self, max: u32) -> Result<Vec<(RunId, PathBuf)>, StoreError> {
        const WHAT: &str = "list secrets of runs that are over";
        self.call(move |connection| {
            // From the few that have some: of all that are over there may be very many.
            let sql = "SELECT run.id, run.run_dir FROM keeps_secrets CROSS JOIN run ON run.id = keeps_secrets.run \
                       WHERE run.state IN ('completed', 'failed', 'cancelled') AND NOT EXISTS \
                       (SELECT 1 FROM wish WHERE wish.run = run.id AND wish.done = 0) AND (run.sweep IS NULL \
                       OR run.sweep NOT IN (SELECT sweep FROM run WHERE sweep IS NOT NULL AND is_live)) \
                       UNION ALL SELECT sweep.id, sweep.sweep_dir FROM told_secrets JOIN sweep ON sweep.id = told_secrets.sweep \
                       WHERE sweep.id NOT IN (SELECT sweep FROM run WHERE sweep IS NOT NULL AND is_live) AND NOT EXISTS (SELECT 1 FROM wish \
                       JOIN run ON run.id = wish.run WHERE run.sweep = sweep.id AND wish.done = 0) LIMIT ?1";
            let mut statement = connection.prepare_cached(sql).during(WHAT)?;
            let rows = statement
                .query_map([max], |row| Ok((RunId(row.get(0)?), PathBuf::from(row.get::<_, String>(1)?))))
                .during(WHAT)?;
            rows.collect::<rusqlite::Result<_>>().during(WHAT)
        })
        .await
    }

    /// Notes that the secrets of these runs, and sweeps, are removed.
    pub async fn secrets_removed(&self, runs: Vec<RunId>) -> Result<(), StoreError> {
        const WHAT: &str = "record that secrets are removed";
        self.call(move |connection| {
            let tx = begin(connection)?;
            for run in runs {
                change(&tx, WHAT, "DELETE FROM keeps_secrets WHERE run = ?1", [run.0])?;
                kept_by_points(&tx, run)?;
            }
            tx.commit().during(WHAT)
        })
        .await
    }
}
