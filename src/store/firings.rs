//! Planned times of schedules: taken up, begun, and what became of them.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use crate::domain::ids::RunId;
use crate::domain::schedule::{Due, FiringView, Outcome};
use crate::store::bad_nodes::word;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::{readable, time};
use crate::store::schedules::{COLUMNS, Schedule, schedule};
use crate::store::writer::begin;

/// Planned times of one schedule that are remembered. That none gets a second run does not hang on it.
const FIRINGS_MAX: u32 = 100;

/// A planned time that a run is being submitted for.
#[derive(Debug, Clone, PartialEq)]
pub struct Firing {
    pub id: i64,
    pub planned: Timestamp,
    pub why: String,
    pub schedule: Schedule,
}

/// What became of a planned time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    pub outcome: Outcome,
    pub run: Option<RunId>,
    pub why: String,
}

impl Store {
    /// Records what is to be done about a schedule that is due, before it is done: it is done by this alone, whoever finds
    /// it. Nothing is recorded when it was changed meanwhile.
    pub async fn take_up(
        &self,
        schedule: Schedule,
        due: Due,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "take up a schedule";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let milliseconds = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
            let sql = "UPDATE schedule SET next_at = ?2, as_of = ?3 \
                       WHERE id = ?1 AND paused_at IS NULL AND next_at IS ?4 AND as_of = ?5";
            let values = params![
                schedule.id,
                milliseconds(due.next),
                now.as_millisecond(),
                milliseconds(schedule.next_at),
                schedule.as_of.as_millisecond()
            ];
            if tx.execute(sql, values).during(WHAT)? == 0 {
                return Ok(());
            }
            let id = schedule.id;
            match (due.missed, due.fires) {
                (Some(missed), Some(planned)) if schedule.plan.catch_up => {
                    let why = format!("makes up for {missed}");
                    insert(&tx, id, (planned, Outcome::Begun), &why, now)?;
                }
                (missed, fires) => {
                    if let Some(missed) = missed {
                        let why = format!("no daemon was there in time: {missed}");
                        insert(&tx, id, (missed.first, Outcome::Missed), &why, now)?;
                    }
                    if let Some(planned) = fires {
                        insert(&tx, id, (planned, Outcome::Begun), "", now)?;
                    }
                }
            }
            tx.commit().during(WHAT)
        })
        .await
    }

    /// Records that a run is to be submitted at once; none when one of the schedule's is under way.
    pub async fn fire_at_once(
        &self,
        schedule: Schedule,
        why: String,
        now: Timestamp,
    ) -> Result<Option<Firing>, StoreError> {
        const WHAT: &str = "record a run that is asked for";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let id = schedule.id;
            if begun(&tx)?.iter().any(|firing| firing.schedule.id == id) {
                return Ok(None);
            }
            insert(&tx, id, (now, Outcome::Begun), &why, now)?;
            let firing = begun(&tx)?.into_iter().find(|firing| firing.schedule.id == id);
            tx.commit().during(WHAT)?;
            Ok(firing)
        })
        .await
    }

    /// Whether it is not known yet what became of a planned time.
    pub async fn is_begun(&self, firing: i64) -> Result<bool, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM firing WHERE id = ?1 AND outcome = 'begun')";
            connection.query_row(sql, [firing], |row| row.get(0)).during("find a planned time")
        })
        .await
    }

    /// Records what became of a planned time.
    pub async fn fired(&self, firing: i64, fired: Fired, now: Timestamp) -> Result<(), StoreError> {
        const WHAT: &str = "record what became of a planned time";
        self.call(move |connection| {
            let tx = begin(connection)?;
            let Fired { outcome, run, why } = fired;
            let run = run.map(|run| run.0);
            // An open sweep that stands for itself is no run.
            let sql = "UPDATE firing SET outcome = ?2, run = (SELECT id FROM run WHERE id = ?3), why = ?4, at = ?5 \
                       WHERE id = ?1";
            let at = now.as_millisecond();
            change(&tx, WHAT, sql, params![firing, outcome.as_str(), run, why, at])?;
            tx.commit().during(WHAT)
        })
        .await
    }
}

/// Notes a planned time, unless it is known already, and forgets old ones.
fn insert(
    tx: &Transaction<'_>,
    schedule: i64,
    (planned, outcome): (Timestamp, Outcome),
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    const WHAT: &str = "record a planned time";
    change(
        tx,
        WHAT,
        "INSERT OR IGNORE INTO firing (schedule, planned, outcome, at, why) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![schedule, planned.as_millisecond(), outcome.as_str(), now.as_millisecond(), why],
    )?;
    change(
        tx,
        WHAT,
        "DELETE FROM firing WHERE schedule = ?1 AND outcome <> 'begun' AND id NOT IN \
         (SELECT id FROM firing WHERE schedule = ?1 ORDER BY id DESC LIMIT ?2)",
        params![schedule, FIRINGS_MAX],
    )
}

pub(super) fn begun(connection: &Connection) -> Result<Vec<Firing>, StoreError> {
    const WHAT: &str = "list planned times that were begun";
    let sql = format!(
        "SELECT {COLUMNS}, firing.id, firing.planned, firing.why FROM firing \
         JOIN schedule ON schedule.id = firing.schedule WHERE firing.outcome = 'begun' ORDER BY firing.id"
    );
    let mut statement = connection.prepare_cached(&sql).during(WHAT)?;
    let rows = statement
        .query_map([], |row| {
            Ok(Firing {
                schedule: schedule(row)?,
                id: row.get(10)?,
                planned: time(row.get(11)?),
                why: row.get(12)?,
            })
        })
        .during(WHAT)?;
    readable(rows, WHAT)
}

pub(super) fn firings_of(
    connection: &Connection,
    schedule: i64,
    count: u32,
) -> Result<Vec<FiringView>, StoreError> {
    const WHAT: &str = "list planned times";
    let sql = "SELECT planned, outcome, at, run, why, (SELECT sweep FROM run WHERE run.id = firing.run) \
               FROM firing WHERE schedule = ?1 ORDER BY id DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).during(WHAT)?;
    let rows = statement
        .query_map(params![schedule, count], |row| {
            Ok(FiringView {
                planned: time(row.get(0)?),
                outcome: word(row, 1, Outcome::from_word)?,
                at: time(row.get(2)?),
                run: row.get(3)?,
                sweep: row.get(5)?,
                why: row.get(4)?,
            })
        })
        .during(WHAT)?;
    readable(rows, WHAT)
}
