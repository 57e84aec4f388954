//! One look at everything that is live: schedulers, inboxes, answers, claims and wishes, put together per run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use tracing::{debug, warn};

use crate::daemon::world::World;
use crate::domain::ids::{RunId, SubmissionId, Token};
use crate::domain::inbox::ScriptEvent;
use crate::domain::run::{Answer, Look, Phase, Revocation, Run, Seen, Sighting, State, Wish};
use crate::ports::{Asked, Hands, LookAnswer, Silence};
use crate::store::{RunRow, StoreError};

/// Events of one inbox that are taken in one pass; the rest waits for the next.
const EVENTS_PER_PASS: usize = 10_000;

/// What a pass saw.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) seen: HashMap<RunId, Seen>,
    /// Inbox files to remove once what they say is recorded, by run root.
    pub(super) taken: BTreeMap<PathBuf, Vec<PathBuf>>,
}

/// Looks at everything the live runs depend on. Each source that is silent is silent for its own runs only.
pub(super) async fn observe(
    world: &World,
    live: &[RunRow],
    wishes: Vec<(RunId, Wish)>,
) -> Result<Observed, StoreError> {
    let mut observed = Observed::default();
    for row in live {
        observed.seen.insert(row.run.id, Seen::default());
    }
    look(world, live, &mut observed).await;
    // After the look: what a script said before its job ended is then never missed beside that end.
    read_inboxes(world, live, &mut observed).await;
    read_answers(world, live, &mut observed).await?;
    settle_claims(world, live, &mut observed).await;
    for (run, wish) in wishes {
        observed.seen.entry(run).or_default().wishes.push(wish);
    }
    Ok(observed)
}

/// Runs that a scheduler may know: their submission is, or may be, with it.
fn depends_on_scheduler(state: &State) -> bool {
    match state {
        State::Submitting { .. }
        | State::Queued { .. }
        | State::Running
        | State::Finishing
        | State::Evaluating
        | State::Stopping { .. } => true,
        State::Preparing | State::Pending { .. } | State::Backoff { .. } | State::Final { .. } => {
            false
        }
    }
}

/// Runs whose job is about to show something, so that it is asked about soon.
fn expects_news(run: &Run) -> bool {
    match run.state {
        State::Submitting { .. } | State::Finishing | State::Stopping { .. } => true,
        State::Queued { .. } => run.submission.as_ref().is_some_and(|known| known.provisional),
        State::Running
        | State::Evaluating
        | State::Preparing
        | State::Pending { .. }
        | State::Backoff { .. }
        | State::Final { .. } => false,
    }
}

async fn look(world: &World, live: &[RunRow], observed: &mut Observed) {
    let mut by_cluster: BTreeMap<&str, Vec<Asked>> = BTreeMap::new();
    for row in live.iter().filter(|row| depends_on_scheduler(&row.run.state)) {
        let Some(submission) = &row.run.submission else { continue };
        let asked = Asked {
            submission: submission.id,
            token: submission.token.clone(),
            job: submission.job.clone(),
            intent_at: submission.intent_at,
            eager: expects_news(&row.run),
        };
        by_cluster.entry(&submission.cluster).or_default().push(asked);
    }
    for (cluster, asked) in by_cluster {
        let answer = match world.schedulers.get(cluster) {
            Some(scheduler) => scheduler.look(&asked).await,
            None => Err(Silence {
                who: cluster.to_owned(),
                why: "this cluster is not in the site config any more".into(),
            }),
        };
        let mut found: HashMap<String, Sighting> = HashMap::new();
        let (unsure, silence) = match answer {
            Ok(LookAnswer::NotDue) => continue,
            Ok(LookAnswer::Seen { sightings, unsure, silence }) => {
                found.extend(
                    sightings.into_iter().map(|sighting| (sighting.token.to_string(), sighting)),
                );
                (Some(unsure), silence)
            }
            // Everything is unsure.
            Err(silence) => (None, Some(silence)),
        };
        for row in live.iter().filter(|row| depends_on_scheduler(&row.run.state)) {
            let Some(submission) =
                row.run.submission.as_ref().filter(|submission| submission.cluster == cluster)
            else {
                continue;
            };
            let Some(seen) = observed.seen.get_mut(&row.run.id) else { continue };
            let is_unsure = unsure.as_ref().is_none_or(|unsure| unsure.contains(&submission.id));
            let silence = silence.as_ref().filter(|_| is_unsure);
            seen.look = match (silence, found.remove(submission.token.as_str())) {
                (Some(silence), _) => Look::Silence { who: silence.to_string() },
                (None, Some(sighting)) => Look::Job(Box::new(sighting)),
                (None, None) => absent(world, row, seen).await,
            };
        }
    }
}

