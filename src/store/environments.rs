//! What attempts really got where they started.

use std::collections::BTreeMap;

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
