//! Builds that are jobs of Slurm: submitted by a recorded intent, looked at in the ordinary poll, and cancelled when nobody
//! waits for them any more. What follows from what is decided in [`domain::build_job`](crate::domain::build_job).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::daemon::builds::{Build, Groups, Key, Order, Outcome, PAUSE, built, last_words, log};
use crate::daemon::calls::UnderWay;
use crate::daemon::observe::orphaned;
use crate::daemon::world::World;
use crate::domain::build_job::{End, Next, Patience, Shown, alive, next};
use crate::domain::ids::{JobKey, JobName, SubmissionId, Token};
use crate::domain::run::{Answer, JobEnd, Sighting};
use crate::domain::units::Seconds;
use crate::ports::{Asked, Scheduler, SubmitOrder, Wants};
use crate::store::{BuildJob, Calling, NewBuildJob, RunRow, StoreError};

/// Until a file that a job of another machine wrote is sure to be seen here.
const SEEN_WITHIN: Duration = Duration::from_mins(2);

/// What is remembered of builds that are jobs: nothing that a daemon which starts anew would miss.
#[derive(Default)]
pub(super) struct Known {
    /// What the last look showed, until it is taken.
    saw: HashMap<SubmissionId, Vec<Sighting>>,
    /// Since when a job is absent, or over without having left an environment.
    since: HashMap<SubmissionId, Instant>,
    /// Whose runs were told.
    over: HashSet<Key>,
}

impl Known {
    /// The runs that waited for a build were told: the next pass forgets its job.
    pub(super) fn are_over(&mut self, key: &str) {
        self.over.insert(key.to_owned());
    }

    fn since(&mut self, submission: SubmissionId) -> Duration {
        self.since.entry(submission).or_insert_with(Instant::now).elapsed()
    }
}

/// What the schedulers are to be asked about them.
pub(in crate::daemon) fn asked<'a>(
    world: &'a World,
    jobs: &'a [BuildJob],
) -> impl Iterator<Item = (&'a BuildJob, Asked)> {
    jobs.iter().filter_map(|build| {
        let job = match build.call.answer.as_ref()? {
            Answer::Acknowledged { job, .. } => Some(job.clone()),
            Answer::Lost { .. } => None,
            Answer::Refused { .. } | Answer::Unreachable { .. } => return None,
        };
        let asked = Asked {
            submission: build.submission,
            token: build.token.clone(),
            wants: Wants::News,
            eager: job.is_none(),
            job,
            intent_at: build.intent_at,
            unseen: false,
            provisional: false,
            restart: 0,
            submitted_at: None,
            shown: None,
        };
        (!world.is_under_way(&build.token)).then_some((build, asked))
    })
}

/// Takes what a good answer shows of a build's jobs; none where it is absent.
pub(in crate::daemon) fn saw(world: &World, build: &BuildJob, jobs: Vec<Sighting>) {
    world.builds.lock().jobs.saw.insert(build.submission, jobs);
}

/// Submits a build.
pub(super) fn begin(world: &Arc<World>, key: &Key, order: Order) {
    world.builds.lock().builds.insert(key.clone(), Build::Job);
    let (theirs, key) = (Arc::clone(world), key.clone());
    world.tasks.spawn(async move {
        if let Err(why) = submit(&theirs, &key, &order).await {
            warn!("cannot submit a build now: {why}");
            theirs.builds.end(&key, Build::Paused { until: Instant::now() + PAUSE });
        }
        theirs.nudge.notify_one();
    });
}

