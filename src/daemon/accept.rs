//! Taking a new run: checked, captured and on disk before its number is told.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::daemon::accept_sweep::accept_sweep;
use crate::daemon::beginning::Beginning;
use crate::daemon::budgets;
use crate::daemon::gather::{Gathered, Given, gather};
use crate::daemon::world::World;
use crate::domain::ids::{RunId, run_dir_name};
use crate::domain::inputs::{CapturedCode, CodeDigest};
use crate::domain::problem::{Problem, Sources};
use crate::domain::request::{Checked, IfActive, SpecRequest};
use crate::domain::requirements::CapturedRequirements;
use crate::domain::resolve::{Choice, Expectation};
use crate::domain::resolved::{Resolved, Target};
use crate::fault::point;
use crate::files::{verify, verify_commands};
use crate::ports::{Hands, Silence};
use crate::store::{Acceptance, Keyed, NewRun, Recorded, StoreError};

/// What a client asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitRequest {
    pub spec: SpecRequest,
    pub key: Option<String>,
    pub if_active: IfActive,
    /// Where the client, which knows the site as it is now, says that the run executes.
    #[serde(default)]
    pub meant: Option<Destination>,
    /// The code of an earlier run: taken from the store, wherever it came from.
    #[serde(default)]
    pub code: Option<CapturedCode>,
    /// The run that this one repeats.
    #[serde(default)]
    pub rerun_of: Option<i64>,
    /// The requirements of an earlier run, instead of those that the spec names now.
    #[serde(default)]
    pub requirements: Option<CapturedRequirements>,
}

/// Where a run executes, in the words that a site has for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub target: Target,
    pub class: String,
}

