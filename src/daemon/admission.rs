//! Starting what may start: the intent is recorded, then the scheduler is asked, in a task of its own.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::daemon::budgets;
use crate::daemon::calls::{self, Submitted, UnderWay};
use crate::daemon::nodes;
use crate::daemon::world::World;
use crate::domain::admit::{Admission, Ledger, Limits, Waiting, admit};
use crate::domain::ids::JobName;
use crate::domain::quota::Demand;
use crate::domain::run::{Call, Event, State, step};
use crate::fault::point;
use crate::ports::Hands;
use crate::store::{Intending, Intent, LiveRuns, RunRow, StoreError};

/// Admits waiting runs; gives how many were submitted. `live` is as the pass found it.
pub(super) async fn admit_waiting(
    world: &Arc<World>,
    live: &LiveRuns,
) -> Result<usize, StoreError> {
    let now = world.clock.now();
    let mut submitted = call_again(world, live, now).await?;
    let pending = world.store.pending().await?;
    if pending.is_empty() {
        return Ok(submitted);
    }
    // As this pass has left them: a run that was refused a moment ago waits from now on.
    let rows = world.store.live().await?;
    let waiting: Vec<Waiting> = pending
        .iter()
        .filter_map(|waiting| {
            let row = rows.get(&waiting.run)?;
            Some(Waiting {
                run: waiting.run,
                demand: Demand::of(&waiting.owner, &row.resolved),
                waits_for: waiting.waits_for.clone(),
                refused: refusal(world, row, now),
                asked: budgets::asked(world, &row.resolved, now),
            })
        })
        .collect();
    let live: Vec<Demand> = rows
        .values()
        .filter(|row| row.run.state.depends_on_scheduler())
        .map(|row| Demand::of(&row.owner, &row.resolved))
        .collect();
    let limits = Limits::of(world.in_force().site());
    let is_paid = waiting.iter().any(|waiting| waiting.asked.is_some());
    let ledger = if is_paid { world.store.ledger().await? } else { Ledger::new() };
    for (run, admission) in admit(&waiting, &live, &limits, ledger) {
        let Some(row) = rows.get(&run) else { continue };
        match admission {
            Admission::Start => submitted += usize::from(submit(world, row).await?),
            Admission::Wait { why } => wait(world, row, why).await?,
        }
    }
    Ok(submitted)
}

/// Why a run cannot be submitted now, whatever there is room for: it takes none of it. The refusal that it still has to wait
/// after, in the scheduler's words; or its cluster is gone.
fn refusal(world: &World, row: &RunRow, now: Timestamp) -> Option<String> {
    if let State::Pending { why, not_before: Some(_) } = &row.run.state
        && row.run.is_held_off(&world.policy(&row.resolved), now)
    {
        return Some(why.clone().unwrap_or_default());
    }
    let cluster = row.resolved.compute.target.cluster();
    world.scheduler(cluster).is_none().then(|| gone(cluster))
}

fn gone(cluster: &str) -> String {
    format!("the cluster `{cluster}` is not in the site config any more")
}

/// Records why a run waits, when that is news.
async fn wait(world: &World, row: &RunRow, why: String) -> Result<(), StoreError> {
    let State::Pending { why: known, .. } = &row.run.state else { return Ok(()) };
    if known.as_ref() == Some(&why) {
        return Ok(());
    }
    let now = world.clock.now();
    let mut decision =
        step(&row.run, &Event::Waits { why: why.clone() }, &world.policy(&row.resolved), now);
    decision = decision.note("waits", why);
    world.store.record(decision, Vec::new(), now).await?;
    world.changed();
    Ok(())
}

/// Records the intent to submit, then asks the scheduler. Gives whether it came to that.
async fn submit(world: &Arc<World>, row: &RunRow) -> Result<bool, StoreError> {
    let cluster = row.resolved.compute.target.cluster();
    let Some(scheduler) = world.scheduler(cluster) else {
        wait(world, row, gone(cluster)).await?;
        return Ok(false);
    };
    if let Some(branch) = row.run.branch.clone() {
        let run_dir = row.run_dir.clone();
        let write = move |hands: &dyn Hands| hands.choose_checkpoint(&run_dir, &branch);
        if let Err(silence) = world.with_hands(&row.resolved.run_root, write).await {
            wait(world, row, format!("its checkpoint cannot be chosen: {silence}")).await?;
            return Ok(false);
        }
    }
    let avoided = nodes::avoided(world, &row.run, &row.resolved).await?;
    let start = calls::start(world, &row.resolved, avoided);
    let under_way = UnderWay::begin(world, &start.token);
    let asked = start.asked.clone();
    let (run, run_dir, owner) = (row.run.clone(), row.run_dir.clone(), row.owner.clone());
    let intending = Intending { run, run_dir, owner, start };
    point("run_admitted");
    let intent = match world.store.intend(intending, world.clock.now()).await? {
        Ok((_, intent)) => intent,
        // Others were let in since it was looked at.
        Err(refusal) => {
            let why = asked.map_or_else(|| refusal.to_string(), |asked| asked.waits(&refusal));
            wait(world, row, why).await?;
            return Ok(false);
        }
    };
    point("intent_recorded");
    world.changed();
    calls::begin(under_way, &Submitted::of(row, &scheduler), intent);
    Ok(true)
}

/// Calls sbatch again for runs whose scheduler could not be reached. One of a cluster tries; when it comes through, the
/// others follow.
async fn call_again(
    world: &Arc<World>,
    rows: &LiveRuns,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let mut called = 0;
    let mut tried: HashSet<&str> = HashSet::new();
    for row in rows.values() {
        let State::Submitting { call: Call::Unreachable(unreachable) } = &row.run.state else {
            continue;
        };
        let Some(submission) = &row.run.submission else { continue };
        let cluster = submission.cluster.as_str();
        let is_reachable = world.is_reachable(cluster);
        if !tried.insert(cluster) && !is_reachable {
            continue;
        }
        let policy = world.policy(&row.resolved);
        let waits = unreachable.again_at.is_some();
        let is_due = waits && (is_reachable || unreachable.is_due(&policy, now));
        let Some(scheduler) = world.scheduler(cluster).filter(|_| is_due) else { continue };
        let token = submission.token.clone();
        let under_way = UnderWay::begin(world, &token);
        if world.store.intend_again(row.run.id, world.host.clone(), policy, now).await? {
            world.changed();
            let job_name = JobName::of(&row.run_dir, submission.attempt_base, token);
            // The same call: with what it was told before.
            let avoided = submission.avoided.clone();
            let intent = Intent { submission: submission.id, job_name, avoided };
            calls::begin(under_way, &Submitted::of(row, &scheduler), intent);
            called += 1;
        }
    }
    Ok(called)
}