async fn submit(world: &Arc<World>, key: &Key, order: &Order) -> Result<(), String> {
    let Some(on) = order.job() else { return Ok(()) };
    let cluster = on.compute.target.cluster().to_owned();
    let scheduler = world.scheduler(&cluster);
    let scheduler = scheduler.ok_or_else(|| format!("there is no cluster `{cluster}`"))?;
    order.write(world).await.map_err(|silence| silence.to_string())?;
    let told = |error: StoreError| crate::chain(&error);
    let token = Token::from_bits(world.clock.random_bits());
    let under_way = UnderWay::begin(world, &token);
    let run_dir = order.run_dir.file_name().unwrap_or_default().to_string_lossy();
    let job_name =
        JobName { run_dir: format!("build-{run_dir}"), offset: None, attempt_base: 1, token };
    let (owner, host) = (world.asker.user.clone(), world.host.clone());
    let new = NewBuildJob {
        key: key.clone(),
        run_root: order.resolved.run_root.clone(),
        run_dir: order.run_dir.clone(),
        calling: Calling { cluster: cluster.clone(), owner, host },
        job_name: job_name.clone(),
    };
    let submission = world.store.intend_build(new, world.clock.now()).await.map_err(told)?;
    let order = SubmitOrder {
        submission,
        job_name,
        run_dir: order.directory(),
        set: 0,
        array: None,
        time_limit: on.compute.time_limit.map(|limit| limit.0),
        warn_before_end: Seconds(0),
        kill_wait: order.resolved.script.kill_wait,
        umask: order.resolved.script.umask.0,
        exclude: Vec::new(),
    };
    let answer = scheduler.submit(order, None).await;
    info!(submission.id = submission.0, "submitted a build as submission {submission}: {answer:?}");
    world.set_reachable(&cluster, !matches!(answer, Answer::Unreachable { .. }));
    // If that fails, the next pass finds no answer and treats it as lost, which it is.
    world.store.answered(submission, answer).await.map_err(told)?;
    drop(under_way);
    Ok(())
}

/// Looks after all builds that are jobs. Gives those that are still wanted and known.
pub(super) async fn tend(
    world: &Arc<World>,
    jobs: &[BuildJob],
    groups: &Groups<'_>,
) -> Result<BTreeSet<Key>, StoreError> {
    let mut kept = BTreeSet::new();
    for build in jobs {
        let stays = if world.is_under_way(&build.token) {
            true
        } else if world.builds.lock().jobs.over.remove(&build.key) {
            false
        } else {
            match (&build.call.answer, groups.get(&build.key)) {
                (None, _) => {
                    // The daemon that called sbatch has ended: the answer is lost once it cannot come any more.
                    let called = (&build.token, build.cluster.as_str());
                    if let Some(answer) = orphaned(world, called, &build.call).await {
                        world.store.answered(build.submission, answer).await?;
                    }
                    true
                }
                (Some(answer), Some(rows)) => wanted(world, build, answer, rows).await?,
                (Some(answer), None) => {
                    if !build.is_abandoned() {
                        world.store.abandon_build(build.submission).await?;
                    }
                    unwanted(world, build, answer).await
                }
            }
        };
        if stays {
            kept.insert(build.key.clone());
        } else {
            forget(world, build).await?;
        }
    }
    // Of builds that were none of these.
    world.builds.lock().jobs.over.clear();
    Ok(kept)
}

async fn forget(world: &World, build: &BuildJob) -> Result<(), StoreError> {
    {
        let known = &mut world.builds.lock().jobs;
        known.saw.remove(&build.submission);
        known.since.remove(&build.submission);
    }
    if let Some(Answer::Acknowledged { job, .. }) = &build.call.answer {
        world.cancelled.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }
    world.store.forget_build(build.submission).await
}

/// What follows from what was shown since the last pass, which is taken.
fn decide(world: &World, build: &BuildJob, answer: &Answer) -> (Next, Vec<Sighting>) {
    let (in_doubt, gone) = world.waits(&build.cluster);
    let known = &mut world.builds.lock().jobs;
    let saw = known.saw.remove(&build.submission);
    let shown = match saw.as_deref() {
        None => Shown::Nothing,
        Some([]) => Shown::Absent(Seconds(known.since(build.submission).as_secs())),
        Some(jobs) => Shown::Jobs(jobs),
    };
    let next = next(answer, shown, Patience { in_doubt, gone });
    let is_over = matches!(next, Next::Over(_));
    if matches!(shown, Shown::Jobs(_)) && !is_over {
        known.since.remove(&build.submission);
    }
    (next, saw.unwrap_or_default())
}

