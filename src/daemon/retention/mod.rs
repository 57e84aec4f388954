//! Taking away the checkpoints that a run does not keep, beside the pass.
//!
//! [`crate::domain::checkpoint::plan`] says which. What was renamed and not removed yet, since this was interrupted, is removed the next time.

mod plan;
mod progress;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::daemon::checkpoints::{CatalogueError, look, mount};
use crate::daemon::retention::plan::{name, planned};
use crate::daemon::retention::progress::{Done, Outcome};
use crate::daemon::world::World;
use crate::domain::checkpoint::{Found, Go, Mark, Saved, Walked, newest};
use crate::domain::ids::RunId;
use crate::domain::run::{Decision, Note};
use crate::domain::units::Bytes;
use crate::fault::point;
use crate::ports::{ArchiveOrder, Archived, Doomed, Hands, Silence};
use crate::store::{LiveRuns, RunRow, StoreError};

pub(super) use progress::Retaining;

pub use plan::retention_plan;

/// Runs that are over and are looked at in one pass.
const OVER_MAX: u32 = 20;
/// A checkpoint may have many files, and a file system may be slow.
const DEADLINE: Duration = Duration::from_mins(15);

/// Why the checkpoints of a run could not all be looked through.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Look(#[from] CatalogueError),
    #[error(transparent)]
    Files(#[from] Silence),
    #[error("cannot archive the checkpoint {path}")]
    Archive { path: String, source: Silence },
    #[error("{0}")]
    Left(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the run has changed meanwhile")]
    Changed,
}

/// Begins with the runs that have something new, one on each file system. Gives how many are over and still have some to
/// remove.
pub(super) async fn begin(world: &Arc<World>, live: &LiveRuns) -> Result<usize, StoreError> {
    let over = world.store.retention_due(OVER_MAX).await?;
    let of_live = live.values().map(Arc::as_ref).filter(|row| row.resolved.retention().is_some());
    for row in of_live.chain(&over) {
        let (run, mount) = (row.run.id, mount(row));
        if world.retaining.take_on(row, &mount, world.clock.now()) {
            let world = Arc::clone(world);
            world.tasks.clone().spawn(async move { work(&world, run, &mount).await });
        }
    }
    Ok(over.len())
}

async fn work(world: &World, run: RunId, mount: &Path) {
    let outcome = match retain(world, run).await {
        Ok(done) => Outcome::Done(done),
        Err(Trouble::Changed) => Outcome::Changed,
        Err(trouble) => Outcome::Failed(told(world, run, &trouble).await),
    };
    let is_done = matches!(outcome, Outcome::Done(_));
    world.retaining.leave(run, mount, outcome, world.clock.now());
    if is_done && let Err(error) = note_over(world, run).await {
        warn!(
            run.id = run.0,
            "cannot record that the checkpoints of run {run} were looked through: {error}"
        );
    }
    // Another run may wait for the file system.
    world.nudge.notify_one();
}

/// A run that is over is done with.
async fn note_over(world: &World, run: RunId) -> Result<(), StoreError> {
    let Some(row) = world.store.run(run).await? else { return Ok(()) };
    if row.run.state.is_final()
        && let Some(ended) = row.ended_at
    {
        world.store.retention_done(run, ended).await?;
        world.retaining.forget(run);
    }
    Ok(())
}

/// Says what failed: once, however often it is tried.
async fn told(world: &World, run: RunId, trouble: &Trouble) -> String {
    let words = crate::chain(trouble);
    if !world.retaining.is_news(run, &words) {
        debug!(
            run.id = run.0,
            "the checkpoints of run {run} still cannot be looked through: {words}"
        );
        return words;
    }
    warn!(run.id = run.0, "the checkpoints of run {run} are not all looked through: {words}");
    let message = match trouble {
        Trouble::Archive { .. } => format!("{words}; it stays where it is, and is tried again"),
        Trouble::Left(_) => words.clone(),
        Trouble::Look(_) | Trouble::Files(_) | Trouble::Store(_) | Trouble::Changed => {
            return words;
        }
    };
    let note = Note { kind: "retention".to_owned(), message };
    if let Err(error) = world.store.tell(run, vec![note], world.clock.now()).await {
        warn!(run.id = run.0, "cannot record an event of run {run}: {error}");
    }
    world.changed();
    words
}

/// Looks through the checkpoints of a run, and takes away those that go.
async fn retain(world: &World, id: RunId) -> Result<Done, Trouble> {
    let Some(run) = world.store.whole(id).await? else { return Ok(Done::default()) };
    let row = &run.row;
    let Some(rules) = row.resolved.retention().filter(|_| row.deleted_at.is_none()) else {
        return Ok(Done::default());
    };
    if let Some(other) = shares(world, row).await? {
        let why =
            format!("run {other} is under way and saves there too: no checkpoint goes meanwhile");
        return Err(Trouble::Left(why));
    }
    let (mut view, mut walked) = look(world, &run).await?;
    finish(world, row, &walked.leftovers).await?;
    let mut made = planned(world, &run, rules, (&mut view, &walked)).await?;
    let mut places: HashMap<String, PathBuf> = HashMap::new();
    let mut trouble = None;
    if let Some(archive) = rules.archive.as_ref().filter(|_| !made.go.is_empty()) {
        for one in &made.go {
            match copied(world, row, archive, &one.path).await {
                Ok(place) => drop(places.insert(one.path.clone(), place)),
                Err(source) => {
                    trouble = Some(Trouble::Archive { path: one.path.clone(), source });
                    break;
                }
            }
        }
        // That may have taken hours.
        (view, walked) = look(world, &run).await?;
        made = planned(world, &run, rules, (&mut view, &walked)).await?;
        made.go.retain(|one| places.contains_key(&one.path));
    }
    if !made.go.is_empty() {
        point("checkpoints_planned");
        let hidden = hide(world, row, &walked, &made.go).await?;
        for (one, hidden) in made.go.iter().zip(hidden) {
            match hidden {
                Ok(hidden) => remove(world, row, one, (&hidden, places.get(&one.path))).await?,
                Err(why) => trouble = Some(Trouble::Left(why)),
            }
        }
        (_, walked) = look(world, &run).await?;
        record(world, id, &walked).await?;
    }
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let saved = world.store.run(id).await?.and_then(|row| row.run.saved?.newest);
    // What was being written when that was planned is looked through once it is not.
    let is_done = |one: &&Found| {
        view.checkpoints.iter().any(|shown| shown.complete && shown.path == one.path)
    };
    let newest = newest(&walked.found, row.run.branch.as_ref()).filter(is_done).map(Mark::of);
    Ok(Done { saved, newest })
}

/// Another run that is under way and may go on from what lies there: where a spec names a directory outside the run's own.
async fn shares(world: &World, row: &RunRow) -> Result<Option<RunId>, StoreError> {
    let own = row.checkpoint_directory();
    if own.starts_with(&row.run_dir) {
        return Ok(None);
    }
    let live = world.store.live().await?;
    let mut others = live.values().filter(|other| other.run.id != row.run.id);
    let shared = others.find(|other| {
        let theirs = other.checkpoint_directory();
        theirs.starts_with(&own) || own.starts_with(&theirs)
    });
    Ok(shared.map(|other| other.run.id))
}

/// Copies a checkpoint to the archive. Gives its place there.
async fn copied(
    world: &World,
    row: &RunRow,
    archive: &Path,
    path: &str,
) -> Result<PathBuf, Silence> {
    let directory = row.checkpoint_directory();
    let path = PathBuf::from(path);
    let relative = path.strip_prefix(&directory).unwrap_or(&path);
    let place = name(row).join(relative);
    let (run_dir, archive_path) = (row.run_dir.clone(), archive.to_owned());
    let order = ArchiveOrder { directory, run_dir, place, archive: archive_path, path };
    let mut done = None;
    loop {
        let order = order.clone();
        let copy = move |hands: &dyn Hands| hands.archive_checkpoint(&order, done);
        match world.with_hands_within(archive, DEADLINE, copy).await? {
            Archived::Whole(place) => return Ok(place),
            Archived::UpTo(next) => done = Some(next),
        }
    }
}

/// Renames those that go, so that they are none any more, if the run is still as it was when that was decided.
async fn hide(
    world: &World,
    row: &RunRow,
    walked: &Walked,
    go: &[Go],
) -> Result<Vec<Result<PathBuf, String>>, Trouble> {
    let is_directory =
        |path: &str| walked.found.iter().any(|one| one.path == path && one.is_directory);
    let doomed =
        |one: &Go| Doomed { path: PathBuf::from(&one.path), is_directory: is_directory(&one.path) };
    let doomed: Vec<Doomed> = go.iter().map(doomed).collect();
    let _choosing = world.retaining.choosing.lock().await;
    let now = world.store.run(row.run.id).await?;
    let is_same = now.is_some_and(|now| {
        let (was, is) = (&row.run, &now.run);
        now.deleted_at.is_none()
            && is.holds() == was.holds()
            && is.attempts == was.attempts
            && is.state.is_final() == was.state.is_final()
    });
    if !is_same {
        return Err(Trouble::Changed);
    }
    let directory = row.checkpoint_directory();
    let hide = move |hands: &dyn Hands| Ok(hands.hide_checkpoints(&directory, &doomed));
    Ok(world.with_hands(&mount(row), hide).await?)
}

/// Records that a checkpoint is gone, and removes what it was.
async fn remove(
    world: &World,
    row: &RunRow,
    one: &Go,
    (hidden, archived): (&Path, Option<&PathBuf>),
) -> Result<(), Trouble> {
    let mut bytes = one.bytes;
    if bytes.is_none() {
        let path = hidden.to_owned();
        let weigh = move |hands: &dyn Hands| hands.weigh(&path);
        let weighed = world.with_hands_within(&mount(row), DEADLINE, weigh).await;
        bytes = weighed.ok().map(|weight| weight.bytes);
    }
    let size = bytes.map_or("of unknown size".to_owned(), |bytes| Bytes(bytes).to_string());
    let what = match one.step {
        Some(step) => format!("the checkpoint of step {step} ({}, {size})", one.path),
        None => format!("the checkpoint {} ({size})", one.path),
    };
    let (kind, message) = match archived {
        Some(place) => ("archived", format!("{what} is moved to {}: {}", place.display(), one.why)),
        None => ("removed", format!("{what} is deleted: {}", one.why)),
    };
    clear(world, row, hidden, (kind, message)).await
}

/// Removes what earlier times have renamed and not removed.
async fn finish(world: &World, row: &RunRow, leftovers: &[PathBuf]) -> Result<(), Trouble> {
    for hidden in leftovers {
        let name = hidden.file_name().unwrap_or_default().to_string_lossy();
        let name = name.trim_start_matches(crate::domain::checkpoint::layout::REMOVED);
        let message = format!("the removal of `{name}`, which was interrupted, is finished");
        clear(world, row, hidden, ("removed", message)).await?;
    }
    Ok(())
}

async fn clear(
    world: &World,
    row: &RunRow,
    hidden: &Path,
    (kind, message): (&str, String),
) -> Result<(), Trouble> {
    let id = row.run.id;
    info!(run.id = id.0, run.name = %row.name, "run {id}: {message}");
    let note = Note { kind: kind.to_owned(), message };
    point("checkpoint_hidden");
    world.store.tell(id, vec![note], world.clock.now()).await?;
    let (directory, hidden) = (row.checkpoint_directory(), hidden.to_owned());
    let remove = move |hands: &dyn Hands| hands.remove_hidden(&directory, &hidden);
    world.with_hands_within(&mount(row), DEADLINE, remove).await?;
    Ok(())
}

/// Records what the run has now.
async fn record(world: &World, id: RunId, walked: &Walked) -> Result<(), StoreError> {
    let _deciding = world.deciding.lock().await;
    let Some(row) = world.store.run(id).await? else { return Ok(()) };
    // What was seen before and is not recorded yet is so with this.
    world.watching.forget_news(id);
    let saved = Saved::of(&walked.found, row.run.branch.as_ref());
    let news = saved.news(row.run.saved.as_ref());
    let mut decision = Decision::stay(&row.run);
    decision.run.saved = Some(saved);
    if let Some(news) = news {
        decision = decision.note("checkpoint", news);
    }
    world.store.record(decision, Vec::new(), world.clock.now()).await?;
    world.changed();
    Ok(())
}