impl Destination {
    pub fn of(resolved: &Resolved) -> Self {
        Self { target: resolved.compute.target.clone(), class: resolved.compute.class.clone() }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Local => f.write_str("this machine"),
            Target::Slurm { cluster } => {
                write!(f, "class `{}` of cluster `{cluster}`", self.class)
            }
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    New {
        /// Of a sweep the first point; an open sweep itself.
        run: RunId,
        /// What its owner is told about its project's budget.
        warning: Option<String>,
    },
    /// The run that the key was given to.
    OfKey(RunId),
    /// The active run that `skip` found; an open sweep that has none.
    Skipped(RunId),
}

impl Accepted {
    pub fn run(&self) -> RunId {
        match self {
            Self::New { run, .. } | Self::OfKey(run) | Self::Skipped(run) => *run,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("the spec has {} problem(s)", problems.len())]
    Invalid { sources: Box<Sources>, problems: Vec<Problem> },
    #[error(
        "the key `{key}` was given to {} {run}, which has another spec",
        if *is_sweep { "sweep" } else { "run" }
    )]
    KeyTaken { key: String, run: RunId, is_sweep: bool },
    #[error("the key `{key}` was given to run {run}, whose files were deleted")]
    KeyDeleted { key: String, run: RunId },
    #[error("a key has 1 to 255 printable characters")]
    BadKey,
    #[error(
        "the run is meant for {meant}, and the daemon would put it on {here}; nothing was submitted"
    )]
    Elsewhere { meant: Destination, here: Destination },
    #[error("{0}; nothing was submitted")]
    OverBudget(String),
    #[error("the sweep has no points")]
    NoPoints,
    #[error("Slurm cannot be reached: {0}")]
    SlurmSilent(String),
    #[error("cannot make the run directory")]
    RunDir(#[source] Silence),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot look at the files that the spec names")]
    Files(#[source] Silence),
    #[error("the captured code {digest} is not in the store of {} any more", run_root.display())]
    CodeGone { digest: CodeDigest, run_root: PathBuf },
    #[error("{0}")]
    Requirements(String),
    #[error("cannot write the resolved spec")]
    Record(#[from] serde_json::Error),
}

/// Accepts a run, or a sweep. The key is looked up before anything else.
pub async fn accept(world: &Arc<World>, request: SubmitRequest) -> Result<Accepted, AcceptError> {
    if request.spec.is_sweep() {
        return accept_sweep(world, request).await;
    }
    let SubmitRequest { spec, key, if_active, meant, code, requirements, rerun_of } = request;
    let given = Given { code, requirements };
    let owner = world.asker.user.clone();
    let Checked { sources, outcome, digest } = spec.check(world.in_force().site(), &world.asker);
    if let Some(key) = &key {
        check_key(key)?;
        if let Some(known) = world.store.with_key(owner.clone(), key.clone()).await? {
            return of_key(key, &known, &digest);
        }
    }
    let (choice, mut problems) = (outcome.choice, outcome.problems);
    let mut expectations = outcome.expectations;
    expectations.retain(|expectation| !given.has(expectation.what));
    let (missing, no_sbatch) = tokio::join!(
        missing_files(world, &spec.base, expectations),
        missing_sbatch(world, outcome.resolved.as_ref())
    );
    problems.extend(missing?);
    let (Some(resolved), Some(capture), true) =
        (outcome.resolved, outcome.capture, problems.is_empty())
    else {
        return Err(AcceptError::Invalid { sources: Box::new(sources), problems });
    };
    check_place(world, choice, &resolved, meant)?;
    // Asked again when the run is recorded; here it spares the directory.
    if if_active == IfActive::Skip
        && let Some(newest) = world.store.newest_active(&owner, &resolved.name).await?
    {
        return Ok(Accepted::Skipped(newest));
    }
    if let Some(problem) = no_sbatch {
        let sources = Box::new(world.in_force().loaded.sources.clone());
        return Err(AcceptError::Invalid { sources, problems: vec![problem] });
    }
    let asked = budgets::asked_anew(world, &resolved, world.clock.now()).await?;
    let gathered = gather(world, &resolved, (&capture, given), sources).await?;
    let request = spec.without_secrets(&capture);
    let recorded = request.recorded();
    let new = NewRun {
        asked,
        // It has a number when it has a directory.
        id: RunId(0),
        owner,
        key: key.clone(),
        spec_digest: digest.clone(),
        spec: recorded,
        resolved,
        inputs: gathered.inputs(request, rerun_of),
        run_dir: PathBuf::new(),
        if_active,
        start: None,
        now: world.clock.now(),
    };
    let (id, acceptance) = Box::pin(take_in(world, new, &gathered)).await?;
    match acceptance {
        Acceptance::Recorded(Recorded { warning, .. }) => {
            world.changed();
            Ok(Accepted::New { run: id, warning })
        }
        Acceptance::OverBudget(why) => Err(AcceptError::OverBudget(why)),
        Acceptance::KeyTaken(known) => of_key(&key.unwrap_or_default(), &known, &digest),
        Acceptance::Active(newest) => Ok(Accepted::Skipped(newest)),
    }
}

/// Refuses a run that would execute somewhere else than its owner was told, and one of which nobody was told, as with a
/// key, when only Slurm knows.
pub(super) fn check_place(
    world: &World,
    choice: Choice,
    resolved: &Resolved,
    meant: Option<Destination>,
) -> Result<(), AcceptError> {
    let here = Destination::of(resolved);
    match (meant, &world.in_force().loaded.silence) {
        (Some(meant), _) if meant != here => Err(AcceptError::Elsewhere { meant, here }),
        (_, Some(why)) if choice == Choice::OnlyLocal => Err(AcceptError::SlurmSilent(why.clone())),
        _ => Ok(()),
    }
}

/// What the user's files lack of what a spec that lies in `base` expects: they may lie on a mount that hangs.
pub(super) async fn missing_files(
    world: &World,
    base: &Path,
    expectations: Vec<Expectation>,
) -> Result<Vec<Problem>, AcceptError> {
    let look = move |_: &dyn Hands| Ok(verify(&expectations));
    world.with_hands(base, look).await.map_err(AcceptError::Files)
}

/// Whether the run's cluster has no sbatch where the site says: the run would wait for ever.
pub(super) async fn missing_sbatch(world: &World, resolved: Option<&Resolved>) -> Option<Problem> {
    let name = resolved?.compute.target.cluster();
    let cluster = world.in_force().site().cluster.as_ref()?.get(name)?.clone();
    let place = cluster.sbatch.as_ref().or(cluster.commands.as_ref());
    let place = place.map_or_else(PathBuf::new, |said| PathBuf::from(&said.value));
    let look = move |_: &dyn Hands| Ok(verify_commands(&cluster));
    // A directory that is silent now may be there when it is needed.
    world.with_hands(&place, look).await.unwrap_or_default()
}

/// Says that a cluster takes no arrays, which the points of a sweep would be. One that is silent is asked again when they go
/// there.
pub(super) async fn missing_arrays(world: &World, resolved: &Resolved) -> Option<Problem> {
    let name = resolved.compute.target.cluster();
    world.in_force().site().cluster.as_ref()?.get(name)?;
    let limits = world.scheduler(name)?.arrays().await.ok()?;
    limits.is_none().then(|| {
        Problem::nowhere(format!(
            "cluster `{name}` takes no job arrays, as which the points of a sweep are submitted"
        ))
        .help(
            "its slurm.conf says so, by `MaxArraySize` or by `max_array_tasks` of `SchedulerParameters`: have it changed, \
             choose a class elsewhere, or submit the points as runs of their own",
        )
    })
}

/// The run that has the key already, when it was asked for with the same spec.
pub(super) fn of_key(key: &str, known: &Keyed, digest: &str) -> Result<Accepted, AcceptError> {
    let (key, run) = (key.to_owned(), known.run);
    if known.is_deleted {
        return Err(AcceptError::KeyDeleted { key, run });
    }
    if known.spec_digest == digest {
        return Ok(Accepted::OfKey(run));
    }
    Err(AcceptError::KeyTaken { key, run, is_sweep: known.is_sweep })
}

/// Takes a number and makes its directory. Another state directory may share the run root and have had the number first.
/// `comes` hears of both as soon as they are known, if they are the first ones that are tried.
async fn make_run_dir(
    world: &World,
    resolved: &Resolved,
    (spec, gathered): (&str, &Gathered),
    mut comes: impl FnMut((RunId, &Path)),
) -> Result<(RunId, PathBuf), AcceptError> {
    /// A state directory that was begun anew counts from 1 again.
    const NUMBERS_MAX: u32 = 1_000;
    for tries in 0..NUMBERS_MAX {
        let id = world.store.next_number().await?;
        point("number_taken");
        let path = resolved.run_root.join(run_dir_name(id, &resolved.name));
        // Mostly it is free.
        if tries == 0 {
            comes((id, &path));
        }
        let order = gathered.run_dir(resolved, path.clone(), spec)?;
        let make = move |hands: &dyn Hands| hands.make_run_dir(&order);
        if world.with_hands(&resolved.run_root, make).await.map_err(AcceptError::RunDir)? {
            return Ok((id, path));
        }
    }
    let who = resolved.run_root.display().to_string();
    let why = format!("it has directories of other runs for {NUMBERS_MAX} numbers in a row");
    Err(AcceptError::RunDir(Silence { who, why }))
}

/// Makes the run's directory, records it, and calls sbatch for it at once where nothing that the next pass could see holds it
/// up. Gives its number, too.
async fn take_in(
    world: &Arc<World>,
    mut new: NewRun,
    gathered: &Gathered,
) -> Result<(RunId, Acceptance), AcceptError> {
    let (resolved, if_active) = (new.resolved.clone(), new.if_active);
    let mut beginning = Beginning::of(world, &new.owner, &resolved).await?;
    let comes = |of: (RunId, &Path)| beginning.prepare(if_active, &resolved, of);
    let (id, run_dir) = make_run_dir(world, &resolved, (&new.spec, gathered), comes).await?;
    point("run_dir_made");
    (new.id, new.run_dir, new.now) = (id, run_dir.clone(), world.clock.now());
    new.start = beginning.start.take();
    let acceptance = record(world, new).await?;
    point("run_recorded");
    if let Acceptance::Recorded(recorded) = &acceptance {
        beginning.begin(world, &resolved, (id, &run_dir), recorded.intent.clone()).await;
    }
    Ok((id, acceptance))
}

/// Records the run. Where none comes of it, its directory goes, too.
async fn record(world: &World, new: NewRun) -> Result<Acceptance, StoreError> {
    let (id, root, run_dir) = (new.id, new.resolved.run_root.clone(), new.run_dir.clone());
    let acceptance = match world.store.accept(new).await {
        Ok(recorded @ Acceptance::Recorded(_)) => return Ok(recorded),
        // It was written, and only the answer was lost.
        Err(error) => match world.store.run(id).await {
            // Where it has an intent, a pass finds that nobody calls sbatch for it.
            Ok(Some(_)) => return Ok(Acceptance::Recorded(Recorded::default())),
            Ok(None) => Err(error),
            Err(_) => return Err(error),
        },
        other => other,
    };
    discard(world, id, root, run_dir).await;
    acceptance
}

/// Removes the directory of what was not recorded.
pub(super) async fn discard(world: &World, id: RunId, root: PathBuf, run_dir: PathBuf) {
    let discard = move |hands: &dyn Hands| hands.discard_run_dir(&run_dir);
    if let Err(silence) = world.with_hands(&root, discard).await {
        warn!(
            run.id = id.0,
            "cannot remove the directory of run {id}, which was not recorded: {silence}"
        );
    }
}

pub(super) fn check_key(key: &str) -> Result<(), AcceptError> {
    if is_key(key) { Ok(()) } else { Err(AcceptError::BadKey) }
}

/// Whether people may give this as a key.
pub(super) fn is_key(key: &str) -> bool {
    const KEY_CHARACTERS_MAX: usize = 255;
    (1..=KEY_CHARACTERS_MAX).contains(&key.chars().count()) && !key.chars().any(char::is_control)
}
