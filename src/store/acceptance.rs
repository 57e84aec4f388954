//! Taking a run in: its number, and whether its key or an active run of its name has the last word.

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::domain::ids::RunId;
use crate::domain::inputs::Inputs;
use crate::domain::ledger::{Asked, Refusal};
use crate::domain::request::IfActive;
use crate::domain::resolved::Resolved;
use crate::domain::run::{Note, Run, WishKind};
use crate::fault::point;
use crate::store::books::Books;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::open_sweeps::{close_all, newest_open};
use crate::store::runs::to_json;
use crate::store::submissions::{Intending, Intent, Start, intend};
use crate::store::writer::begin;
use crate::store::{events, ledger, retention, secrets, snapshots, wishes};

/// A run that is about to be accepted; its directory is made already.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: RunId,
    pub owner: String,
    pub key: Option<String>,
    pub spec_digest: String,
    pub spec: String,
    pub resolved: Resolved,
    pub inputs: Inputs,
    pub run_dir: PathBuf,
    /// What the owner's active runs of the same name mean for it.
    pub if_active: IfActive,
    /// As what it is submitted at once, where nothing but the owner's active runs can hold it up.
    pub start: Option<Start>,
    /// What its project's budget has to hold for it, at once or later.
    pub asked: Option<Asked>,
    pub now: Timestamp,
}

/// A run that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    pub run: RunId,
    /// The sweep that it is a point of.
    pub sweep: Option<RunId>,
}

impl Active {
    /// What people know it by: a sweep stands for its points.
    pub fn number(self) -> RunId {
        self.sweep.unwrap_or(self.run)
    }
}

/// A run, or the first point of a sweep, that has a key; an open sweep itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    pub run: RunId,
    pub spec_digest: String,
    /// It is an open sweep itself.
    pub is_sweep: bool,
    /// Its files were deleted.
    pub is_deleted: bool,
}

/// What became of a new run. Decided in the transaction that would record it, so that of several at once each sees the
/// others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance {
    Recorded(Recorded),
    /// Its project's budget has no room for it. In words.
    OverBudget(String),
    KeyTaken(Keyed),
    /// The newest active run, instead of a new one; an open sweep that has none.
    Active(RunId),
}

/// A run that was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// To submit it, where it starts at once.
    pub intent: Option<Intent>,
    /// What its owner is told about its project's budget.
    pub warning: Option<String>,
}

impl Store {
    /// Takes the next number. It is nobody's until a run is recorded under it: until then only its directory may have it.
    pub async fn next_number(&self) -> Result<RunId, StoreError> {
        self.call_unsynced(|connection| {
            let tx = begin(connection)?;
            change(&tx, "take a run number", "INSERT INTO number DEFAULT VALUES", [])?;
            let number = tx.last_insert_rowid();
            tx.commit().during("take a run number")?;
            Ok(RunId(number))
        })
        .await
    }

    /// Records an accepted run, unless its key, an active run of its name or a budget has the last word.
    pub async fn accept(&self, new: NewRun) -> Result<Acceptance, StoreError> {
        let books = self.books.clone();
        self.call(move |connection| {
            let tx = begin(connection)?;
            if let Some(keyed) = of_key(&tx, &new.owner, new.key.as_deref())? {
                return Ok(Acceptance::KeyTaken(keyed));
            }
            if new.if_active == IfActive::Skip
                && let Some(newest) = newest_active(&tx, &new.owner, &new.resolved.name)?
            {
                return Ok(Acceptance::Active(newest));
            }
            let active = active(&tx, &new.owner, &new.resolved.name)?;
            let others: Vec<RunId> = match new.if_active {
                IfActive::Queue | IfActive::Replace => active.iter().map(|it| it.run).collect(),
                IfActive::Submit | IfActive::Skip => Vec::new(),
            };
            let warning = match room_for(&tx, &books, &new, &others)? {
                Ok(warning) => warning,
                Err(refusal) => return Ok(Acceptance::OverBudget(refusal)),
            };
            let run = insert(&tx, &new)?;
            wait_for(&tx, new.id, &others)?;
            if new.if_active == IfActive::Replace {
                close_all(&tx, (&new.owner, &new.resolved.name), new.now)?;
                for other in &others {
                    wishes::insert(&tx, *other, WishKind::Cancel, &new.owner, new.now)?;
                }
            }
            let intent = match new.start {
                Some(start) if others.is_empty() => {
                    let NewRun { run_dir, owner, now, .. } = new;
                    let intending = Intending { run, run_dir, owner, start };
                    // Where the ledger is wrong the run waits.
                    intend(&tx, &books, intending, now)?.ok().map(|(_, intent)| intent)
                }
                Some(_) | None => None,
            };
            point("acceptance_written");
            tx.commit().during("accept a run")?;
            Ok(Acceptance::Recorded(Recorded { intent, warning }))
        })
        .await
    }

