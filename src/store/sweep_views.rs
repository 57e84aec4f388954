//! Sweeps as they are shown, and wishes for all points of one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use crate::domain::ids::RunId;
use crate::domain::run::WishKind;
use crate::store::handle::{During, Store, StoreError};
use crate::store::open_sweeps::OPEN;
use crate::store::sweeps::{SWEEP_COLUMNS, SweepRow, sweep_row};
use crate::store::writer::begin;

/// A sweep with how many of its points are in each state.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeSweep {
    pub row: SweepRow,
    pub states: BTreeMap<String, u32>,
}

/// More candidates than this help nobody to choose.
const CANDIDATES_MAX: u32 = 1_000;

impl Store {
    /// The newest sweeps; one when a number is given.
    pub async fn whole_sweeps(
        &self,
        only: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<WholeSweep>, StoreError> {
        const WHAT: &str = "list sweeps";
        self.call(move |connection| {
            let sql = format!(
                "SELECT {SWEEP_COLUMNS} FROM sweep WHERE ?1 IS NULL OR id = ?1 ORDER BY id DESC LIMIT ?2"
            );
            let mut statement = connection.prepare_cached(&sql).during(WHAT)?;
            let rows = statement.query_map(params![only.map(|id| id.0), limit], sweep_row);
            let rows: Vec<SweepRow> = rows.and_then(Iterator::collect).during(WHAT)?;
            let sql = "SELECT state, count(*) FROM run WHERE sweep = ?1 GROUP BY state";
            let mut statement = connection.prepare_cached(sql).during(WHAT)?;
            let mut sweeps = Vec::with_capacity(rows.len());
            for row in rows {
                let states = statement.query_map([row.id.0], |row| Ok((row.get(0)?, row.get(1)?)));
                let states = states.and_then(Iterator::collect).during(WHAT)?;
                sweeps.push(WholeSweep { row, states });
            }
            Ok(sweeps)
        })
        .await
    }

    /// The newest sweep of a name.
    pub async fn sweep_named(&self, name: String) -> Result<Option<RunId>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT id FROM sweep WHERE name = ?1 ORDER BY id DESC LIMIT 1";
            let found = connection.query_row(sql, [name], |row| row.get(0).map(RunId)).optional();
            found.during("find a sweep by its name")
        })
        .await
    }

    /// The newest sweep of a name and the older ones that are not over, newest first.
    pub async fn sweeps_to_await(&self, name: String) -> Result<Vec<RunId>, StoreError> {
        const WHAT: &str = "find sweeps by their name";
        self.call(move |connection| {
            let sql = format!(
                "SELECT id FROM sweep WHERE name = ?1 AND (id = (SELECT max(id) FROM sweep WHERE name = ?1) \
                 OR ({OPEN}) OR EXISTS (SELECT 1 FROM run WHERE run.sweep = sweep.id AND run.sweep IS NOT NULL \
                 AND run.is_live)) ORDER BY id DESC LIMIT ?2"
            );
            let mut statement = connection.prepare_cached(&sql).during(WHAT)?;
            let rows = statement.query_map(params![name, CANDIDATES_MAX], |row| row.get(0).map(RunId));
            rows.and_then(Iterator::collect).during(WHAT)
        })
        .await
    }

    /// Runs of a name that are points of no sweep, newest first, with their states.
    pub async fn single_runs_named(
        &self,
        name: String,
    ) -> Result<Vec<(RunId, String)>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT id, state FROM run WHERE name = ?1 AND sweep IS NULL ORDER BY id DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(sql).during("find runs by name")?;
            let row = |row: &Row<'_>| Ok((RunId(row.get(0)?), row.get(1)?));
            let rows = statement.query_map(params![name, CANDIDATES_MAX], row);
            rows.and_then(Iterator::collect).during("find runs by name")
        })
        .await
    }

    /// The numbers of a sweep's points, in their order.
    pub async fn points(&self, sweep: RunId) -> Result<Vec<RunId>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT id FROM run WHERE sweep = ?1 ORDER BY point";
            let mut statement = connection.prepare_cached(sql).during("list points")?;
            let rows = statement.query_map([sweep.0], |row| row.get(0).map(RunId));
            rows.and_then(Iterator::collect).during("list points")
        })
        .await
    }

    /// Records the wish to cancel each point of a sweep that is not over. Gives how many those are.
    pub async fn cancel_sweep(
        &self,
        sweep: RunId,
        by: String,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        const WHAT: &str = "record the wish to cancel a sweep";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "INSERT INTO wish (run, kind, by, at) SELECT id, ?2, ?3, ?4 FROM run \
                       WHERE sweep = ?1 AND is_live";
            let values = params![sweep.0, WishKind::Cancel.as_str(), by, at.as_millisecond()];
            let count = tx.execute(sql, values).during(WHAT)?;
            tx.commit().during(WHAT)?;
            Ok(count)
        })
        .await
    }
}
