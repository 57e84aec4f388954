//! Runs as they are shown, read from the database.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::metrics::Progress;
use crate::domain::run::Attempt;
use crate::domain::view::{MetricView, Recorded, RunView};
use crate::store::{Filter, MetricPoint, RunRow, StoreError};

/// One run whole; `None` when there is none.
pub async fn run_view(world: &World, id: RunId) -> Result<Option<RunView>, StoreError> {
    let Some(row) = world.store.run(id).await? else { return Ok(None) };
    Ok(views(world, vec![row]).await?.pop())
}

/// Runs by filter, newest first, without their attempts.
pub async fn list_views(world: &World, filter: Filter) -> Result<Vec<RunView>, StoreError> {
    let rows = world.store.list(filter).await?;
    let mut views = views(world, rows).await?;
    for view in &mut views {
        view.attempts = None;
    }
    Ok(views)
}

async fn views(world: &World, rows: Vec<RunRow>) -> Result<Vec<RunView>, StoreError> {
    let ids: Vec<RunId> = rows.iter().map(|row| row.run.id).collect();
    let attempts = world.store.attempts_of(ids.clone()).await?;
    let metrics = world.store.newest_metrics(ids).await?;
    let now = world.clock.now();
    let with_details = rows.iter().zip(attempts).zip(metrics);
    Ok(with_details.map(|((row, attempts), metrics)| view(row, &attempts, metrics, now)).collect())
}

fn view(
    row: &RunRow,
    attempts: &[Attempt],
    (progress, points): (Progress, BTreeMap<String, MetricPoint>),
    now: Timestamp,
) -> RunView {
    let metrics = points
        .into_iter()
        .map(|(name, point)| {
            (name, MetricView { last: point.value, step: point.step, at: point.at })
        })
        .collect();
    let recorded = Recorded {
        run: &row.run,
        owner: &row.owner,
        key: row.key.as_deref(),
        created_at: row.created_at,
        submitted_at: row.submitted_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        run_dir: &row.run_dir,
        spec_digest: &row.spec_digest,
        resolved: &row.resolved,
        attempts,
        progress,
        metrics: &metrics,
    };
    RunView::of(recorded, now)
}
