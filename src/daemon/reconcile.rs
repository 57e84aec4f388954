//! One pass: look, decide, record, act. A crash between any two is mended by the next pass.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, error, info, instrument, warn};

use crate::daemon::accounts;
use crate::daemon::admission::admit_waiting;
use crate::daemon::budgets;
use crate::daemon::collect::{collect_metrics, due};
use crate::daemon::environments::{collect_environment, collect_last};
use crate::daemon::halving;
use crate::daemon::inboxes;
use crate::daemon::nodes::keep_away;
use crate::daemon::observe::{Observed, observe};
use crate::daemon::points::tidy_last;
use crate::daemon::retention;
use crate::daemon::schedules;
use crate::daemon::secrets::remove_secrets;
use crate::daemon::watch;
use crate::daemon::world::World;
use crate::domain::ids::{JobKey, RunId, Token};
use crate::domain::run::{Act, Decision, Look, Phase, Policy, Run, Seen, State, decide};
use crate::fault::point;
use crate::store::{Recording, RunRow, StoreError};

/// What a pass did: its status, and what the ticker goes by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassReport {
    /// Runs that are not final after the pass.
    pub live: usize,
    pub decided: usize,
    pub submitted: usize,
    /// Runs that are over and still have secrets or checkpoints to remove, or that accounting is asked about, and builds
    /// that are jobs.
    pub left: usize,
    /// Until accounting is to be asked about runs that are over, or the next run is submitted by a schedule.
    pub again_in: Option<Duration>,
    /// Schedules that are not paused.
    pub schedules: usize,
    /// Runs that are being submitted by schedules.
    pub fired: usize,
}

/// Looks at everything once. Takes no input; what fails is left for the next pass.
#[instrument(level = "debug", skip_all)]
pub async fn pass(world: &Arc<World>) -> Result<PassReport, StoreError> {
    let mut laps = Laps::start();
    let _deciding = world.deciding.lock().await;
    budgets::check(world).await?;
    let live = world.store.live().await?;
    let builds = world.store.build_jobs().await?;
    let to_account = accounts::Due::of(world).await?;
    laps.recall = laps.lap();
    let scheduled = schedules::begin(world).await?;
    let again_in = to_account.next_in.into_iter().chain(scheduled.next_in).min();
    let (schedules, fired) = (scheduled.active, scheduled.begun);
    let mut report =
        PassReport { live: live.len(), again_in, schedules, fired, ..PassReport::default() };
    world.watch_roots_of(&live);
    if live.is_empty() && builds.is_empty() && to_account.accounts.is_empty() {
        report.left = remove_secrets(world).await? + retention::begin(world, &live).await?;
        return Ok(report);
    }
    let wishes = world.store.open_wishes().await?;
    let observed = observe(world, &live, (&builds, &to_account), wishes).await?;
    (laps.look, laps.wait) = (laps.lap(), observed.waited);
    let (mut news, mut again) = (Vec::new(), Vec::new());
    for row in live.values() {
        match decide_on(world, row, &observed).await {
            Some(Outcome::News(decided)) => {
                report.live -= usize::from(decided.decision.run.state.is_final());
                report.decided += 1;
                news.push(*decided);
            }
            Some(Outcome::Again(act)) => again.push((row.run.id, act)),
            None => {}
        }
        if news.len() >= RECORDED_AT_ONCE {
            laps.record += carry_out(world, std::mem::take(&mut news)).await?;
        }
    }
    laps.record += carry_out(world, news).await?;
    perform(world, again).await;
    accounts::record(world, observed.accounts).await?;
    point("events_recorded");
    inboxes::clear(world, observed.taken).await;
    laps.settle = laps.lap();
    budgets::hold_restarts(world).await?;
    budgets::stop_overrun(world).await?;
    report.submitted = admit_waiting(world, &live).await?;
    keep_away(world).await?;
    inboxes::sweep(world, &live).await?;
    // A build that nobody waits for is looked at until its job is over.
    report.left = remove_secrets(world).await? + builds.len() + to_account.accounts.len();
    report.left += retention::begin(world, &live).await?;
    watch::begin(world, &live);
    // Last: metrics never hold up a decision.
    for row in due(world, &live) {
        collect_metrics(world, row, false).await;
        collect_environment(world, row).await;
    }
    halving::stop_early(world, &live).await?;
    laps.tell(report);
    Ok(report)
}

/// How long the parts of a pass took: what is asked first when the daemon of a large site is slow.
struct Laps {
    started: Instant,
    last: Instant,
    recall: Duration,
    /// Looking; `wait` is the waiting for schedulers alone.
    look: Duration,
    wait: Duration,
    /// Deciding, recording and acting; `record` is the recording alone.
    settle: Duration,
    record: Duration,
}

