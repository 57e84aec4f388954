//! What people asked for: a row written first and read by the next pass, never a message to it.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::domain::ids::RunId;
use crate::domain::run::{Wish, WishKind};
use crate::store::handle::{During, Store, StoreError};
use crate::store::runs::time;
use crate::store::writer::begin;

pub(super) fn insert(
    connection: &Connection,
    run: RunId,
    kind: WishKind,
    by: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    connection
        .execute(
            "INSERT INTO wish (run, kind, by, at) VALUES (?1, ?2, ?3, ?4)",
            params![run.0, kind.as_str(), by, at.as_millisecond()],
        )
        .map(drop)
        .during("record a wish")
}

/// Marks wishes as taken.
pub(super) fn close(connection: &Connection, wishes: &[i64]) -> Result<(), StoreError> {
    for wish in wishes {
        connection
            .execute("UPDATE wish SET done = 1 WHERE id = ?1", [wish])
            .during("close a wish")?;
    }
    Ok(())
}

impl Store {
    pub async fn wish(
        &self,
        run: RunId,
        kind: WishKind,
        by: String,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            insert(&tx, run, kind, &by, at)?;
            tx.commit().during("record a wish")
        })
        .await
    }

    /// Wishes that no pass has taken, oldest first. One that this version does not know stays open for one that does;
    /// one for a run that is over meanwhile is closed.
    pub async fn open_wishes(&self) -> Result<Vec<(RunId, Wish)>, StoreError> {
        self.call(|connection| {
            let late = "UPDATE wish SET done = 1 WHERE done = 0 AND kind = 'cancel' AND EXISTS (SELECT 1 FROM run \
                        WHERE run.id = wish.run AND run.state IN ('completed', 'failed', 'cancelled'))";
            let sql = "SELECT run, id, kind, by, at FROM wish WHERE done = 0 ORDER BY id";
            let mut statement = connection.prepare_cached(sql).during("read wishes")?;
            let rows = statement
                .query_map([], |row| {
                    let kind = WishKind::from_word(row.get_ref(2)?.as_str()?);
                    let (run, id, by, at) = (RunId(row.get(0)?), row.get(1)?, row.get(3)?, time(row.get(4)?));
                    Ok(kind.map(|kind| (run, Wish { id, kind, by, at })))
                })
                .during("read wishes")?;
            let wishes: Vec<_> =
                rows.filter_map(Result::transpose).collect::<rusqlite::Result<_>>().during("read wishes")?;
            if !wishes.is_empty() {
                connection.execute(late, []).during("close late wishes")?;
            }
            Ok(wishes)
        })
        .await
    }
}
