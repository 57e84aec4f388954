//! Open sweeps: their points, as they are told, and what came of those, in the order in which they ended.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::domain::checkpoint::Goal;
use crate::domain::ids::RunId;
use crate::domain::inputs::Inputs;
use crate::domain::request::SpecRequest;
use crate::domain::resolved::Resolved;
use crate::domain::run::{Note, Run};
use crate::domain::run_files::RunFiles;
use crate::domain::sweep::{Given, PlannedPoint};
use crate::fault::point;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::{json, to_json};
use crate::store::sweep_points::Reported;
use crate::store::sweeps::{SWEEP_COLUMNS, SweepRow, sweep_row};
use crate::store::writer::begin;
use crate::store::{events, retention, secrets};

/// Points that are told now; their lines are in the sweep's table already.
#[derive(Debug, Clone)]
pub struct Telling {
    /// As it was when their numbers were chosen.
    pub sweep: SweepRow,
    pub sets: Vec<Resolved>,
    /// The run of the first; the others' follow.
    pub first_run: RunId,
    pub points: Vec<(PlannedPoint, Option<String>)>,
    pub by: String,
    pub now: Timestamp,
}

/// A point that was told.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldPoint {
    pub run: RunId,
    pub point: u32,
    pub key: Option<String>,
    pub parameters: serde_json::Value,
}

/// The end of a point.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedPoint {
    pub result: u32,
    pub told: ToldPoint,
    /// The best value of the metric that was asked for which is a finite number.
    pub best: Option<Reported>,
}

const WHAT: &str = "record points of an open sweep";
const READ: &str = "read points of an open sweep";

impl Store {
    /// Records points that were told. False where the sweep has other points by now, or is closed: then nothing is.
    pub async fn tell_points(&self, telling: Telling) -> Result<bool, StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let Telling { sweep, points, .. } = &telling;
            let sql = "UPDATE sweep SET points = points + ?2 WHERE id = ?1 AND points = ?3 AND closed_at IS NULL";
            let count = i64::try_from(points.len()).unwrap_or(i64::MAX);
            if tx.execute(sql, params![sweep.id.0, count, sweep.points]).during(WHAT)? == 0 {
                return Ok(false);
            }
            for (number, (planned, key)) in (0_u32..).zip(points) {
                insert(&tx, &telling, (number, planned, key.as_deref()))?;
            }
            secrets::kept_by_points(&tx, sweep.id)?;
            point("told_points_written");
            tx.commit().during(WHAT)?;
            Ok(true)
        })
        .await
    }

    /// What was asked for a sweep.
    pub async fn sweep_request(&self, sweep: RunId) -> Result<Option<SpecRequest>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT inputs FROM sweep WHERE id = ?1";
            let inputs = connection.query_row(sql, [sweep.0], |row| json::<Inputs>(row, 0));
            Ok(inputs.optional().during(READ)?.and_then(|inputs| inputs.request))
        })
        .await
    }

    /// The points of these keys.
    pub async fn told_points(
        &self,
        sweep: RunId,
        keys: Vec<String>,
    ) -> Result<BTreeMap<String, ToldPoint>, StoreError> {
        self.call(move |connection| {
            let sql = format!("{TOLD} WHERE told.sweep = ?1 AND told.key = ?2");
            let mut statement = connection.prepare_cached(&sql).during(READ)?;
            let mut found = BTreeMap::new();
            for key in keys {
                let known = statement.query_row(params![sweep.0, key], told);
                found.extend(known.optional().during(READ)?.map(|(told, _)| (key, told)));
            }
            Ok(found)
        })
        .await
    }

    /// The ends of points behind the given one, in their order; of points that are not over now none.
    pub async fn ended_points(
        &self,
        sweep: RunId,
        (after, limit): (u32, u32),
        metric: Option<(String, Goal)>,
    ) -> Result<Vec<EndedPoint>, StoreError> {
        self.call(move |connection| {
            let sql = format!(
                "{TOLD} WHERE told.sweep = ?1 AND told.result > ?2 \
                 AND run.state IN ('completed', 'failed', 'cancelled') ORDER BY told.result LIMIT ?3"
            );
            let mut statement = connection.prepare_cached(&sql).during(READ)?;
            let rows = statement.query_map(params![sweep.0, after, limit], told);
            let rows: Vec<(ToldPoint, Option<u32>)> =
                rows.and_then(Iterator::collect).during(READ)?;
            let mut ended = Vec::with_capacity(rows.len());
            for (told, result) in rows {
                let best = match &metric {
                    Some((name, goal)) => best(connection, told.run, (name, *goal))?,
                    None => None,
                };
                ended.push(EndedPoint { result: result.unwrap_or_default(), told, best });
            }
            Ok(ended)
        })
        .await
    }

    /// Lets an open sweep take no more points; gives it as it is then.
    pub async fn close_sweep(
        &self,
        sweep: RunId,
        at: Timestamp,
    ) -> Result<Option<SweepRow>, StoreError> {
        const WHAT: &str = "close a sweep";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "UPDATE sweep SET closed_at = coalesce(closed_at, ?2) WHERE id = ?1";
            change(&tx, WHAT, sql, params![sweep.0, at.as_millisecond()])?;
            let sql = format!("SELECT {SWEEP_COLUMNS} FROM sweep WHERE id = ?1");
            let row = tx.query_row(&sql, [sweep.0], sweep_row).optional().during(WHAT)?;
            tx.commit().during(WHAT)?;
            Ok(row)
        })
        .await
    }
}

