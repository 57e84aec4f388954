//! The runs that are not final, kept in memory beside the database.
//!
//! Each pass goes through all of them, and most of them have not changed since the last: only those are read again that
//! the database has touched. It tells so itself, whoever wrote, so that nothing that writes a run has to think of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::hooks::Action;
use rusqlite::{Connection, OptionalExtension};

use crate::domain::ids::RunId;
use crate::store::handle::{During, Store, StoreError};
use crate::store::runs::{COLUMNS, LastResolved, RunRow, readable, row_beside};

/// All runs that are not final, as they are recorded, by number: oldest first.
pub type LiveRuns = BTreeMap<RunId, Arc<RunRow>>;

/// What is known of the live runs. Only the database's thread looks into it.
#[derive(Debug, Clone, Default)]
pub(super) struct Live(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// `None` until they are first asked for.
    runs: Option<Arc<LiveRuns>>,
    /// Written since they were last asked for; a change that was rolled back is among them, and harmless.
    touched: BTreeSet<RunId>,
}

impl Live {
    /// Hears from the connection which runs it writes.
    pub(super) fn listen(&self, connection: &Connection) -> rusqlite::Result<()> {
        let live = self.clone();
        connection.update_hook(Some(move |_: Action, _: &str, table: &str, id: i64| {
            if table == "run" {
                live.lock().touched.insert(RunId(id));
            }
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runs(&self, connection: &Connection) -> Result<Arc<LiveRuns>, StoreError> {
        let known = &mut *self.lock();
        if known.runs.is_none() {
            known.runs = Some(Arc::new(live_runs(connection)?));
            known.touched.clear();
        }
        let runs = known.runs.get_or_insert_default();
        let mut last = None;
        // Taken out one by one: what could not be read is read the next time.
        while let Some(id) = known.touched.first().copied() {
            match live_run(connection, id, &mut last)? {
                Some(run) => Arc::make_mut(runs).insert(id, Arc::new(run)),
                None => Arc::make_mut(runs).remove(&id),
            };
            known.touched.remove(&id);
        }
        Ok(Arc::clone(runs))
    }
}

impl Store {
    /// All runs that are not final.
    pub async fn live(&self) -> Result<Arc<LiveRuns>, StoreError> {
        let live = self.live.clone();
        self.call(move |connection| live.runs(connection)).await
    }
}

fn live_runs(connection: &Connection) -> Result<LiveRuns, StoreError> {
    // Those of a name follow each other there: points of a set do.
    let sql = format!("SELECT {COLUMNS} FROM run INDEXED BY run_live WHERE is_live");
    let mut statement = connection.prepare_cached(&sql).during("list live runs")?;
    let mut last = None;
    let rows =
        statement.query_map([], |row| row_beside(row, &mut last)).during("list live runs")?;
    let rows = readable(rows, "list live runs")?;
    Ok(rows.into_iter().map(|row| (row.run.id, Arc::new(row))).collect())
}

/// The run, unless it is final, or cannot be read.
fn live_run(
    connection: &Connection,
    id: RunId,
    last: &mut LastResolved,
) -> Result<Option<RunRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM run WHERE id = ?1 AND is_live");
    let mut statement = connection.prepare_cached(&sql).during("read a live run")?;
    let found = statement.query_row([id.0], |row| row_beside(row, last)).optional();
    Ok(readable(found.transpose().into_iter(), "read a live run")?.pop())
}
