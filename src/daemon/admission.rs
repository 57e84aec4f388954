//! Starting what may start: the intent is recorded, then the scheduler is asked, in a task of its own.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::daemon::budgets;
use crate::daemon::calls::{self, Submitted, UnderWay};
use crate::daemon::nodes;
use crate::daemon::purses::{self, Payer};
use crate::daemon::sweeps;
use crate::daemon::world::World;
use crate::domain::admit::{Admission, Ledger, Limits, Waiting, admit, hold};
use crate::domain::ids::{JobName, RunId};
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
    submitted += sweeps::call_again(world, live, now).await?;
    let pending = world.store.pending().await?;
    // As this pass has left them: a run that was refused a moment ago waits from now on.
    let rows = world.store.live().await?;
    let has_points = rows.values().any(|row| row.point.is_some());
    if pending.is_empty() && !has_points {
        return Ok(submitted);
    }
    purses::look(world, &payers(world, &rows)).await?;
    let mut gates = Gates::of(world, &rows).await?;
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
    for (run, admission) in gates.admit(&waiting) {
        let Some(row) = rows.get(&run) else { continue };
        match admission {
            Admission::Start => submitted += usize::from(submit(world, row).await?),
            Admission::Wait { why } => wait(world, row, why).await?,
        }
    }
    if has_points {
        submitted += sweeps::feed(world, &rows, &mut gates).await?;
    }
    Ok(submitted)
}

/// What runs that wait are paid from, where Slurm keeps that.
fn payers(world: &World, rows: &LiveRuns) -> Vec<Payer> {
    let in_force = world.in_force();
    let site = in_force.site();
    if site.slurm_budgets().next().is_none() {
        return Vec::new();
    }
    let waiting = rows.values().filter(|row| matches!(row.run.state, State::Pending { .. }));
    let payers = waiting.filter_map(|row| purses::payer(site, &row.resolved));
    let payers: BTreeSet<Payer> = payers.map(|(budget, purse)| (budget.project, purse)).collect();
    payers.into_iter().collect()
}

/// What stands between waiting runs and the scheduler, and what was let through in this pass.
pub(super) struct Gates {
    live: Vec<Demand>,
    limits: Limits,
    ledger: Ledger,
}

impl Gates {
    async fn of(world: &World, rows: &LiveRuns) -> Result<Self, StoreError> {
        let live = rows.values().filter(|row| row.run.state.depends_on_scheduler());
        Ok(Self {
            live: live.map(|row| Demand::of(&row.owner, &row.resolved)).collect(),
            limits: Limits::of(world.in_force().site()),
            ledger: world.store.ledger().await?,
        })
    }

    /// Answers every waiting run; what is given to one is not there for the next, nor for those of the next call.
    fn admit(&mut self, waiting: &[Waiting]) -> Vec<(RunId, Admission)> {
        let answers = admit(waiting, &self.live, &self.limits, self.ledger.clone());
        let started = answers.iter().filter(|(_, answer)| *answer == Admission::Start);
        let started: HashSet<RunId> = started.map(|(run, _)| *run).collect();
        for waiting in waiting.iter().filter(|waiting| started.contains(&waiting.run)) {
            self.live.push(waiting.demand.clone());
            waiting.asked.iter().for_each(|asked| hold(&mut self.ledger, asked));
        }
        answers
    }

    /// Those of alike points that may be submitted, in their order, and why the first of the others may not.
    pub(super) fn pass<'a>(&mut self, world: &World, rows: &[&'a Arc<RunRow>]) -> Passed<'a> {
        let Some(first) = rows.first() else { return (Vec::new(), None) };
        let demand = Demand::of(&first.owner, &first.resolved);
        let asked = budgets::asked(world, &first.resolved, world.clock.now());
        if asked.is_none() && !self.limits.count(&demand) {
            return (rows.to_vec(), None);
        }
        let waiting = |row: &&Arc<RunRow>| Waiting {
            run: row.run.id,
            demand: demand.clone(),
            waits_for: Vec::new(),
            refused: None,
            asked: asked.clone(),
        };
        let waiting: Vec<Waiting> = rows.iter().map(waiting).collect();
        let answers: HashMap<RunId, Admission> = self.admit(&waiting).into_iter().collect();
        let (mut admitted, mut refused) = (Vec::new(), None);
        for row in rows {
            match answers.get(&row.run.id) {
                Some(Admission::Start) => admitted.push(*row),
                Some(Admission::Wait { why }) => {
                    refused.get_or_insert_with(|| (*row, why.clone()));
                }
                None => {}
            }
        }
        (admitted, refused)
    }
}

/// Points that may be submitted, and why the first of the others may not.
type Passed<'a> = (Vec<&'a Arc<RunRow>>, Option<(&'a Arc<RunRow>, String)>);

/// Why a run cannot be submitted now, whatever there is room for: it takes none of it. The refusal that it still has to wait
/// after, in the scheduler's words; or its cluster is gone.
pub(super) fn refusal(world: &World, row: &RunRow, now: Timestamp) -> Option<String> {
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
pub(super) async fn wait(world: &World, row: &RunRow, why: String) -> Result<(), StoreError> {
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
        if row.point.is_some() {
            continue;
        }
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
