//! Runs and their attempts: recorded and found.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::domain::ids::RunId;
use crate::domain::inputs::Inputs;
use crate::domain::resolved::Resolved;
use crate::domain::run::{Attempt, Decision, Run, State};
use crate::domain::sweep::PointId;
use crate::fault::point;
use crate::store::accounts;
use crate::store::bad_nodes;
use crate::store::events;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::ledger;
use crate::store::retention;
use crate::store::wishes;
use crate::store::writer::begin;

/// A recorded run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    pub run: Run,
    pub name: String,
    pub owner: String,
    pub project: Option<String>,
    pub created_at: Timestamp,
    pub submitted_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub run_dir: PathBuf,
    pub key: Option<String>,
    pub deleted_at: Option<Timestamp>,
    pub spec_digest: String,
    /// Points of a set share theirs, which says nothing of what one of them is given.
    pub resolved: Arc<Resolved>,
    /// Which point of which sweep it is, if it is one.
    pub point: Option<PointId>,
}

impl RunRow {
    /// Where the training saves.
    pub fn checkpoint_directory(&self) -> PathBuf {
        self.run_dir.join(&self.resolved.checkpoint_directory)
    }
}

/// A pending run with what decides whether it may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submittable {
    pub run: RunId,
    pub owner: String,
    /// Runs it waits for that are not final yet.
    pub waits_for: Vec<RunId>,
}

/// A decision that is to be recorded.
#[derive(Debug, Clone)]
pub struct Recording {
    pub decision: Decision,
    /// The wishes that it took.
    pub wishes_done: Vec<i64>,
    pub at: Timestamp,
}

/// What a run means: that of its set for a point of a sweep.
macro_rules! resolved {
    () => {
        "(CASE WHEN run.sweep IS NULL THEN run.resolved ELSE (SELECT sweep_set.resolved \
         FROM sweep_set WHERE sweep_set.sweep = run.sweep AND sweep_set.idx = run.set_idx) END)"
    };
}

pub(super) const RESOLVED: &str = resolved!();

/// What [`row`] reads.
pub(super) const COLUMNS: &str = concat!(
    "run.id, run.name, run.owner, run.project, run.created_at, run.submitted_at, run.started_at, run.ended_at, run.run_dir, \
     run.key, run.spec_digest, run.machine, run.deleted_at, run.sweep, run.point, run.set_idx, ",
    resolved!()
);

/// What a run was given, and what was asked for it: that of its sweep for a point.
pub(super) const INPUTS: &str =
    "coalesce((SELECT sweep.inputs FROM sweep WHERE sweep.id = run.sweep), run.inputs)";
const SPEC: &str = "coalesce((SELECT sweep.spec FROM sweep WHERE sweep.id = run.sweep), run.spec)";

pub(super) fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    row_beside(row, &mut None)
}

/// What the run that was read last means, as it is recorded and as it is.
pub(super) type LastResolved = Option<(String, Arc<Resolved>)>;

/// Reads a run beside another one: points of a set mean the same, which is read once for all that follow each other.
pub(super) fn row_beside(row: &Row<'_>, last: &mut LastResolved) -> rusqlite::Result<RunRow> {
    let optional = |index: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(index)?.map(time))
    };
    Ok(RunRow {
        name: row.get(1)?,
        owner: row.get(2)?,
        project: row.get(3)?,
        created_at: time(row.get(4)?),
        submitted_at: optional(5)?,
        started_at: optional(6)?,
        ended_at: optional(7)?,
        run_dir: PathBuf::from(row.get::<_, String>(8)?),
        key: row.get(9)?,
        spec_digest: row.get(10)?,
        run: json(row, 11)?,
        deleted_at: optional(12)?,
        resolved: resolved(row, last)?,
        point: match row.get::<_, Option<i64>>(13)? {
            Some(sweep) => {
                Some(PointId { sweep: RunId(sweep), point: row.get(14)?, set: row.get(15)? })
            }
            None => None,
        },
    })
}

