//! All points of a sweep at once: what they are given, took and reported. Each is one query however many points there are,
//! and a call of its own, so that others are served between two.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Params, Row};
use serde::Deserialize;

use crate::domain::checkpoint::Goal;
use crate::domain::ids::RunId;
use crate::domain::number;
use crate::domain::resolved::Resolved;
use crate::domain::run::Attempt;
use crate::store::handle::{During, Store, StoreError};
use crate::store::runs::json;

/// A point of a sweep, in short.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRow {
    pub run: RunId,
    pub point: u32,
    pub set: u32,
    pub state: String,
    pub parameters: serde_json::Value,
}

/// A value that a run reported, and its step.
pub type Reported = (f64, i64);

const WHAT: &str = "read the points of a sweep";

impl Store {
    /// What the points of each set mean.
    pub async fn sweep_sets(&self, sweep: RunId) -> Result<Vec<Resolved>, StoreError> {
        let sql = "SELECT resolved FROM sweep_set WHERE sweep = ?1 ORDER BY idx";
        self.each(sql, [sweep.0], |row| json(row, 0)).await
    }

    pub async fn point_rows(&self, sweep: RunId) -> Result<Vec<PointRow>, StoreError> {
        /// That part of what a point is given.
        #[derive(Deserialize)]
        struct Given {
            parameters: serde_json::Value,
        }
        let sql =
            "SELECT id, point, set_idx, state, given FROM run WHERE sweep = ?1 ORDER BY point";
        self.each(sql, [sweep.0], |row| {
            let Given { parameters } = json(row, 4)?;
            let (run, point, set) = (RunId(row.get(0)?), row.get(1)?, row.get(2)?);
            Ok(PointRow { run, point, set, state: row.get(3)?, parameters })
        })
        .await
    }

    /// All attempts of all points.
    pub async fn attempts_of_sweep(
        &self,
        sweep: RunId,
    ) -> Result<Vec<(RunId, Attempt)>, StoreError> {
        let sql = "SELECT attempt.run, attempt.record FROM run JOIN attempt ON attempt.run = run.id \
                   WHERE run.sweep = ?1";
        self.each(sql, [sweep.0], |row| Ok((RunId(row.get(0)?), json(row, 1)?))).await
    }

    /// The best value of a metric of each point that has one which is a finite number.
    pub async fn best_of_sweep(
        &self,
        sweep: RunId,
        metric: String,
        goal: Goal,
    ) -> Result<HashMap<RunId, Reported>, StoreError> {
        // Beside min() and max() SQLite takes the other columns from the row that has it.
        let best = match goal {
            Goal::Minimize => "min",
            Goal::Maximize => "max",
        };
        let sql = format!(
            "SELECT metric.run, {best}(metric.value), metric.step FROM run \
             JOIN metric ON metric.run = run.id AND metric.name = ?2 AND metric.word IS NULL \
             WHERE run.sweep = ?1 GROUP BY metric.run"
        );
        let read = |row: &Row<'_>| Ok((RunId(row.get(0)?), (row.get(1)?, row.get(2)?)));
        Ok(self.each(&sql, (sweep.0, metric), read).await?.into_iter().collect())
    }

    /// The newest value of a metric of each point that has one.
    pub async fn newest_of_sweep(
        &self,
        sweep: RunId,
        metric: String,
    ) -> Result<HashMap<RunId, Reported>, StoreError> {
        let sql = "SELECT run.id, newest.value ->> '$.value', newest.value ->> '$.step' FROM run \
                   JOIN metric_tail ON metric_tail.run = run.id, json_each(metric_tail.newest) AS newest \
                   WHERE run.sweep = ?1 AND newest.key = ?2";
        let read = |row: &Row<'_>| {
            let word = row.get_ref(1)?.as_str().ok().and_then(number::of_word);
            let value = word.map_or_else(|| row.get(1), Ok)?;
            Ok((RunId(row.get(0)?), (value, row.get(2)?)))
        };
        Ok(self.each(sql, (sweep.0, metric), read).await?.into_iter().collect())
    }

    /// The names of the metrics that points have.
    pub async fn metric_names_of_sweep(
        &self,
        sweep: RunId,
    ) -> Result<BTreeSet<String>, StoreError> {
        let sql = "SELECT DISTINCT newest.key FROM run JOIN metric_tail ON metric_tail.run = run.id, \
                   json_each(metric_tail.newest) AS newest WHERE run.sweep = ?1";
        Ok(self.each(sql, [sweep.0], |row| row.get(0)).await?.into_iter().collect())
    }

    /// The sweeps of an experiment, oldest first.
    pub async fn sweeps_of_experiment(&self, tag: String) -> Result<Vec<RunId>, StoreError> {
        let sql = "SELECT id FROM sweep WHERE experiment = ?1 ORDER BY id";
        self.each(sql, [tag], |row| row.get(0).map(RunId)).await
    }

    /// Every row of a query.
    async fn each<T: Send + 'static>(
        &self,
        sql: &str,
        values: impl Params + Send + 'static,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let sql = sql.to_owned();
        self.call(move |connection| {
            let mut statement = connection.prepare_cached(&sql).during(WHAT)?;
            let rows = statement.query_map(values, read);
            rows.and_then(Iterator::collect).during(WHAT)
        })
        .await
    }
}
