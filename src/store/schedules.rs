//! Schedules: recorded, changed, and found when their time has come.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use crate::domain::request::Change;
use crate::domain::schedule::{FiringView, Plan, SCHEDULES_MAX, was_set_back};
use crate::store::firings::{Firing, begun, firings_of};
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::{json, readable, time, to_json};
use crate::store::writer::begin;

/// A recorded schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub id: i64,
    pub owner: String,
    pub name: String,
    pub spec: PathBuf,
    pub changes: Vec<Change>,
    pub plan: Plan,
    pub added_at: Timestamp,
    pub paused_at: Option<Timestamp>,
    pub next_at: Option<Timestamp>,
    pub as_of: Timestamp,
}

/// A schedule that is to be recorded.
#[derive(Debug, Clone)]
pub struct NewSchedule {
    pub owner: String,
    pub name: String,
    pub spec: PathBuf,
    pub changes: Vec<Change>,
    pub plan: Plan,
    pub next_at: Option<Timestamp>,
}

/// What schedules have to do with a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scheduled {
    /// How many are not paused.
    pub active: usize,
    /// When the next of them is due.
    pub next_at: Option<Timestamp>,
    /// Those whose time has come, or that worked it out when the clock was ahead.
    pub due: Vec<Schedule>,
    /// What was begun and is not known to have ended.
    pub begun: Vec<Firing>,
}

/// How many schedules of a database that no daemon has open are not paused, and when the next of them is due; none where there
/// are none. Only a look, for whoever wants to know what happens without a daemon.
pub fn schedules_without_daemon(database: &Path) -> Option<(usize, Option<Timestamp>)> {
    let connection =
        Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let sql = "SELECT count(*), min(next_at) FROM schedule WHERE paused_at IS NULL";
    let read = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, Option<i64>>(1)?));
    let (count, next) = connection.query_row(sql, [], read).ok()?;
    (count > 0).then(|| (usize::try_from(count).unwrap_or(usize::MAX), next.map(time)))
}

pub(super) const COLUMNS: &str = "schedule.id, schedule.owner, schedule.name, schedule.spec, schedule.changes, schedule.plan, \
                       schedule.added_at, schedule.paused_at, schedule.next_at, schedule.as_of";

