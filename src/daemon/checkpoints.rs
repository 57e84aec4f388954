//! The checkpoint catalogue of a run, made when it is asked for.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::daemon::world::World;
use crate::domain::checkpoint::{
    Branch, CatalogueView, CheckpointView, Saved, Start, Walked, catalogue, newest,
};
use crate::domain::ids::RunId;
use crate::domain::run::{JobEnd, Look, Phase, Seen, State};
use crate::ports::{Hands, Silence};
use crate::store::{RunRow, StoreError, WholeRun};

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
    let Some(run) = world.store.whole(id).await? else { return Ok(None) };
    let (view, walked) = look(world, &run).await?;
    world.retaining.saw(&run.row, newest(&walked.found, run.row.run.branch.as_ref()));
    Ok(Some(view))
}

/// Looks at what a run has saved, and puts it into the run's history.
pub(super) async fn look(
    world: &World,
    run: &WholeRun,
) -> Result<(CatalogueView, Walked), CatalogueError> {
    let WholeRun { row, attempts, .. } = run;
    let walked = walk(world, row).await.map_err(CatalogueError::Files)?;
    let starts: Vec<Start> = attempts
        .iter()
        .filter_map(|attempt| {
            let at = attempt.started_at?;
            Some(Start { attempt: attempt.n, at, is_running: attempt.ended_at.is_none() })
        })
        .collect();
    let directory = row.checkpoint_directory().to_string_lossy().into_owned();
    let mut view = catalogue(directory, walked.clone(), &starts, world.clock.now());
    let steps = view.checkpoints.iter().filter_map(|one| one.step).collect();
    let metrics = world.store.metrics_at(row.run.id, steps).await?;
    for one in &mut view.checkpoints {
        let reported = one.step.and_then(|step| metrics.get(&step));
        one.metrics = reported.cloned().unwrap_or_default();
    }
    Ok((view, walked))
}

/// What files of a run's checkpoints are asked for under: one that lies elsewhere may be on a mount of its own.
pub(super) fn mount(row: &RunRow) -> PathBuf {
    let directory = row.checkpoint_directory();
    let is_inside = directory.starts_with(&row.run_dir);
    if is_inside { row.resolved.run_root.clone() } else { directory }
}

/// Looks at the run's checkpoint directory.
pub(super) async fn walk(world: &World, row: &RunRow) -> Result<Walked, Silence> {
    let directory = row.checkpoint_directory();
    let wanted = row.resolved.wanted_format();
    world
        .with_hands(&mount(row), move |hands: &dyn Hands| hands.checkpoints(&directory, wanted))
        .await
}

/// What the run has saved by the end of an attempt is what the next one can go on from. While its file system is silent
/// nobody can tell whether the run may come back, so such an end waits.
pub(super) async fn see_saved(world: &World, row: &RunRow, seen: &mut Seen) {
    if row.resolved.checkpoint.is_none() || !row.run.is_end_of_attempt(&seen.look) {
        return;
    }
    match walk(world, row).await {
        Ok(walked) => seen.saved = Some(Saved::of(&walked.found, row.run.branch.as_ref())),
        Err(silence) if may_return(row, &seen.look) => seen.look = Look::from(&silence),
        Err(_) => {}
    }
}

fn may_return(row: &RunRow, look: &Look) -> bool {
    let is_done = match look {
        Look::Job(shown) => {
            matches!(shown.phase, Phase::Ended { end: JobEnd::Completed | JobEnd::Cancelled, .. })
        }
        Look::Absent | Look::NotAsked | Look::Silence { .. } => false,
    };
    let is_stopping = matches!(row.run.state, State::Stopping { .. });
    !is_done && !is_stopping && row.run.restarts < row.resolved.failure.max_restarts
}

/// Why a checkpoint cannot be chosen to go on from.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    #[error("there is no checkpoint of step {0}")]
    Unknown(i64),
    #[error("the checkpoint of step {step} is not complete: {why}")]
    Incomplete { step: i64, why: String },
}

/// The newest complete checkpoint of a step, as something to go on from; else why not, and the steps of those that are
/// complete, newest first.
pub fn choose(
    catalogue: &CatalogueView,
    step: i64,
    at: Timestamp,
) -> Result<Branch, (ChoiceError, Vec<i64>)> {
    let of_step = || catalogue.checkpoints.iter().filter(|one| one.step == Some(step));
    // Bash reads its path as a line.
    let is_plain = |one: &&CheckpointView| !one.path.chars().any(char::is_control);
    if let Some(one) = of_step().find(|one| one.complete && is_plain(one)) {
        return Ok(Branch { path: one.path.clone(), step: one.step, at });
    }
    let complete = catalogue.checkpoints.iter().filter(|one| one.complete);
    let error = match of_step().next() {
        Some(one) => ChoiceError::Incomplete { step, why: one.why.clone().unwrap_or_default() },
        None => ChoiceError::Unknown(step),
    };
    Err((error, complete.filter_map(|one| one.step).collect()))
}
