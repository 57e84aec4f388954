//! A call of sbatch, in a task of its own: it may take minutes, and nothing else waits for it.

use std::path::Path;
use std::sync::Arc;

use tracing::{error, info};

use crate::daemon::budgets;
use crate::daemon::reconcile::tell;
use crate::daemon::world::World;
use crate::domain::bad_nodes::{Avoided, excluded};
use crate::domain::ids::{RunId, SubmissionId, Token};
use crate::domain::resolved::Resolved;
use crate::domain::run::{Answer, Policy};
use crate::fault::point;
use crate::ports::{Scheduler, SubmitOrder};
use crate::store::{Intent, RunRow, Start, StoreError};

/// While it is there, this process waits for the answer to a submission, and nobody concludes anything from its absence.
/// It comes before the intent is recorded and goes after the answer is.
pub(super) struct UnderWay {
    world: Arc<World>,
    token: Token,
}

impl UnderWay {
    pub(super) fn begin(world: &Arc<World>, token: &Token) -> Self {
        world.under_way().insert(token.clone());
        Self { world: Arc::clone(world), token: token.clone() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.world.under_way().remove(&self.token);
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
}

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

/// Calls sbatch as the recorded intent says.
pub(super) fn begin(under_way: UnderWay, submitted: &Submitted<'_>, intent: Intent) {
    let Submitted { run, name, resolved, run_dir, scheduler } = *submitted;
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
    let order = SubmitOrder {
        submission,
        job_name: intent.job_name,
        run_dir: run_dir.to_owned(),
        time_limit: resolved.compute.time_limit.map(|limit| limit.0),
        warn_before_end: resolved.failure.warn_before_end,
        kill_wait: resolved.script.kill_wait,
        umask: resolved.script.umask.0,
        exclude: match intent.avoided.as_slice() {
            [] => Vec::new(),
            avoided => excluded(&resolved.compute, avoided),
        },
    };
    world.tasks.clone().spawn(async move {
        point("submit_begins");
        let answer = scheduler.submit(order).await;
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