/// The scheduler does not know the job. The script's marker is asked before that counts; a silent file system makes it silence.
async fn absent(world: &World, row: &RunRow, seen: &mut Seen) -> Look {
    let Some(attempt) = &row.run.attempt else { return Look::Absent };
    let (run_dir, n) = (row.run_dir.clone(), attempt.n);
    match world
        .with_hands(&row.resolved.run_root, move |hands| hands.exit_marker(&run_dir, n))
        .await
    {
        Ok(marker) => {
            seen.marker = marker.filter(|marker| is_of(row, marker));
            Look::Absent
        }
        Err(silence) => Look::Silence { who: silence.to_string() },
    }
}

/// Whether an event belongs to the run's submission under way.
fn is_of(row: &RunRow, event: &ScriptEvent) -> bool {
    row.run.submission.as_ref().is_some_and(|submission| submission.token == event.token)
}

async fn read_inboxes(world: &World, live: &[RunRow], observed: &mut Observed) {
    let mut owners: BTreeMap<&Path, BTreeMap<&Token, RunId>> = BTreeMap::new();
    for row in live {
        let tokens = owners.entry(row.resolved.run_root.as_path()).or_default();
        tokens.extend(row.run.submission.as_ref().map(|known| (&known.token, row.run.id)));
    }
    for (root, owners) in owners {
        let path = root.to_owned();
        let tokens: BTreeSet<Token> = owners.keys().copied().cloned().collect();
        let items = match world
            .with_hands(root, move |hands| hands.read_inbox(&path, &tokens, EVENTS_PER_PASS))
            .await
        {
            Ok(items) => items,
            Err(silence) => {
                // Events only hasten: the scheduler still tells.
                debug!(inbox.root = %root.display(), "cannot read an inbox: {silence}");
                continue;
            }
        };
        for item in items.into_iter().filter(|item| !world.inboxes.was_taken(&item.file)) {
            if let Some(event) = item.event
                && let Some(run) = owners.get(&event.token)
                && let Some(seen) = observed.seen.get_mut(run)
            {
                seen.script.push(event);
            }
            observed.taken.entry(root.to_owned()).or_default().push(item.file);
        }
    }
}

async fn read_answers(
    world: &World,
    live: &[RunRow],
    observed: &mut Observed,
) -> Result<(), StoreError> {
    let submitting: Vec<(RunId, SubmissionId)> = live
        .iter()
        .filter(|row| matches!(row.run.state, State::Submitting { .. } | State::Stopping { .. }))
        .filter_map(|row| row.run.submission.as_ref().map(|submission| (row.run.id, submission)))
        .filter(|(_, submission)| submission.job.is_none())
        .map(|(run, submission)| (run, submission.id))
        .collect();
    let answers =
        world.store.answers(submitting.iter().map(|(_, submission)| *submission).collect()).await?;
    for ((run, submission), answer) in submitting.into_iter().zip(answers) {
        let under_way = world.is_under_way(submission);
        let message = || "the daemon ended while the submission was under way".to_owned();
        let answer = answer.or_else(|| (!under_way).then(|| Answer::Lost { message: message() }));
        if let Some(seen) = observed.seen.get_mut(&run) {
            // Nothing is concluded from an absence while the submission itself is under way.
            if answer.is_none() && matches!(seen.look, Look::Absent) {
                seen.look = Look::NotAsked;
            }
            seen.answer = answer;
        }
    }
    Ok(())
}

/// Takes the claims that a recorded decision wants revoked.
async fn settle_claims(world: &World, live: &[RunRow], observed: &mut Observed) {
    for row in live {
        let Some(submission) = row.run.submission.as_ref().filter(|submission| submission.revoking)
        else {
            continue;
        };
        // A job that came into sight keeps its claim; one that is over may have ended because it found none.
        let is_over = match observed.seen.get(&row.run.id).map(|seen| &seen.look) {
            Some(Look::Job(job)) if !matches!(job.phase, Phase::Ended { .. }) => continue,
            Some(Look::Job(_)) => true,
            Some(Look::NotAsked | Look::Silence { .. } | Look::Absent) | None => false,
        };
        let (run_dir, token) = (row.run_dir.clone(), submission.token.clone());
        let revoke = move |hands: &dyn Hands| hands.revoke(&run_dir, &token);
        match world.with_hands(&row.resolved.run_root, revoke).await {
            // While sbatch is under way its answer may still name a job that has to be cancelled.
            Ok(Revocation::Won) if world.is_under_way(submission.id) => {}
            Ok(revocation) => {
                if let Some(seen) = observed.seen.get_mut(&row.run.id) {
                    if is_over && revocation == Revocation::Won {
                        // It never had the claim: how it ended is nothing to the run.
                        seen.look = Look::NotAsked;
                    }
                    seen.revocation = Some(revocation);
                }
            }
            Err(silence) => warn!(
                run.id = row.run.id.0,
                "cannot settle the claim of run {}: {silence}", row.run.id
            ),
        }
    }
}
