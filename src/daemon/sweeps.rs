//! Points of sweeps on their way to the scheduler: which of them go next is decided by
//! [`slots`](crate::domain::sweep::slots), and they go as arrays.

mod family;
mod opening;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{debug, warn};

use crate::daemon::admission::{Gates, refusal, wait};
use crate::daemon::calls::{self, SubmittedPoints, UnderWay};
use crate::daemon::nodes;
use crate::daemon::sweeps::family::Family;
pub(super) use crate::daemon::sweeps::family::Portions;
pub(super) use crate::daemon::sweeps::opening::Beginning;
use crate::daemon::world::World;
use crate::domain::ids::SubmissionId;
use crate::domain::run::{Call, State};
use crate::domain::sweep::About;
use crate::domain::sweep::slots::{Array, Bounds, Chunk, Ready, next_steps};
use crate::fault::point;
use crate::ports::{ArrayLimits, Hands, Scheduler};
use crate::store::{ArrayRow, IntendingPoints, LiveRuns, RunRow, StoreError, SweepRow};

/// Points that are submitted by one pass where each is a job of its own.
const JOBS_AT_ONCE: usize = 64;

/// Submits points that may be submitted; gives how many were.
pub(super) async fn feed(
    world: &Arc<World>,
    rows: &LiveRuns,
    gates: &mut Gates,
) -> Result<usize, StoreError> {
    let families = Family::all(rows);
    if families.is_empty() {
        return Ok(0);
    }
    let waits_for = world.store.waiting_sweeps().await?;
    let mut submitted = 0;
    for family in families {
        let first = waits_for.iter().find(|(sweep, _)| *sweep == family.id);
        if let Some((_, other)) = first {
            if let Some(row) = family.points.values().next() {
                wait(world, row, format!("its sweep waits for {other}")).await?;
            }
            continue;
        }
        submitted += feed_one(world, &family, gates).await?;
    }
    Ok(submitted)
}

async fn feed_one(
    world: &Arc<World>,
    family: &Family<'_>,
    gates: &mut Gates,
) -> Result<usize, StoreError> {
    let Some(sweep) = world.store.sweep(family.id).await? else { return Ok(0) };
    let Some(first) = family.points.values().next() else { return Ok(0) };
    let cluster = first.resolved.compute.target.cluster().to_owned();
    let now = world.clock.now();
    let Some(scheduler) = world.scheduler(&cluster) else {
        if let Some(why) = refusal(world, first, now) {
            wait(world, first, why).await?;
        }
        return Ok(0);
    };
    let limits = match scheduler.arrays().await {
        Ok(limits) => limits,
        Err(silence) => {
            wait(world, first, format!("waits for Slurm: {silence}")).await?;
            return Ok(0);
        }
    };
    let (arrays, known) = arrays(world, family, &sweep).await?;
    let ready = if family.is_unanswered() { Vec::new() } else { ready(world, family, now) };
    let bounds = bounds(world, &cluster, (&sweep.about, limits));
    let steps = next_steps(&arrays, &ready, bounds);
    tell_limits(world, &scheduler, family, &known).await;
    for (submission, at_once) in &steps.lower {
        // Recorded once it is so: until then others must not count on it.
        if limit(world, &scheduler, family, &known, (*submission, *at_once)).await {
            world.store.set_at_once(*submission, *at_once).await?;
        }
    }
    let mut submitted = 0;
    for chunk in steps.submit {
        let fed = Fed { family, sweep: &sweep, scheduler: &scheduler, limits };
        match submit(world, &fed, chunk, gates).await? {
            // Those behind it are alike.
            0 => break,
            count => submitted += count,
        }
    }
    for (submission, at_once) in &steps.raise {
        // Recorded before it is so: others count on it from now on.
        world.store.set_at_once(*submission, *at_once).await?;
        limit(world, &scheduler, family, &known, (*submission, *at_once)).await;
    }
    Ok(submitted)
}

