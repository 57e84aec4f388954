//! Nodes that failed under attempts: written with the end of the attempt, read until they expire or are cleared.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};

use crate::domain::bad_nodes::Failure;
use crate::domain::ids::{NotAn, RunId};
use crate::domain::nodelist::NodeName;
use crate::domain::run::{Attempt, Reason};
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::{readable, time};
use crate::store::writer::begin;

/// Failures that one answer has; on a site with more of them within a month something else is wrong.
const FAILURES_MAX: u32 = 10_000;

impl Store {
    /// The failures since a moment that nobody has cleared, oldest first.
    pub async fn bad_nodes(&self, since: Timestamp) -> Result<Vec<Failure>, StoreError> {
        self.call(move |connection| list(connection, since)).await
    }

    /// Clears the failures of these nodes, or of all, since a moment. Gives them; where one of the nodes has none, none is
    /// cleared, and those are given that have none.
    pub async fn clear_bad_nodes(
        &self,
        nodes: Option<Vec<NodeName>>,
        (since, now): (Timestamp, Timestamp),
    ) -> Result<Result<Vec<Failure>, Vec<NodeName>>, StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let mut failures = list(&tx, since)?;
            if let Some(nodes) = nodes {
                let is_known = |node: &NodeName| failures.iter().any(|one| one.node == *node);
                let unknown: Vec<NodeName> =
                    nodes.iter().filter(|node| !is_known(node)).cloned().collect();
                if !unknown.is_empty() {
                    return Ok(Err(unknown));
                }
                failures.retain(|failure| nodes.contains(&failure.node));
            }
            for Failure { run, attempt, node, .. } in &failures {
                let sql = "UPDATE bad_node SET cleared_at = ?4 WHERE run = ?1 AND attempt = ?2 AND node = ?3";
                let values = params![run.0, attempt, node.as_str(), now.as_millisecond()];
                change(&tx, "clear nodes that failed", sql, values)?;
            }
            tx.commit().during("clear nodes that failed")?;
            Ok(Ok(failures))
        })
        .await
    }
}

fn list(connection: &Connection, since: Timestamp) -> Result<Vec<Failure>, StoreError> {
    let what = "list nodes that failed";
    let sql = "SELECT cluster, node, since, why, run, attempt, job FROM bad_node \
               WHERE cleared_at IS NULL AND since > ?1 ORDER BY since, run, attempt, node LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).during(what)?;
    let values = params![since.as_millisecond(), FAILURES_MAX];
    let rows = statement.query_map(values, failure).during(what)?;
    readable(rows, what)
}

fn failure(row: &Row<'_>) -> rusqlite::Result<Failure> {
    Ok(Failure {
        cluster: row.get(0)?,
        node: word(row, 1, |text| text.parse().ok())?,
        since: time(row.get(2)?),
        why: word(row, 3, Reason::from_word)?,
        run: RunId(row.get(4)?),
        attempt: row.get(5)?,
        job: word(row, 6, |text| text.parse().ok())?,
    })
}

/// Reads a text that we wrote.
pub(super) fn word<T>(
    row: &Row<'_>,
    index: usize,
    read: impl Fn(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    read(&text).ok_or_else(|| {
        let why = NotAn::new("word of ours", &text);
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(index, kind, Box::new(why))
    })
}

/// Writes the nodes that are to blame for the end of an attempt, as part of writing the attempt.
pub(super) fn insert(
    tx: &Transaction<'_>,
    run: RunId,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<(), StoreError> {
    let since = attempt.ended_at.unwrap_or(now).as_millisecond();
    let why = attempt.reason.unwrap_or(Reason::NodeFailure);
    for node in &attempt.failed_nodes {
        change(
            tx,
            "record a node that failed",
            "INSERT OR IGNORE INTO bad_node (run, attempt, node, cluster, since, why, job) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                run.0,
                attempt.n,
                node.as_str(),
                attempt.job.cluster,
                since,
                why.as_str(),
                attempt.job.to_string()
            ],
        )?;
    }
    Ok(())
}