/// A build that runs wait for. Gives whether its job is still the one.
async fn wanted(
    world: &World,
    build: &BuildJob,
    answer: &Answer,
    rows: &[&RunRow],
) -> Result<bool, StoreError> {
    let BuildJob { key, run_root, run_dir, .. } = build;
    let (next, _) = decide(world, build, answer);
    // After the look: what a job left before it ended is then never missed beside that end.
    let left = built(world, run_root, run_dir).await;
    let over = |outcome| {
        world.builds.lock().builds.insert(key.clone(), Build::Over { outcome, log: log(run_dir) });
    };
    match (left, next) {
        (Err(silence), _) => warn!("cannot see what a build left: {silence}"),
        (Ok(Some(outcome)), _) => over(outcome),
        (Ok(None), Next::Wait) => {}
        (Ok(None), Next::Adopt(job)) => {
            info!(job.key = %job, "job {job} is the build that was in doubt");
            let answer = Answer::Acknowledged { job, notices: String::new() };
            world.store.answered(build.submission, answer).await?;
        }
        (Ok(None), Next::Again) => {
            again(world, key);
            return Ok(false);
        }
        (Ok(None), Next::Over(End::Job { end: JobEnd::Completed, .. }))
            if world.builds.lock().jobs.since(build.submission) < SEEN_WITHIN => {}
        (Ok(None), Next::Over(end)) => {
            let words = match last_words(world, run_root, run_dir).await {
                Ok(words) => words,
                Err(silence) => {
                    warn!("cannot read the log of a build: {silence}");
                    String::new()
                }
            };
            // The run in whose directory it happened was deleted meanwhile.
            if words.is_empty() && rows.iter().all(|row| row.run_dir != *run_dir) {
                again(world, key);
                return Ok(false);
            }
            over(Outcome::Failed(failure(&end, &words)));
        }
    }
    Ok(true)
}

fn again(world: &World, key: &Key) {
    let paused = Build::Paused { until: Instant::now() + PAUSE };
    world.builds.lock().builds.insert(key.clone(), paused);
}

/// Why a build failed: how its job ended where that says more than the build, and the build's last words.
fn failure(end: &End, words: &str) -> String {
    match (end.told(), words) {
        (Some(told), "") => told,
        (Some(told), words) => format!("{told}\n{words}"),
        (None, "") => "the build's job failed without a word".to_owned(),
        (None, words) => words.to_owned(),
    }
}

/// A build that nobody waits for: its job is cancelled, and watched until it is over. Gives whether it is not.
async fn unwanted(world: &World, build: &BuildJob, answer: &Answer) -> bool {
    let (next, shown) = decide(world, build, answer);
    let known = match answer {
        Answer::Acknowledged { job, .. } => Some(job),
        Answer::Lost { .. } => None,
        Answer::Refused { .. } | Answer::Unreachable { .. } => return false,
    };
    if matches!(next, Next::Again | Next::Over(_)) {
        return false;
    }
    let Some(scheduler) = world.scheduler(&build.cluster) else { return true };
    for job in alive(&shown).chain(known) {
        cancel(world, &scheduler, build, job).await;
    }
    true
}

async fn cancel(world: &World, scheduler: &Arc<dyn Scheduler>, build: &BuildJob, job: &JobKey) {
    let cancelled = || world.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
    if cancelled().contains(job) {
        return;
    }
    match scheduler.cancel(job, &build.token, false).await {
        Ok(()) => {
            cancelled().insert(job.clone());
            info!(job.key = %job, "asked for the end of job {job}, a build that nobody waits for");
        }
        Err(silence) => warn!(job.key = %job, "cannot cancel job {job}, a build: {silence}"),
    }
}
