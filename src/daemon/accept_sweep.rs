//! Taking a sweep: all its points are checked, and one directory with a few files is on disk before its number is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::daemon::accept::{
    AcceptError, Accepted, SubmitRequest, check_key, check_place, discard, missing_arrays,
    missing_files, missing_sbatch, of_key,
};
use crate::daemon::gather::{Gathered, Given, gather};
use crate::daemon::sweeps::Beginning;
use crate::daemon::world::World;
use crate::domain::ids::{RunId, run_dir_name};
use crate::domain::problem::Sources;
use crate::domain::request::{IfActive, SpecRequest};
use crate::domain::resolve::Choice;
use crate::domain::sweep::{Family, Plan};
use crate::fault::point;
use crate::ports::{Hands, Silence};
use crate::store::{NewPoint, NewSweep, StoreError, SweepAcceptance};

/// Accepts a sweep. The key is looked up before anything else.
pub(super) async fn accept_sweep(
    world: &Arc<World>,
    request: SubmitRequest,
) -> Result<Accepted, AcceptError> {
    let SubmitRequest { spec, key, if_active, meant, .. } = request;
    let owner = world.asker.user.clone();
    let digest = spec.digest();
    if let Some(key) = &key {
        check_key(key)?;
        if let Some(known) = world.store.with_key(owner.clone(), key.clone()).await? {
            return of_key(key, &known, &digest);
        }
    }
    let (plan, choice, sources) = plan(world, &spec).await?;
    let plan = Arc::new(plan);
    let Some(first) = plan.sets.first() else { return Err(AcceptError::NoPoints) };
    check_place(world, choice, first, meant)?;
    if if_active == IfActive::Skip
        && let Some(newest) = world.store.newest_active(&owner, &first.name).await?
    {
        return Ok(Accepted::Skipped(newest));
    }
    let missing = match missing_sbatch(world, Some(first)).await {
        Some(problem) => Some(problem),
        None => missing_arrays(world, first).await,
    };
    if let Some(problem) = missing {
        let sources = Box::new(world.in_force().loaded.sources.clone());
        return Err(AcceptError::Invalid { sources, problems: vec![problem] });
    }
    let mut beginning = Beginning::of(world, &plan, &owner).await?;
    let given = Given { code: None, requirements: None };
    let gathered = gather(world, first, (&plan.capture, given), sources).await?;
    let request = spec.without_secrets(&plan.capture);
    let comes = |of: (RunId, &Path)| beginning.prepare(if_active, of);
    let dir = make_sweep_dir(world, &plan, (&request, &gathered), comes);
    let (dir, points) = tokio::join!(dir, points_of(&plan));
    let ((id, sweep_dir), points) = (dir?, points?);
    point("sweep_dir_made");
    let now = world.clock.now();
    let recorded = request.recorded();
    let (about, sets) = (plan.about.clone(), plan.sets.clone());
    // An open sweep has no points yet: it stands for itself.
    let number = RunId(id.0 + i64::from(!points.is_empty()));
    let run_root = sets.first().map_or_else(PathBuf::new, |set| set.run_root.clone());
    let new = NewSweep {
        id,
        owner,
        key: key.clone(),
        spec_digest: digest.clone(),
        spec: recorded,
        about,
        sets,
        points,
        inputs: gathered.inputs(request, None),
        sweep_dir: sweep_dir.clone(),
        if_active,
        asked: beginning.asked.take(),
        opening: beginning.opening.take(),
        now,
    };
    let acceptance = record(world, new, (run_root, sweep_dir.clone())).await?;
    point("sweep_recorded");
    match acceptance {
        SweepAcceptance::Recorded { intent, warning } => {
            beginning.begin(world, (id, &sweep_dir), intent).await;
            world.changed();
            Ok(Accepted::New { run: number, warning })
        }
        SweepAcceptance::OverBudget(why) => Err(AcceptError::OverBudget(why)),
        SweepAcceptance::KeyTaken(known) => of_key(&key.unwrap_or_default(), &known, &digest),
        SweepAcceptance::Active(newest) => Ok(Accepted::Skipped(newest)),
    }
}

