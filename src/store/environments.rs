//! Which environments were built for runs, and what attempts really got where they started.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use crate::domain::environment::EnvironmentRecord;
use crate::domain::ids::RunId;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::{json, readable, to_json};
use crate::store::writer::begin;

impl Store {
    /// Keeps what an attempt got. The first word stands.
    pub async fn add_environment(
        &self,
        run: RunId,
        attempt: u32,
        record: EnvironmentRecord,
    ) -> Result<(), StoreError> {
        self.call_unsynced(move |connection| {
            let record = to_json(&record, "an environment")?;
            let tx = begin(connection)?;
            let sql =
                "INSERT OR IGNORE INTO environment (run, attempt, record) VALUES (?1, ?2, ?3)";
            change(&tx, "record an environment", sql, params![run.0, attempt, record])?;
            tx.commit().during("record an environment")
        })
        .await
    }

    /// Notes which environment was built for runs.
    pub async fn add_built(&self, runs: Vec<RunId>, digest: String) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            for run in runs {
                let sql = "INSERT INTO built (run, digest) VALUES (?1, ?2) \
                           ON CONFLICT (run) DO UPDATE SET digest = excluded.digest";
                change(&tx, "note what was built", sql, params![run.0, digest])?;
            }
            tx.commit().during("note what was built")
        })
        .await
    }

    /// The names of all environments that some run has whose files were not deleted.
    pub async fn built_environments(&self) -> Result<BTreeSet<String>, StoreError> {
        self.call(|connection| {
            let what = "list what was built";
            let sql = "SELECT DISTINCT built.digest FROM built JOIN run ON run.id = built.run \
                       WHERE run.deleted_at IS NULL";
            let mut statement = connection.prepare_cached(sql).during(what)?;
            let rows = statement.query_map([], |row| row.get(0)).during(what)?;
            rows.collect::<rusqlite::Result<_>>().during(what)
        })
        .await
    }

    /// What the attempts of a run got, by attempt.
    pub async fn environments(
        &self,
        run: RunId,
    ) -> Result<BTreeMap<u32, EnvironmentRecord>, StoreError> {
        self.call(move |connection| environments(connection, run)).await
    }
}

pub(super) fn environments(
    connection: &Connection,
    run: RunId,
) -> Result<BTreeMap<u32, EnvironmentRecord>, StoreError> {
    let what = "read what attempts got";
    let sql = "SELECT attempt, record FROM environment WHERE run = ?1 ORDER BY attempt";
    let mut statement = connection.prepare_cached(sql).during(what)?;
    let rows = statement.query_map([run.0], |row| Ok((row.get(0)?, json(row, 1)?))).during(what)?;
    Ok(readable(rows, what)?.into_iter().collect())
}
