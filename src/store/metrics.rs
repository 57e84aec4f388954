//! Reported values, and how far each metrics file was read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::domain::ids::RunId;
use crate::domain::metrics::{MetricLine, Progress};
use crate::domain::number;
use crate::store::handle::{During, Store, StoreError};
use crate::store::runs::{json, time, to_json};
use crate::store::writer::begin;

/// Values of one run that are kept; the metrics file keeps them all.
pub const POINTS_PER_RUN_MAX: i64 = 1_000_000;

/// One reported value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    pub name: String,
    pub step: i64,
    pub at: Timestamp,
    #[serde(with = "crate::domain::number")]
    pub value: f64,
}

/// Metrics of one run that are shown in lists; a training that invents a name at every step is cut here.
const NAMES_MAX: usize = 256;

/// How far a metrics file was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricTail {
    pub file: Option<(u64, u64)>,
    pub offset: u64,
    pub points: i64,
    pub progress: Progress,
    /// The newest value of each metric.
    pub newest: BTreeMap<String, MetricPoint>,
}

impl MetricTail {
    /// Takes a newer value of a metric.
    fn take(&mut self, point: MetricPoint) {
        let is_known = self.newest.contains_key(&point.name);
        if is_known || self.newest.len() < NAMES_MAX {
            self.newest.insert(point.name.clone(), point);
        }
    }
}

impl Store {
    pub async fn metric_tail(&self, run: RunId) -> Result<MetricTail, StoreError> {
        self.call(move |connection| {
            let sql =
                "SELECT device, inode, offset, points, progress, newest FROM metric_tail WHERE run = ?1";
            let tail = connection
                .prepare_cached(sql)
                .and_then(|mut statement| {
                    statement
                        .query_row([run.0], |row| {
                            Ok(MetricTail {
                                file: Some((
                                    row.get::<_, i64>(0)?.cast_unsigned(),
                                    row.get::<_, i64>(1)?.cast_unsigned(),
                                )),
                                offset: row.get::<_, i64>(2)?.cast_unsigned(),
                                points: row.get(3)?,
                                progress: json(row, 4)?,
                                newest: json(row, 5)?,
                            })
                        })
                        .optional()
                })
                .during("read how far metrics were read")?;
            Ok(tail.unwrap_or_default())
        })
        .await
    }

