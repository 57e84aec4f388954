//! One look at everything that is live: schedulers, inboxes, answers, claims and wishes, put together per run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::debug;

use crate::daemon::accounts::{Due, Told};
use crate::daemon::builds::{self, look_at_builds};
use crate::daemon::checkpoints::see_saved;
use crate::daemon::claims::settle_claims;
use crate::daemon::looks::Answered;
use crate::daemon::markers::look_up_marker;
use crate::daemon::nodes::{see_failed_nodes, see_hardware};
use crate::daemon::world::World;
use crate::domain::ids::{RunId, SubmissionId, Token};
use crate::domain::run::{
    Answer, Call, Look, Run, Seen, Sighting, State, Submission, Wish, are_of_others, has_others,
    is_end_of_anybody, sort_out, unheard_end,
};
use crate::ports::{Asked, Hands, LookAnswer, Orphan, Silence, Wants};
use crate::store::{BuildJob, CallRecord, LiveRuns, RunRow, StoreError};

/// Events of one inbox that are taken in one pass; the rest waits for the next.
const EVENTS_PER_PASS: usize = 10_000;

/// What a pass saw.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Of the runs of which anything was seen.
    pub(super) seen: HashMap<RunId, Seen>,
    /// Inbox files to remove once what they say is recorded, by run root.
    pub(super) taken: BTreeMap<PathBuf, Vec<PathBuf>>,
    /// What accounting said of runs that are over.
    pub(super) accounts: Vec<Told>,
    /// How long the schedulers were waited for.
    pub(super) waited: Duration,
}

/// Checkpoint directories that one pass looks at beside one another.
const CATALOGUES_AT_ONCE: usize = 32;

/// Looks at everything the live runs depend on. Each source that is silent is silent for its own runs only.
pub(super) async fn observe(
    world: &Arc<World>,
    live: &LiveRuns,
    (builds, due): (&[BuildJob], &Due),
    wishes: Vec<(RunId, Wish)>,
) -> Result<Observed, StoreError> {
    let mut observed = Observed::default();
    look(world, live, (builds, due), &mut observed).await;
    see_failed_nodes(world, live, &mut observed.seen).await;
    see_hardware(world, live, &mut observed.seen).await;
    // Beside one another: each may lie on a mount of its own that hangs.
    let ended = observed.seen.iter_mut().filter_map(|(id, seen)| Some((live.get(id)?, seen)));
    stream::iter(ended)
        .for_each_concurrent(CATALOGUES_AT_ONCE, |(row, seen)| see_saved(world, row, seen))
        .await;
    for (run, saved) in world.watching.news(world.clock.now()) {
        // Where its attempt has ended, that was looked at just now.
        if live.contains_key(&run) {
            observed.seen.entry(run).or_default().saved.get_or_insert(saved);
        }
    }
    // After the look: what a script said before its job ended is then never missed beside that end.
    read_inboxes(world, live, &mut observed).await;
    read_answers(world, live, &mut observed).await?;
    settle_claims(world, live, &mut observed).await;
    look_at_builds(world, live, builds, &mut observed).await?;
    for (run, wish) in wishes {
        observed.seen.entry(run).or_default().wishes.push(wish);
    }
    Ok(observed)
}

/// Runs whose job is about to show something, so that it is asked about soon.
fn expects_news(run: &Run) -> bool {
    match run.state {
        State::Submitting { call: Call::UnderWay | Call::InDoubt(_) }
        | State::Finishing
        | State::Stopping { .. } => true,
        State::Queued { .. } | State::Running => run.is_unseen(),
        State::Submitting { call: Call::Unreachable(_) }
        | State::Evaluating
        | State::Preparing
        | State::Pending { .. }
        | State::Backoff { .. }
        | State::Final { .. } => false,
    }
}

