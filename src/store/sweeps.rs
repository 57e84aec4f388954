//! Sweeps: recorded with all their points at once, and submitted as arrays.

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::domain::ids::RunId;
use crate::domain::inputs::Inputs;
use crate::domain::ledger::{Asked, Refusal};
use crate::domain::request::IfActive;
use crate::domain::resolved::Resolved;
use crate::domain::run::WishKind;
use crate::domain::spec::SweepMethod;
use crate::domain::sweep::slots::Chunk;
use crate::domain::sweep::{About, Given};
use crate::fault::point;
use crate::store::acceptance::{Keyed, active, newest_active, of_key};
use crate::store::arrays::ArrayIntent;
use crate::store::books::Books;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::new_points::NewPoint;
use crate::store::open_sweeps::{close_all, open_ones};
use crate::store::owed::{Owed, insert_points};
use crate::store::runs::{json, time, to_json};
use crate::store::submissions::Start;
use crate::store::writer::begin;
use crate::store::{ledger, snapshots, wishes};

/// A sweep that is about to be accepted; its directory is made already.
#[derive(Debug, Clone)]
pub struct NewSweep {
    /// Its points have the numbers behind its own.
    pub id: RunId,
    pub owner: String,
    pub key: Option<String>,
    pub spec_digest: String,
    pub spec: String,
    pub about: About,
    pub sets: Vec<Resolved>,
    pub points: Vec<NewPoint>,
    pub inputs: Inputs,
    pub sweep_dir: PathBuf,
    pub if_active: IfActive,
    /// What its project's budget has to have for the points that are submitted first.
    pub asked: Option<Asked>,
    /// The array that it begins with, where nothing but the owner's active runs can hold it up.
    pub opening: Option<Opening>,
    pub now: Timestamp,
}

/// The first array of a sweep.
#[derive(Debug, Clone)]
pub struct Opening {
    pub chunk: Chunk,
    pub start: Start,
}

/// A recorded sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRow {
    pub id: RunId,
    pub name: String,
    pub owner: String,
    pub project: Option<String>,
    pub experiment: Option<String>,
    pub created_at: Timestamp,
    pub sweep_dir: PathBuf,
    pub points: u32,
    pub about: About,
    pub key: Option<String>,
    /// Since when an open sweep takes no more points.
    pub closed_at: Option<Timestamp>,
}

impl SweepRow {
    /// Whether it may be told more points.
    pub fn is_open(&self) -> bool {
        self.about.method == SweepMethod::Open && self.closed_at.is_none()
    }
}

/// What became of a new sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepAcceptance {
    Recorded {
        /// To submit its first array, where it starts at once.
        intent: Option<ArrayIntent>,
        /// What its owner is told about its project's budget.
        warning: Option<String>,
    },
    OverBudget(String),
    KeyTaken(Keyed),
    /// The newest active run of the name, instead of a new one; an open sweep that has none.
    Active(RunId),
}

const WHAT: &str = "record a sweep";

impl Store {
    /// Takes numbers that follow each other, and gives the first.
    pub async fn next_numbers(&self, count: u32) -> Result<RunId, StoreError> {
        self.call_unsynced(move |connection| {
            let tx = begin(connection)?;
            let sql = "WITH RECURSIVE taken (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM taken WHERE n < ?1) \
                       INSERT INTO number (id) SELECT NULL FROM taken";
            change(&tx, "take a number", sql, [count])?;
            let last = tx.last_insert_rowid();
            tx.commit().during("take a number")?;
            Ok(RunId(last - i64::from(count) + 1))
        })
        .await
    }

    /// Records an accepted sweep, unless its key, an active run of its name or a budget has the last word. Its points may get
    /// their rows after the answer, and before anything else is done.
    pub async fn accept_sweep(&self, new: NewSweep) -> Result<SweepAcceptance, StoreError> {
        let books = self.books.clone();
        self.call_and_pay(move |connection| accept(connection, &books, new)).await
    }

