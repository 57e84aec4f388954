//! A call of sbatch, in a task of its own: it may take minutes, and nothing else waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use crate::daemon::budgets;
use crate::daemon::reconcile::tell;
use crate::daemon::world::World;
use crate::domain::bad_nodes::{Avoided, excluded};
use crate::domain::ids::{JobName, RunId, SubmissionId, Token};
use crate::domain::nodelist::NodeName;
use crate::domain::resolved::Resolved;
use crate::domain::run::{Answer, Policy};
use crate::domain::run_files::RunFiles;
use crate::fault::point;
use crate::ports::{ArrayOrder, Held, Scheduler, SubmitOrder};
use crate::store::{ArrayIntent, Intent, Opening, RunRow, Start, StoreError};

/// While it is there, this process waits for the answer to a submission, and nobody concludes anything from its absence.
/// It comes before the intent is recorded and goes after the answer is.
pub(super) struct UnderWay {
    world: Arc<World>,
    token: Token,
    /// What goes on with the submission once its intent is recorded, and ends with this where it is not.
    prepared: Option<Held>,
}

impl UnderWay {
    pub(super) fn begin(world: &Arc<World>, token: &Token) -> Self {
        world.under_way().insert(token.whole().to_owned());
        Self { world: Arc::clone(world), token: token.clone(), prepared: None }
    }
}

impl UnderWay {
    /// Has the scheduler get ready while the intent is recorded. What was prepared before is given up.
    fn prepare(&mut self, scheduler: &Arc<dyn Scheduler>, order: &SubmitOrder) {
        self.prepared = None;
        self.prepared = scheduler.prepare(order);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.world.under_way().remove(self.token.whole());
    }
}

/// The run that is submitted, and to whom.
pub(super) struct Submitted<'a> {
    pub(super) run: RunId,
    pub(super) name: &'a str,
    pub(super) resolved: &'a Resolved,
    pub(super) run_dir: &'a Path,
    pub(super) scheduler: &'a Arc<dyn Scheduler>,
}

impl<'a> Submitted<'a> {
    pub(super) fn of(row: &'a RunRow, scheduler: &'a Arc<dyn Scheduler>) -> Self {
        let RunRow { run, name, resolved, run_dir, .. } = row;
        Self { run: run.id, name, resolved, run_dir, scheduler }
    }

    fn order(&self, intent: Intent) -> SubmitOrder {
        let Intent { submission, job_name, avoided } = intent;
        SubmitOrder {
            run_dir: self.run_dir.to_owned(),
            ..order((submission, job_name), self.resolved, &avoided)
        }
    }

    /// Has the scheduler get ready for a new run that will be submitted so, if it is.
    pub(super) fn prepare(&self, under_way: &mut UnderWay, start: &Start) {
        let job_name = JobName::of(self.run_dir, 1, start.token.clone());
        let avoided = start.avoided.nodes.clone();
        let foreseen = Intent { submission: FORESEEN, job_name, avoided };
        under_way.prepare(self.scheduler, &self.order(foreseen));
    }
}

/// A submission has its number when its intent is recorded.
const FORESEEN: SubmissionId = SubmissionId(0);

/// Where a run is submitted, as what, away from which nodes, and what is held for it.
pub(super) fn start(world: &World, resolved: &Resolved, avoided: Avoided) -> Start {
    Start {
        avoided,
        asked: budgets::asked(world, resolved, world.clock.now()),
        cluster: resolved.compute.target.cluster().to_owned(),
        token: Token::from_bits(world.clock.random_bits()),
        host: world.host.clone(),
        policy: world.policy(resolved),
    }
}

/// What is submitted of a spec, whichever run it is for.
fn order(
    (submission, job_name): (SubmissionId, JobName),
    resolved: &Resolved,
    avoided: &[NodeName],
) -> SubmitOrder {
    SubmitOrder {
        submission,
        job_name,
        run_dir: PathBuf::new(),
        set: 0,
        array: None,
        time_limit: resolved.compute.time_limit.map(|limit| limit.0),
        warn_before_end: resolved.failure.warn_before_end,
        kill_wait: resolved.script.kill_wait,
        umask: resolved.script.umask.0,
        exclude: match avoided {
            [] => Vec::new(),
            avoided => excluded(&resolved.compute, avoided),
        },
    }
}

/// Calls sbatch as the recorded intent says.
pub(super) fn begin(mut under_way: UnderWay, submitted: &Submitted<'_>, intent: Intent) {
    let Submitted { run, name, resolved, scheduler, .. } = *submitted;
    let submission = intent.submission;
    info!(
        run.id = run.0,
        run.name = %name,
        submission.id = submission.0,
        "submitting run {run} as submission {submission}"
    );
    let (world, scheduler) = (Arc::clone(&under_way.world), Arc::clone(scheduler));
    let cluster = resolved.compute.target.cluster().to_owned();
    let (policy, name) = (world.policy(resolved), name.to_owned());
    let (order, prepared) = (submitted.order(intent), under_way.prepared.take());
    world.tasks.clone().spawn(async move {
        point("submit_begins");
        let answer = scheduler.submit(order, prepared).await;
        point("submit_answered");
        world.set_reachable(&cluster, !matches!(answer, Answer::Unreachable { .. }));
        let heard = Heard { run, name: &name, submission, answer, policy };
        let heard = hear(&world, heard).await;
        point("answer_recorded");
        drop(under_way);
        match heard {
            Ok(true) => {}
            Ok(false) => world.nudge.notify_one(),
            Err(error) => {
                // The next pass finds no answer and treats it as lost, which it is.
                error!(
                    submission.id = submission.0,
                    "cannot record the answer to submission {submission}: {error}"
                );
                world.nudge.notify_one();
            }
        }
    });
}