/// When the start under way was submitted, if the scheduler has said so: its clock and this machine's may differ.
fn submitted_at(run: &Run) -> Option<Timestamp> {
    let shown = run.open_attempt().filter(|attempt| attempt.slurm_state.is_some());
    shown.map(|attempt| attempt.submitted_at)
}

/// What the schedulers are asked, by cluster.
fn questions<'a>(
    world: &'a World,
    live: &'a LiveRuns,
    (builds, due): (&'a [BuildJob], &'a Due),
) -> BTreeMap<&'a str, Vec<Asked>> {
    let mut by_cluster: BTreeMap<&str, Vec<Asked>> = BTreeMap::new();
    for row in live.values().filter(|row| row.run.state.depends_on_scheduler()) {
        let Some(submission) = &row.run.submission else { continue };
        if submission.job.is_none() && world.is_under_way(&submission.token) {
            // sbatch will say.
            continue;
        }
        let asked = Asked {
            submission: submission.id,
            token: submission.token.clone(),
            job: submission.job.clone(),
            intent_at: submission.intent_at,
            wants: Wants::News,
            eager: expects_news(&row.run),
            unseen: row.run.is_unseen(),
            provisional: row.run.is_provisional(),
            restart: row.run.known_restart(),
            submitted_at: submitted_at(&row.run),
            shown: row.run.shown(),
        };
        by_cluster.entry(&submission.cluster).or_default().push(asked);
    }
    for (build, asked) in builds::asked(world, builds) {
        by_cluster.entry(&build.cluster).or_default().push(asked);
    }
    for (account, asked) in due.asked() {
        by_cluster.entry(&account.cluster).or_default().push(asked);
    }
    by_cluster
}

/// Takes what the schedulers have answered, each for itself: one that is silent holds up nobody.
async fn look(
    world: &Arc<World>,
    live: &LiveRuns,
    (builds, due): (&[BuildJob], &Due),
    observed: &mut Observed,
) {
    let questions = questions(world, live, (builds, due));
    let since = Instant::now();
    let answers = world.looks.all(world, questions).await;
    observed.waited = since.elapsed();
    for answered in answers {
        let Answered { cluster, asked, asked_at, answer } = answered;
        let (sightings, unchanged, unsure, silence) = match answer {
            Ok(LookAnswer::NotDue) => continue,
            Ok(LookAnswer::Seen { sightings, unchanged, unsure, silence }) => {
                (sightings, unchanged, BTreeSet::from_iter(unsure), silence)
            }
            Err(silence) => (Vec::new(), BTreeSet::new(), asked.clone(), Some(silence)),
        };
        let mut found: HashMap<String, Vec<Sighting>> = HashMap::new();
        for sighting in sightings {
            found.entry(sighting.token.to_string()).or_default().push(sighting);
        }
        for build in builds.iter().filter(|build| build.cluster == cluster) {
            if asked.contains(&build.token) && !unsure.contains(&build.token) {
                let jobs = found.remove(build.token.as_str()).unwrap_or_default();
                builds::saw(world, build, jobs);
            }
        }
        observed.accounts.extend(due.told(&cluster, (&asked, &unsure), &mut found));
        let is_news = |submission: &Submission| {
            let is_asked = submission.cluster == cluster && asked.contains(&submission.token);
            is_asked && !unchanged.contains(&submission.token)
        };
        for row in live.values() {
            let Some(submission) = row.run.submission.as_ref().filter(|known| is_news(known))
            else {
                continue;
            };
            let seen = observed.seen.entry(row.run.id).or_default();
            if unsure.contains(&submission.token) {
                seen.look = silence.as_ref().map_or(Look::NotAsked, Look::from);
            } else if let Some(sightings) = found
                .remove(submission.token.as_str())
                .filter(|sightings| !are_of_others(sightings, submission.job.as_ref()))
            {
                found_jobs(world, row, sightings, seen).await;
            } else if is_older_than_doubt(&row.run.state, asked_at, world.clock.now()) {
                // sbatch may have submitted since.
            } else {
                absent(world, row, seen).await;
            }
        }
    }
}

