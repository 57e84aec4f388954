//! Taking a new run: checked, captured and on disk before its number is told.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::daemon::world::World;
use crate::domain::ids::{RunId, run_dir_name};
use crate::domain::keys::choice;
use crate::domain::problem::{Problem, Sources};
use crate::domain::request::{Checked, SpecRequest};
use crate::domain::resolved::Resolved;
use crate::files::verify;
use crate::ports::{NewRunDir, Silence};
use crate::script::render;
use crate::store::{NewRun, StoreError};

choice! {
    /// What `submit` does when a run of the same name is active.
    pub enum IfActive {
        /// Goes ahead.
        Submit = "submit",
        /// Gives the newest active one instead.
        Skip = "skip",
        /// Waits until they are final.
        Queue = "queue",
        /// Cancels them, and waits until they are final.
        Replace = "replace",
    }
    later {}
}

/// What a client asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitRequest {
    pub spec: SpecRequest,
    pub key: Option<String>,
    pub if_active: IfActive,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    New(RunId),
    /// The run that the key was given to.
    OfKey(RunId),
    /// The active run that `skip` found.
    Skipped(RunId),
}

impl Accepted {
    pub fn run(self) -> RunId {
        match self {
            Self::New(run) | Self::OfKey(run) | Self::Skipped(run) => run,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("the spec has {} problem(s)", problems.len())]
    Invalid { sources: Box<Sources>, problems: Vec<Problem> },
    #[error("the key `{key}` was given to run {run}, which has another spec")]
    KeyTaken { key: String, run: RunId },
    #[error("a key has 1 to 255 printable characters")]
    BadKey,
    #[error("cannot make the run directory")]
    RunDir(#[source] Silence),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the resolved spec")]
    Record(#[from] serde_json::Error),
}

/// Accepts a run. The key is looked up before anything else.
pub async fn accept(world: &World, request: SubmitRequest) -> Result<Accepted, AcceptError> {
    let owner = world.asker.user.clone();
    let checked = request.spec.check(&world.site.site, &world.asker);
    if let Some(key) = &request.key {
        check_key(key)?;
        if let Some((run, digest)) = world.store.with_key(owner.clone(), key.clone()).await? {
            return if digest == checked.digest {
                Ok(Accepted::OfKey(run))
            } else {
                Err(AcceptError::KeyTaken { key: key.clone(), run })
            };
        }
    }
    let Checked { sources, outcome, digest, recorded } = checked;
    let mut problems = outcome.problems;
    problems.extend(verify(&outcome.expectations));
    let (Some(resolved), true) = (outcome.resolved, problems.is_empty()) else {
        return Err(AcceptError::Invalid { sources: Box::new(sources), problems });
    };
    let active = active_runs(world, &owner, &resolved.name).await?;
    if let (IfActive::Skip, Some(newest)) = (request.if_active, active.first()) {
        return Ok(Accepted::Skipped(*newest));
    }
    let waits = matches!(request.if_active, IfActive::Queue | IfActive::Replace);
    let waits_for = if waits { active.clone() } else { Vec::new() };
    let cancels = if request.if_active == IfActive::Replace { active } else { Vec::new() };

    let id = world.store.next_number().await?;
    let run_dir = resolved.run_root.join(run_dir_name(id, &resolved.name));
    let new_dir = run_dir_files(&resolved, run_dir.clone(), &recorded)?;
    let make = move |hands: &dyn crate::ports::Hands| hands.make_run_dir(&new_dir);
    world.with_hands(&resolved.run_root, make).await.map_err(AcceptError::RunDir)?;
    let now: Timestamp = world.clock.now();
    let spec = recorded;
    let new = NewRun {
        id,
        owner,
        key: request.key,
        spec_digest: digest,
        spec,
        resolved,
        run_dir,
        waits_for,
        cancels,
        now,
    };
    let accepted = world.store.accept(new).await?;
    world.changed();
    world.nudge.notify_one();
    Ok(if accepted == id { Accepted::New(id) } else { Accepted::OfKey(accepted) })
}

fn check_key(key: &str) -> Result<(), AcceptError> {
    const KEY_CHARACTERS_MAX: usize = 255;
    let fine = (1..=KEY_CHARACTERS_MAX).contains(&key.chars().count())
        && !key.chars().any(char::is_control);
    if fine { Ok(()) } else { Err(AcceptError::BadKey) }
}

/// The owner's runs of a name that are not final, newest first.
async fn active_runs(world: &World, owner: &str, name: &str) -> Result<Vec<RunId>, StoreError> {
    let live = world.store.live().await?;
    let mut active: Vec<RunId> = live
        .iter()
        .filter(|row| row.owner == owner && row.name == name)
        .map(|row| row.run.id)
        .collect();
    active.reverse();
    Ok(active)
}

fn run_dir_files(
    resolved: &Resolved,
    path: std::path::PathBuf,
    spec: &str,
) -> Result<NewRunDir, serde_json::Error> {
    Ok(NewRunDir {
        path,
        mode: resolved.run_dir_mode.0,
        spec: spec.to_owned(),
        resolved: serde_json::to_string_pretty(resolved)?,
        script: render(resolved),
        code: resolved.code.path.clone(),
    })
}