/// Whether a sweep takes points.
pub(super) const OPEN: &str = "about ->> '$.method' = 'open' AND closed_at IS NULL";

/// The newest sweep of a name that takes points: it is active also while it has none.
pub(super) fn newest_open(
    connection: &Connection,
    owner: &str,
    name: &str,
) -> Result<Option<RunId>, StoreError> {
    let sql = format!("SELECT max(id) FROM sweep WHERE owner = ?1 AND name = ?2 AND {OPEN}");
    let newest = connection.query_row(&sql, [owner, name], |row| row.get::<_, Option<i64>>(0));
    Ok(newest.during("find open sweeps")?.map(RunId))
}

/// All of them.
pub(super) fn open_ones(
    connection: &Connection,
    owner: &str,
    name: &str,
) -> Result<BTreeSet<RunId>, StoreError> {
    const WHAT: &str = "list open sweeps";
    let sql = format!("SELECT id FROM sweep WHERE owner = ?1 AND name = ?2 AND {OPEN}");
    let mut statement = connection.prepare_cached(&sql).during(WHAT)?;
    let rows = statement.query_map([owner, name], |row| row.get(0).map(RunId));
    rows.and_then(Iterator::collect).during(WHAT)
}

/// Lets those take no more.
pub(super) fn close_all(
    tx: &Transaction<'_>,
    (owner, name): (&str, &str),
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = format!("UPDATE sweep SET closed_at = ?3 WHERE owner = ?1 AND name = ?2 AND {OPEN}");
    change(tx, "close sweeps", &sql, params![owner, name, at.as_millisecond()])
}

const TOLD: &str = "SELECT told.run, run.point, told.key, run.given, told.result FROM told \
                    JOIN run ON run.id = told.run";

fn told(row: &rusqlite::Row<'_>) -> rusqlite::Result<(ToldPoint, Option<u32>)> {
    let given: Given = json(row, 3)?;
    let (run, point, key) = (RunId(row.get(0)?), row.get(1)?, row.get(2)?);
    Ok((ToldPoint { run, point, key, parameters: given.parameters }, row.get(4)?))
}

fn best(
    connection: &Connection,
    run: RunId,
    (name, goal): (&str, Goal),
) -> Result<Option<Reported>, StoreError> {
    let order = match goal {
        Goal::Minimize => "ASC",
        Goal::Maximize => "DESC",
    };
    let sql = format!(
        "SELECT value, step FROM metric WHERE run = ?1 AND name = ?2 AND word IS NULL \
         ORDER BY value {order}, step LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql).during(READ)?;
    let found = statement.query_row(params![run.0, name], |row| Ok((row.get(0)?, row.get(1)?)));
    found.optional().during(READ)
}

fn insert(
    tx: &Transaction<'_>,
    telling: &Telling,
    (number, planned, key): (u32, &PlannedPoint, Option<&str>),
) -> Result<(), StoreError> {
    let Telling { sweep, sets, first_run, by, now, .. } = telling;
    let id = RunId(first_run.0 + i64::from(number));
    let number = sweep.points + number;
    let Some(set) = sets.get(planned.set as usize) else { return Ok(()) };
    let run = match &set.environment.requirements {
        Some(_) => Run::to_prepare(id),
        None => Run::accepted(id),
    };
    let (_, message) = run.state.reason_and_message();
    let sql = "INSERT INTO run (id, name, owner, project, state, message, created_at, run_dir, spec_digest, machine, \
               resolved, spec, inputs, sweep, point, set_idx, given) \
               SELECT ?1, name, owner, project, ?2, ?3, ?4, ?5, spec_digest, ?6, '', '', '', id, ?7, ?8, ?9 \
               FROM sweep WHERE id = ?10";
    change(
        tx,
        WHAT,
        sql,
        params![
            id.0,
            run.state.as_str(),
            message,
            now.as_millisecond(),
            RunFiles::point_dir(&sweep.sweep_dir, number).display().to_string(),
            to_json(&run, "a new run")?,
            number,
            planned.set,
            to_json(&planned.given, "what a point is given")?,
            sweep.id.0,
        ],
    )?;
    let sql = "INSERT INTO told (run, sweep, key) VALUES (?1, ?2, ?3)";
    change(tx, WHAT, sql, params![id.0, sweep.id.0, key])?;
    if set.environment.secrets.is_some() {
        secrets::insert(tx, id)?;
    }
    if set.retention().is_some() {
        retention::insert(tx, id)?;
    }
    let told = Note { kind: "told".into(), message: format!("told by {by}") };
    events::insert(tx, id, &told, *now)
}
