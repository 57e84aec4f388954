//! Which runs do not keep all their checkpoints, and which of them are over and still have some to remove.

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use crate::domain::ids::RunId;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::{COLUMNS, RunRow, readable, row};
use crate::store::writer::begin;

/// Notes that a run does not keep all its checkpoints.
pub(super) fn insert(tx: &Transaction<'_>, run: RunId) -> Result<(), StoreError> {
    let sql = "INSERT INTO retention (run) VALUES (?1) ON CONFLICT DO NOTHING";
    change(tx, "record that a run removes checkpoints", sql, [run.0])
}

/// Notes that a run is over, if it is one of them.
pub(super) fn is_over(tx: &Transaction<'_>, run: RunId) -> Result<(), StoreError> {
    change(tx, "record that a run is over", "UPDATE retention SET due = 1 WHERE run = ?1", [run.0])
}

impl Store {
    /// Runs that are over and whose checkpoints were not looked through since; at most `max`.
    pub async fn retention_due(&self, max: u32) -> Result<Vec<RunRow>, StoreError> {
        const WHAT: &str = "list runs whose checkpoints are to be looked through";
        self.call(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM run WHERE id IN (SELECT run FROM retention WHERE due = 1) \
                 AND state IN ('completed', 'failed', 'cancelled') AND deleted_at IS NULL ORDER BY id LIMIT ?1"
            );
            let mut statement = connection.prepare_cached(&sql).during(WHAT)?;
            readable(statement.query_map([max], row).during(WHAT)?, WHAT)
        })
        .await
    }

    /// Notes that the checkpoints of a run that ended then were looked through, unless it has ended anew.
    pub async fn retention_done(&self, run: RunId, ended: Timestamp) -> Result<(), StoreError> {
        const WHAT: &str = "record that checkpoints were looked through";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "UPDATE retention SET due = 0 WHERE run = ?1 AND EXISTS \
                       (SELECT 1 FROM run WHERE run.id = ?1 AND run.ended_at = ?2)";
            change(&tx, WHAT, sql, params![run.0, ended.as_millisecond()])?;
            tx.commit().during(WHAT)
        })
        .await
    }
}