/// The points of a sweep that are submitted together, and to whom.
pub(super) struct SubmittedPoints<'a> {
    pub(super) sweep: RunId,
    pub(super) name: &'a str,
    pub(super) sweep_dir: &'a Path,
    pub(super) set: u32,
    pub(super) first_point: u32,
    pub(super) resolved: &'a Resolved,
    pub(super) scheduler: &'a Arc<dyn Scheduler>,
    /// Else it is one point, and a job of its own.
    pub(super) is_array: bool,
}

impl SubmittedPoints<'_> {
    fn order(&self, intent: ArrayIntent) -> SubmitOrder {
        let ArrayIntent { submission, job_name, tasks, at_once, avoided } = intent;
        let first = self.first_point.saturating_add(tasks.first().copied().unwrap_or(0));
        SubmitOrder {
            run_dir: RunFiles::point_dir(self.sweep_dir, first),
            set: self.set,
            array: self.is_array.then_some(ArrayOrder { tasks, at_once }),
            ..order((submission, job_name), self.resolved, &avoided)
        }
    }

    /// Has the scheduler get ready for the first array of a new sweep, if all of it is submitted as it is opened.
    pub(super) fn prepare(&self, under_way: &mut UnderWay, opening: &Opening) {
        let Opening { chunk, start } = opening;
        let token = start.token.clone();
        let foreseen = ArrayIntent {
            submission: FORESEEN,
            job_name: JobName::of_points(self.sweep_dir, chunk.first_point, 1, token),
            tasks: chunk.points.iter().map(|point| point - chunk.first_point).collect(),
            at_once: chunk.at_once,
            avoided: start.avoided.nodes.clone(),
        };
        under_way.prepare(self.scheduler, &self.order(foreseen));
    }
}

/// Calls sbatch for an array as the recorded intent says.
pub(super) fn begin_points(
    mut under_way: UnderWay,
    submitted: &SubmittedPoints<'_>,
    intent: ArrayIntent,
) {
    let SubmittedPoints { sweep, name, resolved, scheduler, .. } = *submitted;
    let (submission, count) = (intent.submission, intent.tasks.len());
    info!(
        sweep.id = sweep.0,
        sweep.name = %name,
        submission.id = submission.0,
        points = count,
        "submitting {count} points of sweep {sweep} as submission {submission}"
    );
    let (world, scheduler) = (Arc::clone(&under_way.world), Arc::clone(scheduler));
    let cluster = resolved.compute.target.cluster().to_owned();
    let policy = world.policy(resolved);
    let (order, prepared) = (submitted.order(intent), under_way.prepared.take());
    world.tasks.clone().spawn(async move {
        point("array_submit_begins");
        let answer = scheduler.submit(order, prepared).await;
        point("array_submit_answered");
        world.set_reachable(&cluster, !matches!(answer, Answer::Unreachable { .. }));
        match &answer {
            Answer::Acknowledged { .. } => world.portions.learn(&cluster, count, false),
            Answer::Refused { for_now: true, .. } => world.portions.learn(&cluster, count, true),
            Answer::Refused { .. } | Answer::Unreachable { .. } | Answer::Lost { .. } => {}
        }
        let heard = hear_array(&world, (submission, answer), (count, policy)).await;
        point("array_answer_recorded");
        drop(under_way);
        if let Err(error) = heard {
            // The next pass finds no answer and treats it as lost, which it is.
            error!(
                submission.id = submission.0,
                "cannot record the answer to submission {submission}: {error}"
            );
        }
        // There may be more points to submit.
        world.nudge.notify_one();
    });
}

/// Records the answer to an array of so many points, as [`hear`] does that to a job. Whoever submitted waits for what comes
/// of the first point, and not for the others.
async fn hear_array(
    world: &World,
    (submission, answer): (SubmissionId, Answer),
    (count, policy): (usize, Policy),
) -> Result<(), StoreError> {
    /// Points that are one transaction at most: between them others get at the database. It begins with one, and grows, for
    /// where each waits for the disk.
    const AT_ONCE: usize = 1_000;
    /// Until whoever waits for the first point has asked what came of it: each question is a wait behind one transaction.
    const HEARD: Duration = Duration::from_millis(3);
    let deciding = world.deciding.try_lock();
    if deciding.is_err() || !matches!(answer, Answer::Acknowledged { .. }) {
        return world.store.answered(submission, answer).await;
    }
    let now = world.clock.now();
    let (mut from, mut to) = (0, 1);
    while from < count {
        let points = from..to.min(count);
        world.store.heard_array(submission, answer.clone(), points, (policy.clone(), now)).await?;
        world.changed();
        if from == 0 && to < count {
            tokio::time::sleep(HEARD).await;
        }
        (from, to) = (to, to + AT_ONCE.min(4 * to));
    }
    drop(deciding);
    Ok(())
}

struct Heard<'a> {
    run: RunId,
    name: &'a str,
    submission: SubmissionId,
    answer: Answer,
    policy: Policy,
}

/// Records the answer. What an acknowledgement makes of the run is decided at once, for whoever submitted waits for that,
/// unless a pass is deciding: then the next one does it, as with all other answers. Gives whether it was decided.
async fn hear(world: &World, heard: Heard<'_>) -> Result<bool, StoreError> {
    let Heard { run, name, submission, answer, policy } = heard;
    let deciding = world.deciding.try_lock();
    if deciding.is_err() || !matches!(answer, Answer::Acknowledged { .. }) {
        world.store.answered(submission, answer).await?;
        return Ok(false);
    }
    let now = world.clock.now();
    let decision = world.store.heard(run, submission, answer, (policy, now)).await?;
    drop(deciding);
    let Some(decision) = decision else { return Ok(false) };
    world.changed();
    tell(run, name, &decision);
    Ok(true)
}