    pub async fn sweep(&self, id: RunId) -> Result<Option<SweepRow>, StoreError> {
        self.call(move |connection| {
            let sql = format!("SELECT {SWEEP_COLUMNS} FROM sweep WHERE id = ?1");
            let found = connection.query_row(&sql, [id.0], sweep_row).optional();
            found.during("find a sweep")
        })
        .await
    }

    /// The run that a point is.
    pub async fn point(&self, sweep: RunId, point: u32) -> Result<Option<RunId>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT id FROM run WHERE sweep = ?1 AND point = ?2";
            let found = connection.query_row(sql, params![sweep.0, point], |row| row.get(0));
            Ok(found.optional().during("find a point")?.map(RunId))
        })
        .await
    }

    /// The sweeps that wait for others of their name which are not over yet. What is over is not waited for again.
    pub async fn waiting_sweeps(&self) -> Result<Vec<(RunId, RunId)>, StoreError> {
        self.call(|connection| {
            forget_what_is_over(connection)?;
            let sql = "SELECT sweep, other FROM sweep_waits_for WHERE EXISTS (SELECT 1 FROM run AS own \
                       WHERE own.sweep = sweep_waits_for.sweep AND own.sweep IS NOT NULL AND own.is_live) \
                       AND (EXISTS (SELECT 1 FROM run WHERE run.id = other AND is_live) \
                       OR EXISTS (SELECT 1 FROM run WHERE run.sweep = other AND run.sweep IS NOT NULL AND is_live)) \
                       ORDER BY sweep, other";
            let mut statement = connection.prepare_cached(sql).during("list waiting sweeps")?;
            let rows = statement.query_map([], |row| Ok((RunId(row.get(0)?), RunId(row.get(1)?))));
            rows.and_then(Iterator::collect).during("list waiting sweeps")
        })
        .await
    }
}

fn forget_what_is_over(connection: &mut Connection) -> Result<(), StoreError> {
    const WHAT: &str = "forget what sweeps waited for";
    let is_over = "NOT EXISTS (SELECT 1 FROM run WHERE run.id = other AND is_live) \
                   AND NOT EXISTS (SELECT 1 FROM run WHERE run.sweep = other AND run.sweep IS NOT NULL AND is_live)";
    let sql = format!("SELECT EXISTS (SELECT 1 FROM sweep_waits_for WHERE {is_over})");
    let any =
        connection.prepare_cached(&sql).and_then(|mut any| any.query_row([], |row| row.get(0)));
    if !any.during(WHAT)? {
        return Ok(());
    }
    let tx = begin(connection)?;
    change(&tx, WHAT, &format!("DELETE FROM sweep_waits_for WHERE {is_over}"), [])?;
    tx.commit().during(WHAT)
}

pub(super) const SWEEP_COLUMNS: &str =
    "id, name, owner, project, experiment, created_at, sweep_dir, points, about, key, closed_at";

pub(super) fn sweep_row(row: &Row<'_>) -> rusqlite::Result<SweepRow> {
    Ok(SweepRow {
        id: RunId(row.get(0)?),
        name: row.get(1)?,
        owner: row.get(2)?,
        project: row.get(3)?,
        experiment: row.get(4)?,
        created_at: time(row.get(5)?),
        sweep_dir: PathBuf::from(row.get::<_, String>(6)?),
        points: row.get(7)?,
        about: json(row, 8)?,
        key: row.get(9)?,
        closed_at: row.get::<_, Option<i64>>(10)?.map(time),
    })
}