fn resolved(row: &Row<'_>, last: &mut LastResolved) -> rusqlite::Result<Arc<Resolved>> {
    const COLUMN: usize = 16;
    let text = row.get_ref(COLUMN)?.as_str()?;
    if let Some((_, resolved)) = last.as_ref().filter(|(known, _)| known == text) {
        return Ok(Arc::clone(resolved));
    }
    let resolved: Arc<Resolved> = Arc::new(json(row, COLUMN)?);
    *last = Some((text.to_owned(), Arc::clone(&resolved)));
    Ok(resolved)
}

/// The rows that can be read. One that cannot is told in the log and left alone: it must not stop all the others.
pub(super) fn readable<T>(
    rows: impl Iterator<Item = rusqlite::Result<T>>,
    what: &'static str,
) -> Result<Vec<T>, StoreError> {
    let mut read = Vec::new();
    for row in rows {
        match row {
            Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
                tracing::error!(
                    "cannot {what}: a record cannot be read and is passed over: {error}"
                );
            }
            row => read.push(row.during(what)?),
        }
    }
    Ok(read)
}

/// Reads a JSON column that we wrote.
pub(super) fn json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<T> {
    let text = row.get_ref(index)?.as_str()?;
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            index,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

pub(super) fn inputs(connection: &Connection, id: RunId) -> Result<Inputs, StoreError> {
    let sql = format!("SELECT {INPUTS} FROM run WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql).during("read what a run was given")?;
    let found = statement.query_row([id.0], |row| json(row, 0)).optional();
    Ok(found.during("read what a run was given")?.unwrap_or_default())
}

pub(super) fn to_json(value: &impl serde::Serialize, what: &str) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|source| StoreError::Record { what: what.to_owned(), source })
}

impl Store {
    pub async fn run(&self, id: RunId) -> Result<Option<RunRow>, StoreError> {
        self.call(move |connection| find(connection, id)).await
    }

    /// What was asked for a run, word for word.
    pub async fn spec(&self, id: RunId) -> Result<Option<String>, StoreError> {
        self.call(move |connection| {
            let sql = format!("SELECT {SPEC} FROM run WHERE id = ?1");
            let found = connection.query_row(&sql, [id.0], |row| row.get(0)).optional();
            found.during("read a spec")
        })
        .await
    }

    /// What a run was given; nothing for one that there is not.
    pub async fn inputs(&self, id: RunId) -> Result<Inputs, StoreError> {
        self.call(move |connection| inputs(connection, id)).await
    }

    /// Runs of a name, newest first; of one owner when given.
    pub async fn named(
        &self,
        name: String,
        owner: Option<String>,
    ) -> Result<Vec<(RunId, String)>, StoreError> {
        /// More candidates than this help nobody to choose.
        const CANDIDATES_MAX: u32 = 1_000;
        self.call(move |connection| {
            let sql = "SELECT id, state FROM run WHERE name = ?1 AND (?2 IS NULL OR owner = ?2) ORDER BY id DESC LIMIT ?3";
            let mut statement = connection.prepare_cached(sql).during("find runs by name")?;
            let rows = statement
                .query_map(params![name, owner, CANDIDATES_MAX], |row| Ok((RunId(row.get(0)?), row.get(1)?)))
                .during("find runs by name")?;
            rows.collect::<rusqlite::Result<_>>().during("find runs by name")
        })
        .await
    }

    /// The newest run of an owner.
    pub async fn newest(&self, owner: String) -> Result<Option<RunId>, StoreError> {
        self.call(move |connection| {
            connection
                .query_row("SELECT max(id) FROM run WHERE owner = ?1", [owner], |row| {
                    row.get::<_, Option<i64>>(0)
                })
                .map(|id| id.map(RunId))
                .during("find the newest run")
        })
        .await
    }

    /// Pending runs that are no points of sweeps, with what they wait for.
    pub async fn pending(&self) -> Result<Vec<Submittable>, StoreError> {
        self.call(|connection| {
            let sql = "SELECT run.id, run.owner, waits.other FROM run \
                       LEFT JOIN waits_for AS waits ON waits.run = run.id AND EXISTS (SELECT 1 FROM run AS other \
                       WHERE other.id = waits.other AND other.is_live) \
                       WHERE run.state = 'pending' AND run.sweep IS NULL ORDER BY run.id";
            let mut statement = connection.prepare_cached(sql).during("list pending runs")?;
            let rows = statement
                .query_map([], |row| Ok((RunId(row.get(0)?), row.get(1)?, row.get::<_, Option<i64>>(2)?.map(RunId))))
                .during("list pending runs")?;
            let mut pending: Vec<Submittable> = Vec::new();
            for found in rows {
                let (run, owner, other) = found.during("list pending runs")?;
                match pending.last_mut() {
                    Some(last) if last.run == run => last.waits_for.extend(other),
                    _ => pending.push(Submittable { run, owner, waits_for: other.into_iter().collect() }),
                }
            }
            Ok(pending)
        })
        .await
    }