/// Checks all points, files included, and works out what they come to.
pub(super) async fn plan(
    world: &World,
    spec: &SpecRequest,
) -> Result<(Plan, Choice, Sources), AcceptError> {
    let invalid = |problems, sources: &Sources| AcceptError::Invalid {
        sources: Box::new(sources.clone()),
        problems,
    };
    let Some(family) = Family::read(spec) else { return Err(AcceptError::NoPoints) };
    let Some(about) = family.about(spec) else { return Err(AcceptError::NoPoints) };
    let in_force = world.in_force();
    let context = spec.context(in_force.site(), &world.asker);
    let outcome = family.check(context, world.clock.now());
    let mut problems = outcome.problems;
    problems.extend(missing_files(world, &spec.base, outcome.expectations).await?);
    if !problems.is_empty() {
        return Err(invalid(problems, &family.sources));
    }
    match family.plan(about, context) {
        Ok(plan) => Ok((plan, outcome.choice, family.sources)),
        Err(problems) => Err(invalid(problems, &family.sources)),
    }
}

/// The points as they will be recorded: made while the disk is waited for.
async fn points_of(plan: &Arc<Plan>) -> Result<Vec<NewPoint>, StoreError> {
    let plan = Arc::clone(plan);
    let points = move || plan.points.iter().map(NewPoint::of).collect();
    tokio::task::spawn_blocking(points).await.map_err(|_| StoreError::Gone)?
}

/// Takes numbers for the sweep and its points, and makes its directory, which names them. `comes` hears of its own number
/// and of the directory as soon as they are known, if they are the first ones that are tried.
async fn make_sweep_dir(
    world: &World,
    plan: &Plan,
    (request, gathered): (&SpecRequest, &Gathered),
    mut comes: impl FnMut((RunId, &Path)),
) -> Result<(RunId, PathBuf), AcceptError> {
    /// Another state directory may share the run root and have had the numbers first.
    const TRIES_MAX: u32 = 1_000;
    let Some(first) = plan.sets.first() else { return Err(AcceptError::NoPoints) };
    let spec = request.recorded();
    let count = u32::try_from(plan.points.len()).unwrap_or(u32::MAX);
    for tries in 0..TRIES_MAX {
        let id = world.store.next_numbers(count.saturating_add(1)).await?;
        point("numbers_taken");
        let path = first.run_root.join(run_dir_name(id, &first.name));
        // Mostly it is free.
        if tries == 0 {
            comes((id, &path));
        }
        let order = gathered.sweep_dir(plan, path.clone(), (&spec, id))?;
        let make = move |hands: &dyn Hands| hands.make_run_dir(&order);
        if world.with_hands(&first.run_root, make).await.map_err(AcceptError::RunDir)? {
            return Ok((id, path));
        }
    }
    let who = first.run_root.display().to_string();
    let why = format!("it has directories of other runs for {TRIES_MAX} numbers in a row");
    Err(AcceptError::RunDir(Silence { who, why }))
}

/// Records the sweep. Where none comes of it, its directory goes, too.
async fn record(
    world: &World,
    new: NewSweep,
    (run_root, sweep_dir): (PathBuf, PathBuf),
) -> Result<SweepAcceptance, StoreError> {
    let id = new.id;
    let acceptance = match world.store.accept_sweep(new).await {
        Ok(recorded @ SweepAcceptance::Recorded { .. }) => return Ok(recorded),
        // It was written, and only the answer was lost.
        Err(error) => match world.store.sweep(id).await {
            // Where it has an intent, a pass finds that nobody calls sbatch for it.
            Ok(Some(_)) => return Ok(SweepAcceptance::Recorded { intent: None, warning: None }),
            Ok(None) => Err(error),
            Err(_) => return Err(error),
        },
        other => other,
    };
    discard(world, id, run_root, sweep_dir).await;
    acceptance
}