    /// Records new lines and how far the file was read, in one transaction. A step reported again replaces its value.
    pub async fn add_metrics(
        &self,
        run: RunId,
        mut tail: MetricTail,
        lines: Vec<MetricLine>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            {
                let sql = "INSERT INTO metric (run, name, step, at, value, word) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                           ON CONFLICT (run, name, step) DO UPDATE \
                           SET at = excluded.at, value = excluded.value, word = excluded.word";
                let mut statement = tx.prepare_cached(sql).during("record metrics")?;
                for line in lines {
                    tail.progress.update(line.progress);
                    // A line without a step counts on from the newest one.
                    let step = line.step.or(tail.progress.step).unwrap_or(tail.points);
                    for (name, value) in line.values {
                        let point = MetricPoint { name, step, at: now, value };
                        if tail.points < POINTS_PER_RUN_MAX {
                            tail.points += 1;
                            let (at, word) = (now.as_millisecond(), number::word(value));
                            let value = if word.is_some() { 0.0 } else { value };
                            statement
                                .execute(params![run.0, point.name, step, at, value, word])
                                .during("record metrics")?;
                        }
                        tail.take(point);
                    }
                }
            }
            let (device, inode) = tail.file.unwrap_or_default();
            tx.execute(
                "INSERT OR REPLACE INTO metric_tail (run, device, inode, offset, points, progress, newest) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    run.0,
                    device.cast_signed(),
                    inode.cast_signed(),
                    tail.offset.cast_signed(),
                    tail.points,
                    to_json(&tail.progress, "a run's progress")?,
                    to_json(&tail.newest, "a run's newest metrics")?
                ],
            )
            .during("record how far metrics were read")?;
            tx.commit().during("record metrics")
        })
        .await
    }

    /// A run's values, by name and step; of one metric when given. At most `limit` of them, from after a name and step on.
    pub async fn metrics(
        &self,
        run: RunId,
        name: Option<String>,
        after: Option<(String, i64)>,
        limit: u32,
    ) -> Result<Vec<MetricPoint>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT name, step, at, value, word FROM metric WHERE run = ?1 AND (?2 IS NULL OR name = ?2) \
                       AND (name, step) > (?3, ?4) ORDER BY name, step LIMIT ?5";
            let (after_name, after_step) = after.unwrap_or((String::new(), i64::MIN));
            let mut statement = connection.prepare_cached(sql).during("read metrics")?;
            let rows = statement
                .query_map(params![run.0, name, after_name, after_step, limit], |row| {
                    Ok(MetricPoint {
                        name: row.get(0)?,
                        step: row.get(1)?,
                        at: time(row.get(2)?),
                        value: value(row, 3)?,
                    })
                })
                .during("read metrics")?;
            rows.collect::<rusqlite::Result<_>>().during("read metrics")
        })
        .await
    }

    /// What one metric was at these steps, where it was a finite number.
    pub async fn metric_at(
        &self,
        run: RunId,
        name: String,
        steps: BTreeSet<i64>,
    ) -> Result<BTreeMap<i64, f64>, StoreError> {
        self.call(move |connection| value_at(connection, run, &name, &steps)).await
    }

    /// The finite numbers that were reported at these steps, by step; of the first metrics by name where there are many.
    pub async fn metrics_at(
        &self,
        run: RunId,
        steps: BTreeSet<i64>,
    ) -> Result<BTreeMap<i64, BTreeMap<String, f64>>, StoreError> {
        const NAMES_ASKED_MAX: usize = 32;
        self.call(move |connection| {
            let (_, newest) = newest(connection, run)?;
            let mut found: BTreeMap<i64, BTreeMap<String, f64>> = BTreeMap::new();
            for name in newest.into_keys().take(NAMES_ASKED_MAX) {
                for (step, value) in value_at(connection, run, &name, &steps)? {
                    found.entry(step).or_default().insert(name.clone(), value);
                }
            }
            Ok(found)
        })
        .await
    }
}

fn value_at(
    connection: &Connection,
    run: RunId,
    name: &str,
    steps: &BTreeSet<i64>,
) -> Result<BTreeMap<i64, f64>, StoreError> {
    const WHAT: &str = "read metrics of a step";
    let sql =
        "SELECT value FROM metric WHERE run = ?1 AND name = ?2 AND step = ?3 AND word IS NULL";
    let mut statement = connection.prepare_cached(sql).during(WHAT)?;
    let mut found = BTreeMap::new();
    for step in steps {
        let value = statement.query_row(params![run.0, name, step], |row| row.get(0));
        found.extend(value.optional().during(WHAT)?.map(|value| (*step, value)));
    }
    Ok(found)
}

/// A reported value from its two columns, the second of which is its word.
pub(super) fn value(row: &Row<'_>, column: usize) -> rusqlite::Result<f64> {
    let word: Option<String> = row.get(column + 1)?;
    // A word that nobody wrote is no number all the same.
    word.map_or_else(|| row.get(column), |word| Ok(number::of_word(&word).unwrap_or(f64::NAN)))
}

/// A run's progress and the newest value of each of its metrics.
pub(super) fn newest(
    connection: &Connection,
    run: RunId,
) -> Result<(Progress, BTreeMap<String, MetricPoint>), StoreError> {
    let sql = "SELECT progress, newest FROM metric_tail WHERE run = ?1";
    let mut statement = connection.prepare_cached(sql).during("read newest metrics")?;
    let row = statement.query_row([run.0], |row| Ok((json(row, 0)?, json(row, 1)?)));
    row.optional().during("read newest metrics").map(Option::unwrap_or_default)
}
