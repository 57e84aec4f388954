//! How long starts have waited, read off the attempts.

use jiff::Timestamp;
use rusqlite::Row;

use crate::domain::waits::Waited;
use crate::store::handle::{During, Store, StoreError};
use crate::store::runs::RESOLVED;

impl Store {
    /// The newest starts that came, at most so many, on clusters: what runs on this machine waits for nobody.
    pub async fn waits(&self, count_max: u32) -> Result<Vec<Waited>, StoreError> {
        self.call(move |connection| {
            let class = format!("json_extract({RESOLVED}, '$.compute.class')");
            let sql = format!("SELECT {class}, json_extract({RESOLVED}, '$.compute.nodes'), \
                       coalesce(json_extract(attempt.record, '$.eligible_at'), json_extract(attempt.record, '$.submitted_at')), \
                       json_extract(attempt.record, '$.started_at') \
                       FROM attempt JOIN run ON run.id = attempt.run \
                       WHERE json_extract(attempt.record, '$.started_at') IS NOT NULL \
                       AND {class} <> 'local' \
                       ORDER BY attempt.submission DESC LIMIT ?1");
            let mut statement = connection.prepare_cached(&sql).during("read how long starts waited")?;
            let rows = statement.query_map([count_max], waited).during("read how long starts waited")?;
            let found = rows.collect::<rusqlite::Result<Vec<Option<Waited>>>>();
            Ok(found.during("read how long starts waited")?.into_iter().flatten().collect())
        })
        .await
    }
}

/// None where a time cannot be read.
fn waited(row: &Row<'_>) -> rusqlite::Result<Option<Waited>> {
    let time = |index: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, String>(index)?.parse().ok())
    };
    let Some((since, started)) = time(2)?.zip(time(3)?) else { return Ok(None) };
    let seconds = started.duration_since(since).as_secs_f64().max(0.0);
    Ok(Some(Waited { class: row.get(0)?, nodes: row.get(1)?, since, seconds }))
}