    /// Records a decision: the run, its attempts, its history and the wishes it took, in one transaction.
    pub async fn record(
        &self,
        decision: Decision,
        wishes_done: Vec<i64>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.record_all(vec![Recording { decision, wishes_done, at }]).await
    }

    /// Records decisions about several runs, all or none.
    pub async fn record_all(&self, recordings: Vec<Recording>) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            for Recording { decision, wishes_done, at } in &recordings {
                write(&tx, decision, *at)?;
                wishes::close(&tx, wishes_done)?;
            }
            point("decision_written");
            tx.commit().during("record decisions")
        })
        .await
    }
}

pub(super) fn find(connection: &Connection, id: RunId) -> Result<Option<RunRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM run WHERE id = ?1");
    connection
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row([id.0], row).optional())
        .during("find a run")
}

/// All attempts of a run, oldest first.
pub(super) fn attempts(connection: &Connection, id: RunId) -> Result<Vec<Attempt>, StoreError> {
    let sql = "SELECT record FROM attempt WHERE run = ?1 ORDER BY n";
    let mut statement = connection.prepare_cached(sql).during("list attempts")?;
    let rows = statement.query_map([id.0], |row| json(row, 0)).during("list attempts")?;
    rows.collect::<rusqlite::Result<_>>().during("list attempts")
}

/// Writes what a decision changed.
pub(super) fn write(
    tx: &Transaction<'_>,
    decision: &Decision,
    now: Timestamp,
) -> Result<(), StoreError> {
    let run = &decision.run;
    let (reason, message) = run.state.reason_and_message();
    let ended_at = if let State::Final { end } = &run.state { Some(end.at) } else { None };
    let started_at = run.attempt.as_ref().and_then(|attempt| attempt.started_at);
    let submitted_at = run.submission.as_ref().map(|submission| submission.intent_at);
    change(
        tx,
        "record a run",
        // The first submission and the first start stay what they were: a run's history is never rewritten.
        "UPDATE run SET state = ?2, reason = ?3, message = ?4, submitted_at = coalesce(submitted_at, ?5), \
         started_at = coalesce(started_at, ?6), ended_at = ?7, stale_since = ?8, machine = ?9 WHERE id = ?1",
        params![
            run.id.0,
            run.state.as_str(),
            reason.map(crate::domain::run::Reason::as_str),
            message,
            submitted_at.map(Timestamp::as_millisecond),
            started_at.map(Timestamp::as_millisecond),
            ended_at.map(Timestamp::as_millisecond),
            run.stale.as_ref().map(|stale| stale.since.as_millisecond()),
            to_json(run, "a run")?,
        ],
    )?;
    for attempt in decision.closed.iter().chain(&run.attempt) {
        write_attempt(tx, run.id, attempt)?;
        bad_nodes::insert(tx, run.id, attempt, now)?;
    }
    for note in &decision.notes {
        events::insert(tx, run.id, note, now)?;
    }
    ledger::settle_in(tx, decision, now)?;
    if ended_at.is_some() {
        retention::is_over(tx, run.id)?;
        accounts::is_over(tx, run, now)?;
    }
    Ok(())
}

pub(super) fn write_attempt(
    tx: &Transaction<'_>,
    run: RunId,
    attempt: &Attempt,
) -> Result<(), StoreError> {
    let record = to_json(attempt, "an attempt")?;
    change(
        tx,
        "record an attempt",
        "INSERT INTO attempt (submission, idx, restart, run, n, record) VALUES (?1, ?6, ?2, ?3, ?4, ?5) \
         ON CONFLICT (submission, idx, restart) DO UPDATE SET record = excluded.record",
        params![attempt.submission.0, attempt.restart, run.0, attempt.n, record, attempt.index()],
    )
}