/// What limits the arrays of a sweep on a cluster that takes such.
fn bounds(world: &World, cluster: &str, (about, limits): (&About, Option<ArrayLimits>)) -> Bounds {
    Bounds {
        max_parallel: about.max_parallel,
        array_size: limits.map_or(1, |limits| limits.size),
        tasks: limits.map_or(1, |it| it.tasks.min(world.portions.of(cluster))),
        chunks: if limits.is_some() { 1 } else { JOBS_AT_ONCE },
    }
}

/// The arrays under way; and what was recorded of them, where their limits matter.
async fn arrays(
    world: &World,
    family: &Family<'_>,
    sweep: &SweepRow,
) -> Result<(Vec<Array>, BTreeMap<SubmissionId, ArrayRow>), StoreError> {
    let submissions = family.submissions();
    let mut known = BTreeMap::new();
    if sweep.about.max_parallel.is_some() {
        let rows = world.store.arrays(submissions.keys().copied().collect()).await?;
        known.extend(rows.into_iter().map(|row| (row.submission, row)));
    }
    let array = |(submission, (live, running)): (SubmissionId, (u32, u32))| Array {
        submission,
        live,
        running,
        at_once: known.get(&submission).and_then(|row: &ArrayRow| row.at_once),
    };
    Ok((submissions.into_iter().map(array).collect(), known))
}

/// The points that may be submitted. While the first is held off by a refusal, those behind it would be refused as well.
fn ready(world: &World, family: &Family<'_>, now: Timestamp) -> Vec<Ready> {
    let mut ready = Vec::new();
    let mut is_held_off = false;
    for (point, row) in &family.points {
        if !matches!(row.run.state, State::Pending { .. }) {
            continue;
        }
        if refusal(world, row, now).is_some() {
            is_held_off = true;
        } else if let Some(of) = row.point {
            ready.push(Ready { point: *point, set: of.set, attempt: row.run.attempts + 1 });
        }
    }
    ready.retain(|ready| !is_held_off || ready.attempt > 1);
    ready
}

/// Tells the scheduler of limits that were recorded and that this process has not told it: the last one may have died between
/// the two, or the scheduler was silent.
async fn tell_limits(
    world: &World,
    scheduler: &Arc<dyn Scheduler>,
    family: &Family<'_>,
    known: &BTreeMap<SubmissionId, ArrayRow>,
) {
    for (submission, row) in known {
        let Some(at_once) = row.at_once else { continue };
        if world.limits_told().get(submission) != Some(&at_once) {
            limit(world, scheduler, family, known, (*submission, at_once)).await;
        }
    }
}

/// Tells the scheduler how many points of an array may run at once.
async fn limit(
    world: &World,
    scheduler: &Arc<dyn Scheduler>,
    family: &Family<'_>,
    known: &BTreeMap<SubmissionId, ArrayRow>,
    (submission, at_once): (SubmissionId, u32),
) -> bool {
    let (Some(job), Some(row)) = (family.job_of(submission), known.get(&submission)) else {
        return false;
    };
    point("limit_begins");
    match scheduler.limit(&job, &row.job_name.token, at_once).await {
        Ok(()) => {
            debug!(job.key = %job, at_once, "array {job} may run {at_once} at once");
            world.limits_told().insert(submission, at_once);
            true
        }
        Err(silence) => {
            warn!(job.key = %job, "cannot limit array {job} to {at_once} at once: {silence}");
            false
        }
    }
}

/// Where an array is submitted.
struct Fed<'a> {
    family: &'a Family<'a>,
    sweep: &'a SweepRow,
    scheduler: &'a Arc<dyn Scheduler>,
    limits: Option<ArrayLimits>,
}