/// Records it; gives what is owed, too.
pub(super) fn accept(
    connection: &mut Connection,
    books: &Books,
    mut new: NewSweep,
) -> Result<(SweepAcceptance, Option<Owed>), StoreError> {
    let tx = begin(connection)?;
    if let Some(keyed) = of_key(&tx, &new.owner, new.key.as_deref())? {
        return Ok((SweepAcceptance::KeyTaken(keyed), None));
    }
    let name = new.sets.first().map_or("", |set| &set.name);
    if new.if_active == IfActive::Skip
        && let Some(newest) = newest_active(&tx, &new.owner, name)?
    {
        return Ok((SweepAcceptance::Active(newest), None));
    }
    let active = active(&tx, &new.owner, name)?;
    if new.if_active == IfActive::Replace {
        close_all(&tx, (&new.owner, name), new.now)?;
    }
    let others = match new.if_active {
        IfActive::Queue | IfActive::Replace => active.as_slice(),
        IfActive::Submit | IfActive::Skip => &[],
    };
    let runs: Vec<RunId> = others.iter().map(|other| other.run).collect();
    let warning = match &new.asked {
        Some(asked) => match ledger::let_in(&tx, books, asked, &runs)? {
            Ok(warning) => warning,
            Err(Refusal::Short(why)) => return Ok((SweepAcceptance::OverBudget(why), None)),
            Err(Refusal::Wrong(why)) => Some(why),
        },
        None => None,
    };
    insert_sweep(&tx, &new)?;
    let is_open = open_ones(&tx, &new.owner, name)?;
    for other in others {
        // Points that an open one is told later do not hold it up.
        let own = other.sweep.is_some_and(|sweep| is_open.contains(&sweep));
        let number = if own { other.run } else { other.number() };
        let sql = "INSERT OR IGNORE INTO sweep_waits_for (sweep, other) VALUES (?1, ?2)";
        change(&tx, WHAT, sql, [new.id.0, number.0])?;
        if new.if_active == IfActive::Replace {
            wishes::insert(&tx, other.run, WishKind::Cancel, &new.owner, new.now)?;
        }
    }
    let begins = others.is_empty();
    let (intent, owed) = insert_points(&tx, books, &mut new, begins)?;
    point("sweep_written");
    tx.commit().during(WHAT)?;
    Ok((SweepAcceptance::Recorded { intent, warning }, owed))
}

fn insert_sweep(tx: &Transaction<'_>, new: &NewSweep) -> Result<(), StoreError> {
    let Some(first) = new.sets.first() else { return Ok(()) };
    let at = new.now.as_millisecond();
    change(
        tx,
        WHAT,
        "INSERT INTO sweep (id, name, owner, project, experiment, created_at, sweep_dir, key, spec_digest, spec, inputs, \
         points, about) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            new.id.0,
            first.name,
            new.owner,
            first.project,
            first.experiment,
            at,
            new.sweep_dir.display().to_string(),
            new.key,
            new.spec_digest,
            new.spec,
            to_json(&new.inputs, "the inputs of a sweep")?,
            i64::try_from(new.points.len()).unwrap_or(i64::MAX),
            to_json(&new.about, "a sweep")?,
        ],
    )?;
    for (idx, set) in new.sets.iter().enumerate() {
        let resolved = to_json(set, "a resolved spec")?;
        let sql = "INSERT INTO sweep_set (sweep, idx, resolved) VALUES (?1, ?2, ?3)";
        let idx = i64::try_from(idx).unwrap_or(i64::MAX);
        change(tx, WHAT, sql, params![new.id.0, idx, resolved])?;
    }
    for snapshot in &new.inputs.datasets {
        snapshots::insert(tx, None, snapshot)?;
    }
    Ok(())
}

/// What a point is given; none for a run that is none.
pub(super) fn given(connection: &Connection, run: RunId) -> Result<Option<Given>, StoreError> {
    const READ: &str = "read what a point is given";
    let sql = "SELECT given FROM run WHERE id = ?1 AND given IS NOT NULL";
    let mut statement = connection.prepare_cached(sql).during(READ)?;
    statement.query_row([run.0], |row| json(row, 0)).optional().during(READ)
}
