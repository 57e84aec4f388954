//! What people asked for: a row written first and read by the next pass, never a message to it.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::domain::ids::RunId;
use crate::domain::run::{Wish, WishKind};
use crate::store::handle::{During, Store, StoreError};
use crate::store::runs::time;

pub(super) fn insert(
    connection: &Connection,
    run: RunId,
    kind: WishKind,
    by: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let word = match kind {
        WishKind::Cancel => "cancel",
        WishKind::Resume => "resume",
    };
    connection
        .execute(
            "INSERT INTO wish (run, kind, by, at) VALUES (?1, ?2, ?3, ?4)",
            params![run.0, word, by, at.as_millisecond()],
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
        self.call(move |connection| insert(connection, run, kind, &by, at)).await
    }

    /// Wishes that no pass has taken, oldest first.
    pub async fn open_wishes(&self) -> Result<Vec<(RunId, Wish)>, StoreError> {
        self.call(|connection| {
            let sql = "SELECT run, id, kind, by, at FROM wish WHERE done = 0 ORDER BY id";
            let mut statement = connection.prepare_cached(sql).during("read wishes")?;
            let rows = statement
                .query_map([], |row| {
                    let kind = match row.get_ref(2)?.as_str()? {
                        "resume" => WishKind::Resume,
                        _ => WishKind::Cancel,
                    };
                    Ok((
                        RunId(row.get(0)?),
                        Wish { id: row.get(1)?, kind, by: row.get(3)?, at: time(row.get(4)?) },
                    ))
                })
                .during("read wishes")?;
            rows.collect::<rusqlite::Result<_>>().during("read wishes")
        })
        .await
    }
}