impl Laps {
    fn start() -> Self {
        let now = Instant::now();
        let none = Duration::ZERO;
        Self {
            started: now,
            last: now,
            recall: none,
            look: none,
            wait: none,
            settle: none,
            record: none,
        }
    }

    /// The time since the last call.
    fn lap(&mut self) -> Duration {
        let lap = self.last.elapsed();
        self.last += lap;
        lap
    }

    fn tell(&self, report: PassReport) {
        let elapsed = self.started.elapsed();
        debug!(
            live = report.live,
            decided = report.decided,
            submitted = report.submitted,
            recall_us = self.recall.as_micros(),
            look_us = self.look.as_micros(),
            wait_us = self.wait.as_micros(),
            settle_us = self.settle.as_micros(),
            record_us = self.record.as_micros(),
            elapsed_us = elapsed.as_micros(),
            "a pass over {} live runs took {} ms",
            report.live,
            elapsed.as_millis()
        );
    }
}

/// Decisions that are one transaction, which is one wait for the disk: after a long absence everything is news.
const RECORDED_AT_ONCE: usize = 200;

/// A decision that is not to stay.
pub(super) struct Decided {
    pub(super) row: Arc<RunRow>,
    pub(super) decision: Decision,
    pub(super) wishes: Vec<i64>,
    pub(super) at: Timestamp,
}

/// What a look at a run comes to.
enum Outcome {
    News(Box<Decided>),
    /// What was recorded is done again.
    Again(Act),
}

/// What is decided about a run, when it is news. Where nothing was seen and nothing is due, nothing can come of it.
async fn decide_on(world: &World, row: &Arc<RunRow>, observed: &Observed) -> Option<Outcome> {
    let at = world.clock.now();
    let nothing = Seen::default();
    let seen = observed.seen.get(&row.run.id);
    if seen.is_none() && !row.run.has_timer() {
        return None;
    }
    let policy = world.policy(&row.resolved);
    let seen = seen.or_else(|| row.run.is_due(&policy, at).then_some(&nothing))?;
    let decision = decide(&row.run, seen, &policy, at);
    let wishes: Vec<i64> = seen.wishes.iter().map(|wish| wish.id).collect();
    if decision.run.state.is_final() {
        // Before the end is told: who waits for it finds all metrics.
        collect_metrics(world, row, true).await;
    }
    collect_last(world, row, &decision).await;
    tidy_last(world, row, &decision).await;
    if decision == Decision::stay(&row.run) && wishes.is_empty() {
        return to_deliver_again(world, &row.run, (seen, &policy)).map(Outcome::Again);
    }
    Some(Outcome::News(Box::new(Decided { row: Arc::clone(row), decision, wishes, at })))
}

/// Records decisions, then does what they order. Gives how long the recording took.
pub(super) async fn carry_out(world: &World, news: Vec<Decided>) -> Result<Duration, StoreError> {
    if news.is_empty() {
        return Ok(Duration::ZERO);
    }
    point("decision_made");
    let recordings = news.iter().map(|decided| {
        let Decided { decision, wishes, at, .. } = decided;
        Recording { decision: decision.clone(), wishes_done: wishes.clone(), at: *at }
    });
    let since = Instant::now();
    world.store.record_all(recordings.collect()).await?;
    let recorded = since.elapsed();
    point("decision_recorded");
    act_on(world, news).await;
    Ok(recorded)
}

/// Does what recorded decisions order.
pub(super) async fn act_on(world: &World, news: Vec<Decided>) {
    world.changed();
    let (mut acts, mut of_nobody) = (Vec::new(), Vec::new());
    for Decided { row, decision, .. } in news {
        tell(row.run.id, &row.name, &decision);
        if row.run.state == State::Preparing && decision.run.state != State::Preparing {
            world.builds.leave(row.run.id);
        }
        of_nobody.extend(over(&decision));
        acts.extend(decision.acts.into_iter().map(|act| (row.run.id, act)));
    }
    perform(world, acts).await;
    // Last: what was asked for above is forgotten as well.
    for job in of_nobody {
        forget(world, &job).await;
    }
}