/// Whether an answer was asked for before the doubt that it is to settle came up. A doubt of the future is one of a clock that
/// was set back since: which was first cannot be told then, and nothing is to wait for that clock.
fn is_older_than_doubt(state: &State, asked_at: Timestamp, now: Timestamp) -> bool {
    let State::Submitting { call: Call::InDoubt(doubt) } = state else { return false };
    asked_at < doubt.since && doubt.since <= now
}

/// The scheduler shows jobs of the run's submission. Where there is another than the run's, the claim says whose the run is,
/// also when its owner is not shown any more: a job beside it can only be in the way.
async fn found_jobs(world: &World, row: &RunRow, sightings: Vec<Sighting>, seen: &mut Seen) {
    let known = row.run.submission.as_ref().and_then(|submission| submission.job.as_ref());
    let mut owner = None;
    if row.run.state.depends_on_scheduler()
        && let Some(submission) = &row.run.submission
        && (has_others(&sightings, known) || is_end_of_anybody(&sightings, submission.claim))
    {
        let (run_dir, token) = (row.run_dir.clone(), submission.token.clone());
        let ask = move |hands: &dyn Hands| hands.claim_owner(&run_dir, &token);
        match world.with_hands(&row.resolved.run_root, ask).await {
            Ok(found) => owner = found,
            Err(silence) => {
                seen.look = Look::from(&silence);
                return;
            }
        }
    }
    sort_out(sightings, owner.as_ref(), known, seen);
    if seen.look == Look::Absent {
        absent(world, row, seen).await;
    } else if let Some(n) = unheard_end(&row.run, &seen.look) {
        look_up_marker(world, row, n, seen).await;
    }
}

/// The scheduler does not know the job.
async fn absent(world: &World, row: &RunRow, seen: &mut Seen) {
    seen.look = Look::Absent;
    if let Some(attempt) = &row.run.attempt {
        look_up_marker(world, row, attempt.n, seen).await;
    }
}

impl From<&Silence> for Look {
    fn from(silence: &Silence) -> Self {
        Self::Silence { who: silence.to_string() }
    }
}

/// Takes what scripts say. An inbox is empty most of the time, so only the runs that it has a word of are gone into.
async fn read_inboxes(world: &World, live: &LiveRuns, observed: &mut Observed) {
    let roots: BTreeSet<&Path> = live.values().map(|row| row.resolved.run_root.as_path()).collect();
    for root in roots {
        if let Err(silence) = read_inbox(world, root, live, observed).await {
            // Events only hasten: the scheduler still tells.
            debug!(inbox.root = %root.display(), "cannot read an inbox: {silence}");
        }
    }
}

async fn read_inbox(
    world: &World,
    root: &Path,
    live: &LiveRuns,
    observed: &mut Observed,
) -> Result<(), Silence> {
    let path = root.to_owned();
    let there = world.with_hands(root, move |hands| hands.inbox_tokens(&path)).await?;
    if there.is_empty() {
        return Ok(());
    }
    let of_root = live.values().filter(|row| row.resolved.run_root == root);
    let owners: BTreeMap<&Token, &Run> = of_root
        .filter_map(|row| Some((&row.run.submission.as_ref()?.token, &row.run)))
        .filter(|(token, _)| there.contains(token))
        .collect();
    let (path, tokens) = (root.to_owned(), owners.keys().copied().cloned().collect());
    let read = move |hands: &dyn Hands| hands.read_inbox(&path, &tokens, EVENTS_PER_PASS);
    let items = world.with_hands(root, read).await?;
    for item in items.into_iter().filter(|item| !world.inboxes.was_taken(&item.file)) {
        if let Some(event) = item.event
            && let Some(run) = owners.get(&event.token)
        {
            let seen = observed.seen.entry(run.id).or_default();
            let shown = match &seen.look {
                Look::Job(sighting) => sighting.restart,
                Look::NotAsked | Look::Silence { .. } | Look::Absent => 0,
            };
            let known = run.known_restart().max(shown);
            if event.restart > known && run.open_attempt().is_some() {
                // Of a start that the scheduler has yet to tell of: it is heard then.
                continue;
            }
            seen.script.push(event);
        }
        observed.taken.entry(root.to_owned()).or_default().push(item.file);
    }
    Ok(())
}

