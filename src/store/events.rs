//! A run's history.

use jiff::Timestamp;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{RunId, SubmissionId};
use crate::domain::run::Note;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::time;
use crate::store::writer::begin;

/// One line of a run's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HistoryEvent {
    pub at: Timestamp,
    pub kind: String,
    pub message: String,
}

/// The newest lines of a history that are shown; a run that has more is in trouble, and its newest lines say which.
const EVENTS_SHOWN_MAX: u32 = 10_000;

pub(super) fn insert(
    tx: &Transaction<'_>,
    run: RunId,
    note: &Note,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO event (run, at, kind, message) VALUES (?1, ?2, ?3, ?4)";
    let values = params![run.0, at.as_millisecond(), note.kind, note.message];
    change(tx, "record an event", sql, values)
}

/// Adds a line to the history of each point of an array. It is one row however many those are.
pub(super) fn insert_shared(
    tx: &Transaction<'_>,
    submission: SubmissionId,
    note: &Note,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO array_event (submission, before, at, kind, message) \
               SELECT ?1, coalesce(max(id), 0) + 1, ?2, ?3, ?4 FROM event";
    let values = params![submission.0, at.as_millisecond(), note.kind, note.message];
    change(tx, "record an event", sql, values)
}

impl Store {
    /// Adds lines to a run's history.
    pub async fn tell(
        &self,
        run: RunId,
        notes: Vec<Note>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            for note in &notes {
                insert(&tx, run, note, at)?;
            }
            tx.commit().during("record events")
        })
        .await
    }

    /// A run's history, oldest first.
    pub async fn events(&self, run: RunId) -> Result<Vec<HistoryEvent>, StoreError> {
        self.call(move |connection| {
            // Of those that stand at one place the shared ones come first.
            let sql = "SELECT at, kind, message FROM ( \
                       SELECT id AS place, 1 AS own, id AS nth, at, kind, message FROM event WHERE run = ?1 \
                       UNION ALL SELECT before, 0, array_event.id, at, kind, message FROM element \
                       JOIN array_event ON array_event.submission = element.submission WHERE element.run = ?1 \
                       ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT ?2) ORDER BY place, own, nth";
            let mut statement = connection.prepare_cached(sql).during("read a history")?;
            let rows = statement
                .query_map(params![run.0, EVENTS_SHOWN_MAX], |row| {
                    Ok(HistoryEvent { at: time(row.get(0)?), kind: row.get(1)?, message: row.get(2)? })
                })
                .during("read a history")?;
            rows.collect::<rusqlite::Result<_>>().during("read a history")
        })
        .await
    }
}