/// Does what was decided, tasks of an array together. What fails here is done again by the next pass.
pub(super) async fn perform(world: &World, acts: Vec<(RunId, Act)>) {
    let mut of_arrays: BTreeMap<OfArray, Vec<u32>> = BTreeMap::new();
    for (run, act) in acts {
        match of_array(&act) {
            Some(of) => {
                let Act::Cancel { job, .. } = act;
                of_arrays.entry(of).or_default().extend(job.array_task);
            }
            None => cancel(world, run, act).await,
        }
        point("act_done");
    }
    for (of, tasks) in of_arrays {
        cancel_tasks(world, of, tasks).await;
    }
}

/// What is cancelled together: an array, its token, and whether it is only warned.
type OfArray = (JobKey, Token, bool);

/// The array that an act is about a task of.
fn of_array(act: &Act) -> Option<OfArray> {
    let Act::Cancel { job, token, grace } = act;
    job.array_task?;
    let whole = token.whole().parse().ok()?;
    Some((JobKey { array_task: None, ..job.clone() }, whole, *grace))
}

/// Does for tasks of one array what [`cancel`] does for a job.
async fn cancel_tasks(world: &World, (array, token, grace): OfArray, mut tasks: Vec<u32>) {
    let Some(scheduler) = world.scheduler(&array.cluster) else {
        error!(job.key = %array, "cannot cancel tasks of {array}: its cluster is not in the site config");
        return;
    };
    tasks.sort_unstable();
    tasks.dedup();
    let count = tasks.len();
    match scheduler.cancel_tasks(&array, (&tasks, &token), grace).await {
        Ok(()) => {
            let mut cancelled = world.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
            let job = |task| JobKey { array_task: Some(task), ..array.clone() };
            cancelled.extend(tasks.into_iter().map(job));
            info!(job.key = %array, grace, "asked for the end of {count} tasks of array {array}");
        }
        Err(silence) => {
            warn!(job.key = %array, "cannot cancel {count} tasks of array {array}: {silence}");
        }
    }
}

pub(super) fn tell(id: RunId, name: &str, decision: &Decision) {
    for note in &decision.notes {
        if note.kind == "impossible" {
            warn!(run.id = id.0, run.name = %name, "run {id}: cannot be: {}", note.message);
        } else {
            info!(run.id = id.0, run.name = %name, kind = %note.kind, "run {id}: {}", note.message);
        }
    }
}

/// A stop is under way, its job lives, and this process has not delivered the cancel: the daemon ended, or the scheduler
/// was silent, between the record and the act. It is delivered now, with the grace it was to have.
fn to_deliver_again(world: &World, run: &Run, (seen, policy): (&Seen, &Policy)) -> Option<Act> {
    let State::Stopping { .. } = run.state else { return None };
    let Look::Job(shown) = &seen.look else { return None };
    if !matches!(shown.phase, Phase::Waiting { .. } | Phase::Running) {
        return None;
    }
    let job = run.submission.as_ref().and_then(|submission| submission.job.clone());
    let job = job.filter(|job| *job == shown.job)?;
    if world.cancelled.lock().unwrap_or_else(PoisonError::into_inner).contains(&job) {
        return None;
    }
    // What waits cannot be warned.
    let grace = shown.phase == Phase::Running && run.grace(policy).is_some();
    Some(Act::Cancel { job, token: shown.token.clone(), grace })
}

async fn cancel(world: &World, run: RunId, act: Act) {
    let Act::Cancel { job, token, grace } = act;
    let Some(scheduler) = world.scheduler(&job.cluster) else {
        error!(run.id = run.0, job.key = %job, "cannot cancel job {job}: its cluster is not in the site config");
        return;
    };
    match scheduler.cancel(&job, &token, grace).await {
        Ok(()) => {
            world.cancelled.lock().unwrap_or_else(PoisonError::into_inner).insert(job.clone());
            info!(run.id = run.0, job.key = %job, grace, "asked for the end of job {job} of run {run}");
        }
        Err(silence) => {
            warn!(run.id = run.0, job.key = %job, "cannot cancel job {job} of run {run}: {silence}");
        }
    }
}

/// The jobs that nobody will ask for again: those of closed attempts, and the run's own when it is final.
fn over(decision: &Decision) -> Vec<JobKey> {
    let current = decision.run.submission.as_ref().and_then(|submission| submission.job.as_ref());
    let closed = decision.closed.iter().map(|attempt| &attempt.job);
    // A job that the scheduler started again has a closed attempt and goes on.
    let mut over: Vec<JobKey> = closed.filter(|job| Some(*job) != current).cloned().collect();
    if decision.run.state.is_final() {
        over.extend(current.cloned());
    }
    over
}

async fn forget(world: &World, job: &JobKey) {
    world.cancelled.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    if let Some(scheduler) = world.scheduler(&job.cluster) {
        scheduler.forget(job).await;
    }
}