impl Store {
    /// Records a schedule, instead of the owner's one of the same name, which is given then. `Err` when the owner has as many
    /// as there may be.
    pub async fn add_schedule(
        &self,
        new: NewSchedule,
        now: Timestamp,
    ) -> Result<Result<Option<Schedule>, u32>, StoreError> {
        const WHAT: &str = "record a schedule";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let old = find(&tx, &new.owner, &new.name)?;
            let sql = "SELECT count(*) FROM schedule WHERE owner = ?1";
            let count: u32 = tx.query_row(sql, [&new.owner], |row| row.get(0)).during(WHAT)?;
            if old.is_none() && count >= SCHEDULES_MAX {
                return Ok(Err(count));
            }
            change(
                &tx,
                WHAT,
                "INSERT INTO schedule (owner, name, spec, changes, plan, added_at, next_at, as_of) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?6) ON CONFLICT (owner, name) DO UPDATE SET \
                 spec = excluded.spec, changes = excluded.changes, plan = excluded.plan, added_at = excluded.added_at, \
                 next_at = excluded.next_at, as_of = excluded.as_of",
                params![
                    new.owner,
                    new.name,
                    new.spec.display().to_string(),
                    to_json(&new.changes, WHAT)?,
                    to_json(&new.plan, WHAT)?,
                    now.as_millisecond(),
                    new.next_at.map(Timestamp::as_millisecond),
                ],
            )?;
            tx.commit().during(WHAT)?;
            Ok(Ok(old))
        })
        .await
    }

    /// An owner's schedules by name, each with what became of its last planned times, newest first.
    pub async fn schedules(
        &self,
        owner: String,
        firings: u32,
    ) -> Result<Vec<(Schedule, Vec<FiringView>)>, StoreError> {
        self.call(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM schedule WHERE owner = ?1 ORDER BY name");
            let all = list(connection, &sql, [&owner])?;
            all.into_iter()
                .map(|schedule| {
                    let firings = firings_of(connection, schedule.id, firings)?;
                    Ok((schedule, firings))
                })
                .collect()
        })
        .await
    }

    pub async fn schedule(
        &self,
        owner: String,
        name: String,
    ) -> Result<Option<Schedule>, StoreError> {
        self.call(move |connection| find(connection, &owner, &name)).await
    }

    /// Stops a schedule from submitting runs.
    pub async fn pause_schedule(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        const WHAT: &str = "pause a schedule";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "UPDATE schedule SET paused_at = coalesce(paused_at, ?2) WHERE id = ?1";
            change(&tx, WHAT, sql, params![id, now.as_millisecond()])?;
            tx.commit().during(WHAT)
        })
        .await
    }

    /// Lets a paused schedule submit runs again, from its next time on.
    pub async fn resume_schedule(
        &self,
        id: i64,
        next_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "resume a schedule";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "UPDATE schedule SET paused_at = NULL, next_at = ?2, as_of = ?3 \
                       WHERE id = ?1 AND paused_at IS NOT NULL";
            let next_at = next_at.map(Timestamp::as_millisecond);
            change(&tx, WHAT, sql, params![id, next_at, now.as_millisecond()])?;
            tx.commit().during(WHAT)
        })
        .await
    }

    /// Removes a schedule with the record of its times. Its runs stay.
    pub async fn delete_schedule(&self, id: i64) -> Result<(), StoreError> {
        const WHAT: &str = "delete a schedule";
        self.call(move |connection| {
            let tx = begin(connection)?;
            change(&tx, WHAT, "DELETE FROM schedule WHERE id = ?1", [id])?;
            tx.commit().during(WHAT)
        })
        .await
    }

    /// What is to be done about schedules now.
    pub async fn scheduled(&self, now: Timestamp) -> Result<Scheduled, StoreError> {
        self.call(move |connection| {
            let begun = begun(connection)?;
            let sql = format!("SELECT {COLUMNS} FROM schedule WHERE paused_at IS NULL");
            let active = list(connection, &sql, [])?;
            let mut scheduled = Scheduled { active: active.len(), begun, ..Scheduled::default() };
            for schedule in active {
                // One at a time: who comes next sees what became of the last.
                if scheduled.begun.iter().any(|firing| firing.schedule.id == schedule.id) {
                    continue;
                }
                let is_due = schedule.next_at.is_some_and(|next_at| next_at <= now);
                if is_due || was_set_back(schedule.as_of, now) {
                    scheduled.due.push(schedule);
                } else {
                    let earliest = scheduled.next_at.into_iter().chain(schedule.next_at).min();
                    scheduled.next_at = earliest;
                }
            }
            Ok(scheduled)
        })
        .await
    }
}

fn find(connection: &Connection, owner: &str, name: &str) -> Result<Option<Schedule>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM schedule WHERE owner = ?1 AND name = ?2");
    let mut statement = connection.prepare_cached(&sql).during("find a schedule")?;
    statement.query_row([owner, name], schedule).optional().during("find a schedule")
}

fn list(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Schedule>, StoreError> {
    const WHAT: &str = "list schedules";
    let mut statement = connection.prepare_cached(sql).during(WHAT)?;
    let rows = statement.query_map(values, schedule).during(WHAT)?;
    readable(rows, WHAT)
}

pub(super) fn schedule(row: &Row<'_>) -> rusqlite::Result<Schedule> {
    let optional = |index: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(index)?.map(time))
    };
    Ok(Schedule {
        id: row.get(0)?,
        owner: row.get(1)?,
        name: row.get(2)?,
        spec: PathBuf::from(row.get::<_, String>(3)?),
        changes: json(row, 4)?,
        plan: json(row, 5)?,
        added_at: time(row.get(6)?),
        paused_at: optional(7)?,
        next_at: optional(8)?,
        as_of: time(row.get(9)?),
    })
}