async fn read_answers(
    world: &World,
    live: &LiveRuns,
    observed: &mut Observed,
) -> Result<(), StoreError> {
    let submitting: Vec<(RunId, &Submission)> = live
        .values()
        .filter(|row| awaits_answer(&row.run))
        .filter_map(|row| row.run.submission.as_ref().map(|submission| (row.run.id, submission)))
        .collect();
    let calls =
        world.store.calls(submitting.iter().map(|(_, submission)| submission.id).collect()).await?;
    // All elements of an array have one call.
    let mut known: HashMap<SubmissionId, (Option<Answer>, bool)> = HashMap::new();
    for ((run, submission), call) in submitting.into_iter().zip(calls) {
        let (answer, is_orphaned) = if let Some(known) = known.get(&submission.id) {
            known.clone()
        } else {
            let heard = answer_of(world, submission, call).await;
            known.insert(submission.id, heard.clone());
            heard
        };
        let answer = match submission.token.index() {
            Some(index) => answer.map(|answer| answer.of_element(index)),
            None => answer,
        };
        let seen = observed.seen.entry(run).or_default();
        // Nothing is concluded from an absence while the submission itself is under way.
        if answer.is_none() && matches!(seen.look, Look::Absent) {
            seen.look = Look::NotAsked;
        }
        seen.answer = answer;
        seen.orphaned = is_orphaned;
    }
    Ok(())
}

/// What is known of the answer to a call, and whether the daemon that made it has ended before it was answered.
async fn answer_of(
    world: &World,
    submission: &Submission,
    call: Option<CallRecord>,
) -> (Option<Answer>, bool) {
    match call {
        Some(CallRecord { answer: Some(answer), .. }) => (Some(answer), false),
        Some(call) => {
            let called = (&submission.token, submission.cluster.as_str());
            let answer = orphaned(world, called, &call).await;
            let is_orphaned = answer.is_some();
            (answer, is_orphaned)
        }
        None => (None, false),
    }
}

/// Whether the answer to a call of sbatch would still be news.
fn awaits_answer(run: &Run) -> bool {
    match &run.state {
        State::Submitting { call: Call::UnderWay | Call::Unreachable(_) } => true,
        State::Stopping { .. } => run.submission.as_ref().is_some_and(|known| known.job.is_none()),
        State::Submitting { call: Call::InDoubt(_) }
        | State::Preparing
        | State::Pending { .. }
        | State::Queued { .. }
        | State::Running
        | State::Finishing
        | State::Evaluating
        | State::Backoff { .. }
        | State::Final { .. } => false,
    }
}

/// What a call that has no answer comes to: nothing as long as it may submit, and then doubt.
pub(super) async fn orphaned(
    world: &World,
    (token, cluster): (&Token, &str),
    call: &CallRecord,
) -> Option<Answer> {
    if world.is_under_way(token) {
        return None;
    }
    let orphan = Orphan {
        token: token.clone(),
        is_here: call.host.as_ref() == Some(&world.host),
        called_at: call.called_at,
    };
    let may_still_submit = match world.scheduler(cluster) {
        Some(scheduler) => scheduler.may_still_submit(&orphan).await,
        None => true,
    };
    let message = || "the daemon ended while the submission was under way".to_owned();
    (!may_still_submit).then(|| Answer::Lost { message: message() })
}

#[cfg(test)]
mod tests;
