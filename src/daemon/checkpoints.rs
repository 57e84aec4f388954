//! The checkpoint catalogue of a run, made when it is asked for.

use std::path::Path;

use crate::daemon::world::World;
use crate::domain::checkpoint::{CatalogueView, Start, catalogue};
use crate::domain::ids::RunId;
use crate::ports::{Hands, Silence};
use crate::store::{StoreError, WholeRun};

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("cannot look at the checkpoints")]
    Files(#[source] Silence),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the run's checkpoint directory holds; `None` when there is no such run.
pub async fn checkpoints(
    world: &World,
    id: RunId,
) -> Result<Option<CatalogueView>, CatalogueError> {
    let Some(WholeRun { row, attempts, .. }) = world.store.whole(id).await? else {
        return Ok(None);
    };
    let directory = row.run_dir.join(&row.resolved.checkpoint_directory);
    // One that lies elsewhere may be on a mount of its own.
    let is_inside = directory.starts_with(&row.run_dir);
    let mount: &Path = if is_inside { &row.resolved.run_root } else { &directory };
    let walk = {
        let (directory, wanted) = (directory.clone(), row.resolved.wanted_format());
        move |hands: &dyn Hands| hands.checkpoints(&directory, wanted)
    };
    let walked = world.with_hands(mount, walk).await.map_err(CatalogueError::Files)?;
    let starts: Vec<Start> = attempts
        .iter()
        .filter_map(|attempt| {
            let at = attempt.started_at?;
            Some(Start { attempt: attempt.n, at, is_running: attempt.ended_at.is_none() })
        })
        .collect();
    let directory = directory.to_string_lossy().into_owned();
    let mut view = catalogue(directory, walked, &starts, world.clock.now());
    let steps = view.checkpoints.iter().filter_map(|one| one.step).collect();
    let metrics = world.store.metrics_at(id, steps).await?;
    for one in &mut view.checkpoints {
        let reported = one.step.and_then(|step| metrics.get(&step));
        one.metrics = reported.cloned().unwrap_or_default();
    }
    Ok(Some(view))
}