    /// Whom a new run of an owner's name would find active.
    pub async fn newest_active(
        &self,
        owner: &str,
        name: &str,
    ) -> Result<Option<RunId>, StoreError> {
        let (owner, name) = (owner.to_owned(), name.to_owned());
        self.call(move |connection| newest_active(connection, &owner, &name)).await
    }

    /// The run that a key was given to.
    pub async fn with_key(&self, owner: String, key: String) -> Result<Option<Keyed>, StoreError> {
        self.call(move |connection| of_key(connection, &owner, Some(&key))).await
    }
}

/// Whether a budget has room for a new run, once the runs are over that it waits for; then what its owner is told.
fn room_for(
    tx: &Transaction<'_>,
    books: &Books,
    new: &NewRun,
    others: &[RunId],
) -> Result<Result<Option<String>, String>, StoreError> {
    let Some(asked) = &new.asked else { return Ok(Ok(None)) };
    Ok(match ledger::let_in(tx, books, asked, others)? {
        Ok(warning) => Ok(warning),
        Err(Refusal::Short(why)) => Err(why),
        Err(Refusal::Wrong(why)) => Ok(Some(why)),
    })
}

pub(super) fn of_key(
    connection: &Connection,
    owner: &str,
    key: Option<&str>,
) -> Result<Option<Keyed>, StoreError> {
    let Some(key) = key else { return Ok(None) };
    connection
        .query_row(
            "SELECT id, spec_digest, deleted_at IS NOT NULL, 0 FROM run WHERE owner = ?1 AND key = ?2 \
             UNION ALL SELECT id + (about ->> '$.method' <> 'open'), spec_digest, 0, \
             about ->> '$.method' = 'open' FROM sweep WHERE owner = ?1 AND key = ?2",
            [owner, key],
            |row| {
                Ok(Keyed {
                    run: RunId(row.get(0)?),
                    spec_digest: row.get(1)?,
                    is_deleted: row.get(2)?,
                    is_sweep: row.get(3)?,
                })
            },
        )
        .optional()
        .during("look up a key")
}

/// The newest of an owner's runs of a name that are not final, else the newest sweep of it that is open.
pub(super) fn newest_active(
    connection: &Connection,
    owner: &str,
    name: &str,
) -> Result<Option<RunId>, StoreError> {
    match active(connection, owner, name)?.first() {
        Some(newest) => Ok(Some(newest.run)),
        None => newest_open(connection, owner, name),
    }
}

/// An owner's runs of a name that are not final, newest first.
pub(super) fn active(
    connection: &Connection,
    owner: &str,
    name: &str,
) -> Result<Vec<Active>, StoreError> {
    let sql =
        "SELECT id, sweep FROM run WHERE owner = ?1 AND name = ?2 AND is_live ORDER BY id DESC";
    let mut statement = connection.prepare_cached(sql).during("find active runs")?;
    let rows = statement
        .query_map([owner, name], |row| {
            let sweep: Option<i64> = row.get(1)?;
            Ok(Active { run: RunId(row.get(0)?), sweep: sweep.map(RunId) })
        })
        .during("find active runs")?;
    rows.collect::<rusqlite::Result<_>>().during("find active runs")
}

fn wait_for(tx: &Transaction<'_>, run: RunId, others: &[RunId]) -> Result<(), StoreError> {
    for other in others {
        let sql = "INSERT INTO waits_for (run, other) VALUES (?1, ?2)";
        change(tx, "record what a run waits for", sql, params![run.0, other.0])?;
    }
    Ok(())
}

fn insert(tx: &Transaction<'_>, new: &NewRun) -> Result<Run, StoreError> {
    let run = match &new.resolved.environment.requirements {
        Some(_) => Run::to_prepare(new.id),
        None => Run::accepted(new.id),
    };
    let (_, message) = run.state.reason_and_message();
    change(
        tx,
        "record a new run",
        "INSERT INTO run (id, name, owner, project, state, message, created_at, run_dir, key, spec_digest, machine, \
         resolved, spec, inputs) VALUES (?1, ?2, ?3, ?4, ?5, ?14, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            new.id.0,
            new.resolved.name,
            new.owner,
            new.resolved.project,
            run.state.as_str(),
            new.now.as_millisecond(),
            new.run_dir.display().to_string(),
            new.key,
            new.spec_digest,
            to_json(&run, "a new run")?,
            to_json(&new.resolved, "a resolved spec")?,
            new.spec,
            to_json(&new.inputs, "the inputs of a run")?,
            message,
        ],
    )?;
    if new.resolved.environment.secrets.is_some() {
        secrets::insert(tx, new.id)?;
    }
    if new.resolved.retention().is_some() {
        retention::insert(tx, new.id)?;
    }
    let accepted = Note { kind: "accepted".into(), message: format!("submitted by {}", new.owner) };
    events::insert(tx, new.id, &accepted, new.now)?;
    for snapshot in &new.inputs.datasets {
        snapshots::insert(tx, Some(new.id), snapshot)?;
    }
    Ok(run)
}
