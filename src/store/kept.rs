//! What is still needed of what runs were given, and runs whose files were deleted.

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::domain::ids::RunId;
use crate::domain::inputs::CodeDigest;
use crate::domain::run::Note;
use crate::store::events;
use crate::store::handle::{During, Store, StoreError};
use crate::store::runs::{INPUTS, RESOLVED};
use crate::store::writer::begin;

/// The captured code of one run that was not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeUse {
    pub run: RunId,
    pub run_root: PathBuf,
    /// None for runs from before code was captured.
    pub digest: Option<CodeDigest>,
}

impl Store {
    /// What every run uses whose files were not deleted.
    pub async fn code_uses(&self) -> Result<Vec<CodeUse>, StoreError> {
        self.call(|connection| code_uses(connection)).await
    }

    /// Records that a run's files are deleted; once.
    pub async fn delete(&self, run: RunId, who: String, at: Timestamp) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "UPDATE run SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
            let new =
                tx.execute(sql, params![run.0, at.as_millisecond()]).during("delete a run")?;
            if new > 0 {
                let message = format!("its files were deleted by {who}");
                events::insert(&tx, run, &Note { kind: "deleted".into(), message }, at)?;
            }
            tx.commit().during("delete a run")
        })
        .await
    }
}

fn code_uses(connection: &Connection) -> Result<Vec<CodeUse>, StoreError> {
    const WHAT: &str = "find the code that is used";
    let sql = format!(
        "SELECT id, json_extract({RESOLVED}, '$.run_root'), json_extract({INPUTS}, '$.code.digest') \
         FROM run WHERE deleted_at IS NULL"
    );
    let mut statement = connection.prepare_cached(&sql).during(WHAT)?;
    let rows = statement.query_map([], |row| {
        let digest: Option<String> = row.get(2)?;
        Ok(CodeUse {
            run: RunId(row.get(0)?),
            run_root: PathBuf::from(row.get::<_, String>(1)?),
            digest: digest.and_then(|digest| CodeDigest::try_from(digest).ok()),
        })
    });
    rows.during(WHAT)?.collect::<rusqlite::Result<_>>().during(WHAT)
}
