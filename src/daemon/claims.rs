//! Whose a submission's claim is: taken with `revoked` where a decision wants that, and looked up where the scheduler shows
//! other jobs than the run's.

use jiff::SignedDuration;
use tracing::warn;

use crate::daemon::observe::Observed;
use crate::daemon::world::World;
use crate::domain::run::{Answer, Look, Phase, Revocation, Seen, State};
use crate::fault::point;
use crate::ports::Hands;
use crate::store::{LiveRuns, RunRow};

/// Whether a stopped run has no job that could still come into sight: sbatch says so, or is over, and as long after the wish
/// as doubt takes a good answer knows of none.
fn is_settled(world: &World, row: &RunRow, seen: Option<&Seen>) -> bool {
    let (State::Stopping { stop, .. }, Some(submission)) = (&row.run.state, &row.run.submission)
    else {
        return true;
    };
    if world.is_under_way(&submission.token) {
        return false;
    }
    let answer = seen.and_then(|seen| seen.answer.as_ref());
    if matches!(answer, Some(Answer::Refused { .. } | Answer::Unreachable { .. })) {
        return true;
    }
    let wait = i64::try_from(world.policy(&row.resolved).in_doubt_wait.0).unwrap_or(i64::MAX);
    // A stop of the future is one of a clock that was set back since.
    let waited = world.clock.now().duration_since(stop.since);
    let waited = waited.is_negative() || waited >= SignedDuration::from_secs(wait);
    let has_ended = submission.job.is_some() || seen.is_some_and(|seen| seen.answer.is_some());
    has_ended && waited && seen.is_some_and(|seen| matches!(seen.look, Look::Absent | Look::Job(_)))
}

/// Takes the claims that a recorded decision wants revoked.
pub(super) async fn settle_claims(world: &World, live: &LiveRuns, observed: &mut Observed) {
    for row in live.values() {
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
        let revoked = world.with_hands(&row.resolved.run_root, revoke).await;
        point("claim_settled");
        match revoked {
            // A job may still come into sight that has to be cancelled.
            Ok(Revocation::Won) if !is_settled(world, row, observed.seen.get(&row.run.id)) => {}
            Ok(revocation) => {
                let seen = observed.seen.entry(row.run.id).or_default();
                if is_over && revocation == Revocation::Won {
                    // It never had the claim: how it ended is nothing to the run.
                    seen.look = Look::NotAsked;
                }
                seen.revocation = Some(revocation);
            }
            Err(silence) => warn!(
                run.id = row.run.id.0,
                "cannot settle the claim of run {}: {silence}", row.run.id
            ),
        }
    }
}
