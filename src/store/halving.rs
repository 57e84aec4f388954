//! What points of sweeps had at the rungs of early stopping.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::ids::RunId;
use crate::domain::run::{Decision, Note};
use crate::domain::sweep::halving::{Passed, Past, Reported, Rungs, Verdict};
use crate::store::events;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::metrics::value;
use crate::store::runs::write;
use crate::store::writer::begin;

const READ: &str = "read what points have reported";

impl Store {
    /// What these points have reported of a metric, as far as a rung is still to be decided about them, and what was decided
    /// before. Nothing where there is nothing to decide.
    pub async fn at_rungs(
        &self,
        sweep: RunId,
        points: Vec<(u32, RunId)>,
        (metric, rungs): (String, Rungs),
    ) -> Result<(BTreeMap<u32, Reported>, Passed), StoreError> {
        self.call(move |connection| {
            let mut found = BTreeMap::new();
            for (point, run) in points {
                let reported = reported(connection, (sweep, point, run), &metric, rungs)?;
                found.extend(reported.map(|reported| (point, reported)));
            }
            if found.is_empty() {
                return Ok((found, Passed::new()));
            }
            Ok((found, passed(connection, sweep)?))
        })
        .await
    }

    /// Records what was decided about points at rungs, and which of them are stopped, in one transaction.
    pub async fn record_rungs(
        &self,
        sweep: RunId,
        verdicts: Vec<(RunId, Verdict)>,
        stops: Vec<Decision>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "record what points had at a rung";
        self.call(move |connection| {
            let tx = begin(connection)?;
            for (run, Verdict { point, rung, past, why }) in verdicts {
                let sql = "INSERT INTO rung (sweep, idx, point, value, goes_on) VALUES (?1, ?2, ?3, ?4, ?5)";
                // SQLite has no NaN: it is NULL.
                change(&tx, WHAT, sql, params![sweep.0, rung, point, past.value, past.goes_on])?;
                events::insert(&tx, run, &Note { kind: "rung".into(), message: why }, now)?;
            }
            for stop in &stops {
                write(&tx, stop, now)?;
            }
            tx.commit().during(WHAT)
        })
        .await
    }
}

/// The newest step of the metric, and what it was at the rungs that are not decided yet.
fn reported(
    connection: &Connection,
    (sweep, point, run): (RunId, u32, RunId),
    metric: &str,
    rungs: Rungs,
) -> Result<Option<Reported>, StoreError> {
    let sql = "SELECT step, value, word FROM metric WHERE run = ?1 AND name = ?2 AND step <= ?3 ORDER BY step DESC LIMIT 1";
    let mut last = connection.prepare_cached(sql).during(READ)?;
    let mut until = |step: i64| {
        let found =
            last.query_row(params![run.0, metric, step], |row| Ok((row.get(0)?, value(row, 1)?)));
        found.optional().during(READ)
    };
    let Some((newest, last_value)) = until(i64::MAX)? else { return Ok(None) };
    let mut reported = Reported::new();
    let sql = "SELECT EXISTS (SELECT 1 FROM rung WHERE sweep = ?1 AND idx = ?2 AND point = ?3)";
    let mut decided = connection.prepare_cached(sql).during(READ)?;
    for (rung, step) in (0_u32..).zip(rungs.steps().take_while(|step| *step <= newest)) {
        let is_decided = decided.query_row(params![sweep.0, rung, point], |row| row.get(0));
        if !is_decided.during(READ)? {
            reported.extend(until(step)?);
        }
    }
    if reported.is_empty() {
        return Ok(None);
    }
    reported.insert(newest, last_value);
    Ok(Some(reported))
}

fn passed(connection: &Connection, sweep: RunId) -> Result<Passed, StoreError> {
    const READ: &str = "read what points had at rungs";
    let sql = "SELECT idx, point, value, goes_on FROM rung WHERE sweep = ?1";
    let mut statement = connection.prepare_cached(sql).during(READ)?;
    let rows = statement.query_map([sweep.0], |row| {
        let value = row.get::<_, Option<f64>>(2)?.unwrap_or(f64::NAN);
        Ok((row.get(0)?, row.get(1)?, Past { value, goes_on: row.get(3)? }))
    });
    let mut passed = Passed::new();
    for row in rows.during(READ)? {
        let (rung, point, past): (u32, u32, Past) = row.during(READ)?;
        passed.entry(rung).or_default().insert(point, past);
    }
    Ok(passed)
}
