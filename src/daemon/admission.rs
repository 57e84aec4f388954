//! Starting what may start: the intent is recorded, then the scheduler is asked, in a task of its own.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{error, info};

use crate::daemon::world::World;
use crate::domain::admit::{Admission, Limits, Live, Waiting, admit};
use crate::domain::ids::{JobName, Token};
use crate::domain::run::{Answer, Call, Event, State, Unreachable, step};
use crate::fault::point;
use crate::ports::{Scheduler, SubmitOrder};
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
                owner: waiting.owner.clone(),
                cluster: row.resolved.compute.target.cluster().to_owned(),
                waits_for: waiting.waits_for.clone(),
                refused: refusal(&row.run.state, now),
            })
        })
        .collect();
    let live: Vec<Live> = rows
        .values()
        .filter(|row| !matches!(row.run.state, State::Pending { .. }))
        .map(|row| Live {
            run: row.run.id,
            owner: row.owner.clone(),
            cluster: row.resolved.compute.target.cluster().to_owned(),
        })
        .collect();
    let limits = Limits { local_running_max: world.site.site.local_running_max() };
    for (run, admission) in admit(&waiting, &live, &limits) {
        let Some(row) = rows.get(&run) else { continue };
        match admission {
            Admission::Start { .. } => {
                submit(world, row).await?;
                submitted += 1;
            }
            Admission::Wait { why } => wait(world, row, why).await?,
        }
    }
    Ok(submitted)
}

/// The refusal that a run still has to wait after, in the scheduler's words.
fn refusal(state: &State, now: Timestamp) -> Option<String> {
    if let State::Pending { why, not_before: Some(at) } = state
        && now < *at
    {
        return Some(why.clone().unwrap_or_default());
    }
    None
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

/// Records the intent to submit, then asks the scheduler.
async fn submit(world: &Arc<World>, row: &RunRow) -> Result<(), StoreError> {
    let resolved = &row.resolved;
    let cluster = resolved.compute.target.cluster().to_owned();
    let Some(scheduler) = world.schedulers.get(&cluster) else {
        return wait(
            world,
            row,
            format!("the cluster `{cluster}` is not in the site config any more"),
        )
        .await;
    };
    let intending = Intending {
        run: row.run.clone(),
        run_dir: run_dir_name(row),
        owner: row.owner.clone(),
        cluster: cluster.clone(),
        token: Token::from_bits(world.clock.random_bits()),
        host: world.host.clone(),
    };
    let now = world.clock.now();
    point("run_admitted");
    let (_, intent) = world.store.intend(intending, world.policy(resolved), now).await?;
    point("intent_recorded");
    world.changed();
    let order = order(row, intent);
    info!(
        run.id = row.run.id.0,
        run.name = %row.name,
        submission.id = order.submission.0,
        "submitting run {} as submission {}",
        row.run.id,
        order.submission
    );
    start(world, cluster, Arc::clone(scheduler), order);
    Ok(())
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
        let State::Submitting { call: Call::Unreachable(Unreachable { again_at, .. }) } =
            &row.run.state
        else {
            continue;
        };
        let Some(submission) = &row.run.submission else { continue };
        let cluster = submission.cluster.as_str();
        let is_first = tried.insert(cluster);
        let is_due = again_at.is_some_and(|at| at <= now || world.is_reachable(cluster));
        let Some(scheduler) = world.schedulers.get(cluster).filter(|_| is_due) else { continue };
        if !is_first && !world.is_reachable(cluster) {
            continue;
        }
        let policy = world.policy(&row.resolved);
        if world.store.intend_again(row.run.id, world.host.clone(), policy, now).await? {
            world.changed();
            let (attempt_base, token) = (submission.attempt_base, submission.token.clone());
            let job_name = JobName { run_dir: run_dir_name(row), attempt_base, token };
            let intent = Intent { submission: submission.id, job_name };
            start(world, cluster.to_owned(), Arc::clone(scheduler), order(row, intent));
            called += 1;
        }
    }
    Ok(called)
}

fn run_dir_name(row: &RunRow) -> String {
    row.run_dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn order(row: &RunRow, intent: Intent) -> SubmitOrder {
    let resolved = &row.resolved;
    SubmitOrder {
        submission: intent.submission,
        job_name: intent.job_name,
        run_dir: row.run_dir.clone(),
        time_limit: resolved.compute.time_limit.map(|limit| limit.0),
        kill_wait: resolved.script.kill_wait,
        umask: resolved.script.umask.0,
    }
}

/// Asks the scheduler in a task of its own: an sbatch may take minutes, and nothing else waits for it.
fn start(world: &Arc<World>, cluster: String, scheduler: Arc<dyn Scheduler>, order: SubmitOrder) {
    let submission = order.submission;
    world.set_under_way(submission, true);
    let world_of_task = Arc::clone(world);
    world.tasks.spawn(async move {
        let world = world_of_task;
        point("submit_begins");
        let answer = scheduler.submit(order).await;
        point("submit_answered");
        world.set_reachable(&cluster, !matches!(answer, Answer::Unreachable { .. }));
        if let Err(error) = world.store.answered(submission, answer).await {
            // The next pass finds no answer and treats it as lost, which it is.
            error!(
                submission.id = submission.0,
                "cannot record the answer to submission {submission}: {error}"
            );
        }
        point("answer_recorded");
        world.set_under_way(submission, false);
        world.nudge.notify_one();
    });
}