/// Submits those points of a chunk that pass the gates; gives how many.
async fn submit(
    world: &Arc<World>,
    fed: &Fed<'_>,
    chunk: Chunk,
    gates: &mut Gates,
) -> Result<usize, StoreError> {
    let Fed { family, sweep, scheduler, limits } = *fed;
    let rows: Vec<&Arc<RunRow>> =
        chunk.points.iter().filter_map(|point| family.points.get(point).copied()).collect();
    let (admitted, refused) = gates.pass(world, &rows);
    if let Some((row, why)) = refused {
        wait(world, row, why).await?;
    }
    let Some(first) = admitted.first().copied() else { return Ok(0) };
    choose_checkpoints(world, &admitted).await;
    let avoided = nodes::avoided(world, &first.run, &first.resolved).await?;
    let start = calls::start(world, &first.resolved, avoided);
    let under_way = UnderWay::begin(world, &start.token);
    let asked = start.asked.clone();
    let runs = admitted.iter().filter_map(|row| {
        let index = row.point?.point.checked_sub(chunk.first_point)?;
        Some((row.run.clone(), index))
    });
    let intending = IntendingPoints {
        sweep: sweep.id,
        sweep_dir: sweep.sweep_dir.clone(),
        owner: sweep.owner.clone(),
        first_point: chunk.first_point,
        at_once: chunk.at_once,
        runs: runs.collect(),
        start,
    };
    point("points_admitted");
    let intended = world.store.intend_points(intending, world.clock.now()).await?;
    let intent = match intended {
        Ok(intent) => intent,
        // Others were let in since it was looked at.
        Err(refusal) => {
            let why = asked.map_or_else(|| refusal.to_string(), |asked| asked.waits(&refusal));
            wait(world, first, why).await?;
            return Ok(0);
        }
    };
    point("array_intent_recorded");
    world.changed();
    let count = intent.tasks.len();
    let submitted = SubmittedPoints {
        sweep: sweep.id,
        name: &sweep.name,
        sweep_dir: &sweep.sweep_dir,
        set: chunk.set,
        first_point: chunk.first_point,
        resolved: &first.resolved,
        scheduler,
        is_array: limits.is_some(),
    };
    calls::begin_points(under_way, &submitted, intent);
    Ok(count)
}

/// Writes what people chose to go on from, for the scripts. One that cannot be written goes on from its newest.
async fn choose_checkpoints(world: &World, rows: &[&Arc<RunRow>]) {
    for row in rows {
        let Some(branch) = row.run.branch.clone() else { continue };
        let run_dir = row.run_dir.clone();
        let write = move |hands: &dyn Hands| hands.choose_checkpoint(&run_dir, &branch);
        if let Err(silence) = world.with_hands(&row.resolved.run_root, write).await {
            warn!(
                run.id = row.run.id.0,
                "the checkpoint of run {} cannot be chosen: {silence}", row.run.id
            );
        }
    }
}

/// Calls sbatch again for arrays whose scheduler could not be reached; gives how many points that were.
pub(super) async fn call_again(
    world: &Arc<World>,
    rows: &LiveRuns,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let mut called = 0;
    let mut seen: BTreeSet<SubmissionId> = BTreeSet::new();
    for row in rows.values() {
        let State::Submitting { call: Call::Unreachable(unreachable) } = &row.run.state else {
            continue;
        };
        let (Some(submission), Some(of)) = (&row.run.submission, row.point) else { continue };
        if !seen.insert(submission.id) {
            continue;
        }
        let policy = world.policy(&row.resolved);
        let is_reachable = world.is_reachable(&submission.cluster);
        let is_due =
            unreachable.again_at.is_some() && (is_reachable || unreachable.is_due(&policy, now));
        let Some(scheduler) = world.scheduler(&submission.cluster).filter(|_| is_due) else {
            continue;
        };
        // Where that is not known, it is asked for by the next pass.
        let Ok(limits) = scheduler.arrays().await else { continue };
        let under_way = UnderWay::begin(world, &submission.token);
        let (id, host) = (submission.id, world.host.clone());
        let tasks = world.store.intend_array_again(id, host, policy, now).await?;
        let arrays = world.store.arrays(vec![id]).await?;
        let sweep = world.store.sweep(of.sweep).await?;
        let (Some(array), Some(sweep), false) =
            (arrays.into_iter().next(), sweep, tasks.is_empty())
        else {
            continue;
        };
        world.changed();
        called += tasks.len();
        let submitted = SubmittedPoints {
            sweep: sweep.id,
            name: &sweep.name,
            sweep_dir: &sweep.sweep_dir,
            set: of.set,
            first_point: array.first_point,
            resolved: &row.resolved,
            scheduler: &scheduler,
            is_array: limits.is_some(),
        };
        calls::begin_points(under_way, &submitted, array.again(tasks, submission.avoided.clone()));
    }
    Ok(called)
}
