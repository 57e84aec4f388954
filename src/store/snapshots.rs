//! Snapshots of data: what each dataset was when a run was given it, and when somebody asked.

use rusqlite::{Transaction, params};

use crate::domain::dataset::Snapshot;
use crate::domain::ids::RunId;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::{json, readable, to_json};
use crate::store::writer::begin;

/// Snapshots of one path that are looked through.
const SNAPSHOTS_MAX: u32 = 10_000;

impl Store {
    /// Records what somebody asked for.
    pub async fn keep_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            insert(&tx, None, &snapshot)?;
            tx.commit().during("record a snapshot")
        })
        .await
    }

    /// What was found at a path, newest first, each with the run that was given it.
    pub async fn snapshots(
        &self,
        path: String,
        max: u32,
    ) -> Result<Vec<(Option<RunId>, Snapshot)>, StoreError> {
        self.call(move |connection| {
            let what = "list snapshots";
            let sql = "SELECT run, record FROM snapshot WHERE path = ?1 ORDER BY id DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(sql).during(what)?;
            let rows = statement
                .query_map(params![path, max.min(SNAPSHOTS_MAX)], |row| {
                    Ok((row.get::<_, Option<i64>>(0)?.map(RunId), json(row, 1)?))
                })
                .during(what)?;
            readable(rows, what)
        })
        .await
    }
}

pub(super) fn insert(
    tx: &Transaction<'_>,
    run: Option<RunId>,
    snapshot: &Snapshot,
) -> Result<(), StoreError> {
    change(
        tx,
        "record a snapshot",
        "INSERT INTO snapshot (path, run, fingerprint, record) VALUES (?1, ?2, ?3, ?4)",
        params![
            snapshot.path.display().to_string(),
            run.map(|run| run.0),
            snapshot.fingerprint(),
            to_json(snapshot, "a snapshot")?,
        ],
    )
}
